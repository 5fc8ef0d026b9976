"""A stack of 24 shards, its segmentation as words, and what a run of it leaves for readers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.services.shell import NAME, comparable, tree
from tests.test_flows.conftest import make_bundle
from tests.test_flows.images import maskmill_process
from tests.test_flows.runs import least_budget, make_image, make_truth

SECONDS = 900.0
# Of 24 shards: something is finished, much is not.
EARLY = 3


def make_source(folder: Path) -> Path:
    """A stack with a truth, a small network, and a memory for one section a shard; the folder."""
    voxels = np.random.default_rng(11).integers(0, 256, (24, 768, 768), np.uint8)
    image = make_image(folder, voxels, "zyx", voxel_size=(0.05, 0.01, 0.01), unit="micrometer")
    make_truth(image, (voxels // 90).astype(np.uint8), "zyx")
    intensity = {"rule": "fixed", "low": [0.0], "high": [255.0]}
    make_bundle(folder / "bundle", intensity, width=4, depth=3)
    # A little above the least: as many shards as there are sections.
    bundle = str(folder / "bundle")
    budget = least_budget(image=image, model=bundle, truth="truth") + 2 * 2**20
    (folder / "budget").write_text(str(budget))
    return folder


def copy_of(source: Path, target: Path) -> str:
    """A copy of the stack with its times, which belong to its digest."""
    shutil.copytree(source / "image.zarr", target / "image.zarr")
    return str(target / "image.zarr")


def segmentation(image: str, source: Path) -> list[Any]:
    """The segmentation of a copy, as words; the image is the second."""
    model = ("--model", source / "bundle", "--truth", "truth", "--name", NAME)
    return ["segment", image, *model, "--memory", (source / "budget").read_text()]


def made(image: str) -> dict[str, Any]:
    """Every byte that a run leaves for readers."""
    labels = comparable(tree(f"{image}/labels"))
    (result,) = Path(f"{image}.runs").glob(f"{NAME}-*/result.json")
    return labels | {"result.json": result.read_bytes()}


def made_in_one_process(source: Path, folder: Path) -> dict[str, Any]:
    """What one process makes of a copy in a folder."""
    image = copy_of(source, folder)
    words = [*segmentation(image, source), "--executor", "serial"]
    answer = maskmill_process(*words, timeout=SECONDS)
    assert answer.code == 0, answer.err
    return made(image)
