"""From a catalog to a bundle to a mask; the same seed gives the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from flows.catalog import checked_entries
from flows.jobs import SegmentJob, TrainJob
from flows.prepare import prepare
from flows.train import train_bundle
from segmentation.bundle import bundle_digest, load_card
from storage.volume import open_label
from tests.test_flows.images import (
    CLASSES,
    VOXEL_SIZE,
    listing,
    make_image,
    make_label,
    maskmill_process,
    segment,
)

SETTINGS = {"width": 4, "depth": 2, "crop": (64, 64), "batch_size": 4, "steps_per_epoch": 20}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Bright and dark squares in noise, easy to tell apart."""
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(5)
    truth = np.repeat(np.repeat(rng.integers(0, 3, (6, 6, 6)), 16, 1), 16, 2).astype("uint8")
    voxels = (40 + 80 * truth + rng.normal(0, 12, truth.shape)).clip(0, 255).astype("uint8")
    make_label(make_image(folder, voxels, voxel_size=VOXEL_SIZE), truth)
    volumes = [
        {"image": "stack.zarr", "label": "truth", "group": "a", "region": region, "split": split}
        for region, split in (("z=0:3", "train"), ("z=3:5", "validation"))
    ]
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"volumes": volumes}))
    return folder


def job(shelf, out, **fields):
    return TrainJob(catalog=str(shelf / "catalog.yaml"), out=str(out), **(SETTINGS | fields))


def train(shelf, out, **fields):
    """The training task without Prefect."""
    task = job(shelf, out, **fields)
    return train_bundle.fn(task, checked_entries(task))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(shelf, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(shelf, tmp_path / name, steps=20, seed=seed)
    assert listing(tmp_path / "a") == listing(tmp_path / "b")
    assert bundle_digest(tmp_path / "a") == bundle_digest(tmp_path / "b")
    assert bundle_digest(tmp_path / "a") != bundle_digest(tmp_path / "c")


@pytest.mark.slow
def test_from_a_catalog_to_a_mask(shelf, tmp_path, capsys):
    card = train(shelf, tmp_path / "bundle", steps=120)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("epoch 1: step 20 of 120, loss ")
    assert [c.name for c in card.classes] == list(CLASSES)
    assert (card.voxel_size, card.unit) == (VOXEL_SIZE[1:], "micrometer")
    assert (card.exact, card.stride) == (True, (4, 4))
    assert card.training["settings"]["seed"] == 0
    assert [v["split"] for v in card.training["data"]["volumes"]] == ["train", "validation"]
    assert load_card(tmp_path / "bundle").to_dict() == card.to_dict()
    run, result = segment(
        str(shelf / "stack.zarr"), tmp_path / "bundle", name="cells", truth="truth"
    )
    assert result["macro_foreground_dice"] > 0.9
    unseen = open_label(run.job.image, "cells").volumes[0][5:6]
    truth = open_label(run.job.image, "truth").volumes[0][5:6]
    assert (unseen == truth).mean() > 0.9


@pytest.mark.slow
def test_the_train_command(shelf, tmp_path):
    """Through Prefect's own server, in a process of its own."""
    options = [
        *("--width", 4, "--depth", 2, "--crop", "64,64", "--batch-size", 4),
        *("--steps", 20, "--steps-per-epoch", 20, "--json"),
    ]
    out = tmp_path / "bundle"
    answer = maskmill_process("train", shelf / "catalog.yaml", "--out", out, *options)
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    result = answer.document
    assert result["bundle"] == str(out)
    assert result["digest"] == bundle_digest(out)
    assert set(result["dice"]) == set(CLASSES)
    assert answer.err.count("\n") == answer.err.count("epoch ") == 1
    found = prepare(SegmentJob(image=str(shelf / "stack.zarr"), model=str(out), name="a"))
    assert found.model.digest == result["digest"]
