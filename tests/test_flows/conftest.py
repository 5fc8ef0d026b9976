"""What several tests of the flows share: one Ray cluster, small cells, a tiny bundle."""

import os
from dataclasses import replace

import numpy as np
import pytest
from prefect.testing.utilities import prefect_test_harness  # noqa: TID251 a server for tests

from flows.ray_executor import RayExecutor
from segmentation.bundle import ClassInfo, save_bundle
from tests.test_flows import images
from tests.test_flows.runs import make_image, make_truth, small_cells
from tests.test_flows.versions import VOXELS

CLASSES = ("background", "membrane", "synapse")


@pytest.fixture(scope="session")
def ray_executor():
    """Two workers on the one Ray cluster of the session."""
    executor = RayExecutor(workers=2, cpus_per_worker=1.0)
    executor.start()
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def prefect_harness():
    """A Prefect server with an empty database, which tells nobody that it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        with prefect_test_harness(server_startup_timeout=240):
            yield


@pytest.fixture
def one_ray_worker(ray_executor):
    """One worker on the same cluster."""
    return replace(ray_executor, workers=1)


@pytest.fixture
def quick_disk(monkeypatch):
    """For what need not survive a power cut: waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def image(tmp_path):
    """An image to make versions of a mask of; its URL."""
    return images.make_image(tmp_path, VOXELS)


@pytest.fixture
def many_cells():
    """Small cells, levels and budgets for one test."""
    with small_cells():
        yield


@pytest.fixture
def tiny_image(tmp_path, many_cells):
    """An image of 3 × 3 × 2 cells with a truth that differs from it in places; its URL."""
    voxels = np.random.default_rng(3).integers(0, 3, (40, 44, 30), np.uint8)
    truth = np.where(voxels == 2, 1, voxels)
    image = make_image(tmp_path, voxels, "zyx")
    make_truth(image, truth, "zyx", classes=CLASSES)
    return image


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A 2D U-Net of stride 4 with random weights and three classes; its folder."""
    intensity = {"rule": "percentiles", "low": 1.0, "high": 99.0}
    return make_bundle(tmp_path_factory.mktemp("bundle"), intensity)


def make_bundle(folder, intensity, *, width=4, depth=2):
    """A small bundle with random weights and an intensity rule; its folder."""
    from segmentation.networks.unet import build_unet
    from segmentation.packing import make_card

    model = build_unet("yx", channels=1, num_classes=3, width=width, depth=depth, seed=1)
    classes = [ClassInfo(i, name, (40 * i, 90, 160, 255)) for i, name in enumerate(CLASSES)]
    save_bundle(folder, model, make_card(model, classes, axes="yx", intensity=intensity))
    return str(folder)
