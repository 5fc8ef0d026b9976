"""Peak memory of a worker against what the plan said, on stacks ten times the budget."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.labels import group_document
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.volume import open_image
from storage.write_grid import WriteGrid, choose_chunks, create_array
from tests.test_flows.conftest import make_bundle
from tests.test_flows.images import maskmill_process
from tests.test_flows.runs import least_budget

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MEBIBYTE = 2**20


def noise_in_a_void(folder, shape, region, dtype):
    """An image whose voxels are noise in a region and have never been written elsewhere."""
    url = str(folder / "image.zarr")
    itemsize = np.dtype(dtype).itemsize
    chunks, cell = choose_chunks(shape, "zyx", itemsize)
    create_array(url, "0", shape=shape, dtype=dtype, chunks=chunks, shards=cell, axes="zyx")
    rng = np.random.default_rng(0)
    for index in WriteGrid(shape, cell).cells((0, 0, 0), region):
        start, stop = WriteGrid(shape, cell).bounds(index)
        extent = [b - a for a, b in zip(start, stop, strict=True)]
        # Noise does not compress: encoded objects are as large as they can be.
        open_cells(url, "0").write(index, rng.integers(0, 2 ** (8 * itemsize), extent, dtype))
    axes = make_axes("zyx", "micrometer")
    metadata = ImageMetadata("0.5", "noise", axes, (Level("0", (0.01,) * 3, (0.0,) * 3),))
    Blobs(url).write("zarr.json", group_document(image_attributes(metadata)))
    return url


def region_text(region):
    return ",".join(f"{axis}=0:{stop}" for axis, stop in zip("zyx", region, strict=True))


def measured(image, model, budget, region, home, executor):
    """The one attempt of the run, as timings.json has it."""
    request = [
        "--model",
        model,
        "--name",
        "mask",
        "--memory",
        budget,
        "--executor",
        executor,
        "--workers",
        1,
    ]
    answer = maskmill_process(
        "segment", image, *request, "--region", region_text(region),
        timeout=1200, env=os.environ | {"PREFECT_HOME": str(home)},
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (path,) = Path(f"{image}.runs").glob("mask-*/timings.json")
    (attempt,) = json.loads(path.read_text())["attempts"]
    return attempt


@pytest.mark.parametrize(("dtype", "executor"), [("uint8", "ray"), ("uint16", "serial")])
def test_a_worker_without_a_network_stays_within_its_budget(tmp_path, dtype, executor):
    region = (256, 1280, 768)
    shape = (2048, 2560, 3072)
    image = noise_in_a_void(tmp_path, shape, region, dtype)
    check(image, "identity", shape, region, tmp_path / "prefect", executor)


def test_a_worker_with_a_network_stays_within_its_budget(tmp_path):
    # Percentiles of a void say nothing: the bundle brings its own range.
    intensity = {"rule": "fixed", "low": [0.0], "high": [255.0]}
    bundle = make_bundle(tmp_path / "bundle", intensity, width=2, depth=1)
    region = (64, 1024, 512)
    shape = (2048, 4096, 4096)
    image = noise_in_a_void(tmp_path, shape, region, "uint8")
    check(image, bundle, shape, region, tmp_path / "prefect")


def check(image, model, shape, region, home, executor="ray"):
    budget = least_budget(image=image, model=model, region=region_text(region))
    itemsize = np.dtype(open_image(image).volumes[0].dtype).itemsize
    assert math.prod(shape) * itemsize >= 10 * budget
    attempt = measured(image, model, budget, region, home, executor)
    peak, projected = attempt["peak_bytes"], attempt["projected_bytes"]
    print(
        f"\n{model if model == 'identity' else 'network'} on {shape}: peak "
        f"{peak / MEBIBYTE:.0f} MiB, projected {projected / MEBIBYTE:.0f} MiB, budget "
        f"{budget / MEBIBYTE:.0f} MiB, {attempt['shards']} shards, {attempt['seconds']}"
    )
    assert attempt["shards"] >= 4
    assert peak <= projected <= budget
