"""The dry run: figures that can be counted by hand, and nothing written."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flows.dry_run import plan_volume
from flows.jobs import DryRunJob, PlanJob
from flows.prepare import prepare
from segmentation.tiling import exact_windows
from tests.test_flows.images import (
    VOXEL_SIZE,
    make_image,
    make_label,
    maskmill,
    unchanged,
    voxels_like,
    write_card,
    write_thresholds,
)

SHAPE = (3, 300, 280)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """What ladders find is kept elsewhere than in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """An image of which a known part is 0."""
    folder = tmp_path_factory.mktemp("shelf")
    voxels = voxels_like(SHAPE, dtype="uint16")
    voxels[:, :150] = 0
    make_image(folder, voxels, voxel_size=VOXEL_SIZE)
    return folder


def test_figures_of_a_plan_without_a_network(shelf):
    with unchanged(shelf):
        job = DryRunJob(image=str(shelf / "stack.zarr"), model="identity", executor="serial")
        result = plan_volume(job)
    voxels = int(np.prod(SHAPE))
    assert result["wanted_voxels"] == result["computed_voxels"] == voxels
    assert result["amplification"] == 1.0
    assert result["read_bytes"] == result["written_bytes"] == 2 * voxels
    assert result["stride"] == [1, 1, 1]
    assert result["halo"] == [0, 0, 0]
    assert result["skippable_background"] == 0.5
    assert result["seconds_per_shard"] > 0
    assert result["worker_bytes"] > 2 * voxels


def test_figures_of_a_plan_with_a_network(tmp_path):
    """Against the plan walked through shard by shard and tile by tile."""
    image = make_image(tmp_path, voxels_like((3, 290, 270)), voxel_size=VOXEL_SIZE)
    bundle = write_thresholds(tmp_path / "bundle", stride=(4, 4), halo=(8, 8))
    fields = {"memory": "2GiB", "region": "z=1:3,y=20:290", "executor": "serial"}
    job = DryRunJob(image=image, model=str(bundle), **fields)
    with unchanged(tmp_path):
        result = plan_volume(job)
    plan = prepare(job).plan
    shards = list(plan)
    assert result["shards"] == len(shards)
    assert result["wanted_voxels"] == 2 * 270 * 270
    assert sum(shard.write.voxels for shard in shards) == 2 * 270 * 270
    assert result["read_bytes"] == sum(shard.read.voxels for shard in shards)
    tiles = sum(len(list(tiles_of(shard, plan))) for shard in shards)
    assert result["computed_voxels"] == tiles * int(np.prod(result["tile"]))
    assert result["amplification"] == round(result["computed_voxels"] / (2 * 270 * 270), 4)
    assert result["worker_bytes"] == plan.projected_bytes <= 2 * 2**30
    assert all(t % s == 0 for t, s in zip(result["tile"], result["stride"], strict=True))


STAGES = ["start", "plan", "infer", "pyramid", "verify", "aggregate", "publish", "report"]


def test_stages_and_cost_with_truth_and_probabilities(tmp_path):
    """All stages are rehearsed in the scratch folder that was given, and nothing stays there."""
    voxels = voxels_like((3, 290, 270))
    image = make_image(tmp_path, voxels, voxel_size=VOXEL_SIZE)
    make_label(image, (voxels > 100).astype(np.uint8))
    bundle = write_thresholds(tmp_path / "bundle", stride=(4, 4), halo=(8, 8))
    (tmp_path / "scratch").mkdir()
    fields = {"truth": "truth", "probabilities": True, "scratch": str(tmp_path / "scratch")}
    fields |= {"executor": "serial", "price_per_hour": 7.2}
    with unchanged(tmp_path):
        result = plan_volume(DryRunJob(image=image, model=str(bundle), **fields))
    stages = result["stages"]
    assert list(stages) == STAGES
    assert all(stages[name]["seconds"] >= 0 for name in STAGES)
    assert min(stages[name]["seconds"] for name in ("plan", "infer", "report")) > 0
    total = sum(stage["seconds"] for stage in stages.values())
    assert result["estimated_seconds"] == round(total, 1)
    assert result["cost"]["total"] == pytest.approx(total * 7.2 / 3600, abs=1e-4)
    assert (result["workers"], result["workers_measured"]) == (1, 1)
    assert result["seconds_per_shard"] == stages["infer"]["seconds_per_shard"]


def tiles_of(shard, plan):
    return exact_windows(shard.write, plan.shape, plan.spec)


def test_less_memory_means_smaller_tiles_and_the_same_key(tmp_path):
    image = make_image(tmp_path, voxels_like((2, 600, 640)), voxel_size=VOXEL_SIZE)
    bundle = write_card(tmp_path / "bundle", activation_bytes=8000)
    plans = [
        prepare(PlanJob(image=image, model=str(bundle), memory=memory))
        for memory in ("64GiB", "4GiB", "2GiB")
    ]
    tiles = [int(np.prod(prepared.plan.spec.tile)) for prepared in plans]
    assert tiles == sorted(tiles, reverse=True)
    assert tiles[0] > tiles[-1]
    assert len({prepared.digest for prepared in plans}) == 1
    for prepared, memory in zip(plans, (64, 4, 2), strict=True):
        assert prepared.plan.projected_bytes <= memory * 2**30


def test_what_changes_the_key(tmp_path):
    """Everything that can change a voxel, and nothing else."""
    image = make_image(tmp_path, voxels_like((2, 40, 36)), voxel_size=VOXEL_SIZE)
    same = [{}, {"workers": 7}, {"executor": "serial"}, {"any_voxel_size": True}]
    other = [
        {"region": "z=0:1"},
        {"model": str(write_card(tmp_path / "b", halo=(12, 12)))},
        {"channels": (0,)},
    ]
    bundle = str(write_card(tmp_path / "a"))
    keys = [prepare(PlanJob(**{"image": image, "model": bundle, **f})).key for f in same]
    assert len(set(keys)) == 1
    others = [prepare(PlanJob(**{"image": image, "model": bundle, **f})).key for f in other]
    assert len({keys[0], *others}) == 4
    voxels = voxels_like((2, 40, 36), seed=1)
    (tmp_path / "new").mkdir()
    changed = make_image(tmp_path / "new", voxels, voxel_size=VOXEL_SIZE)
    assert prepare(PlanJob(image=changed, model=bundle)).key not in keys


def test_the_command_prints_the_figures(shelf):
    with unchanged(shelf):
        command = ("plan", shelf / "stack.zarr", "--model", "identity", "--executor", "serial")
        text = maskmill(*command, "--price-per-hour", 3).out
        document = maskmill(*command, "--json").document
    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert lines["shards"] == "1"
    assert lines["amplification"] == "1"
    assert lines["skippable background"] == "0.5"
    assert set(STAGES) <= {name.removeprefix("stage ") for name in lines}
    assert lines["cost"].endswith("worker hours at 3")
    names = [key.replace("_", " ") for key in document]
    assert list(itertools.islice(lines, 3)) == names[:3]
