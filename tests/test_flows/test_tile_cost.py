"""The ladder of a job: measured by a worker, kept, found again, and measured anew if it is gone."""

from __future__ import annotations

import json

import pytest

from flows import tile_cost
from flows.executors import SerialExecutor
from flows.jobs import PlanJob
from flows.model import open_model
from flows.prepare import measured, prepare
from flows.tile_cost import (
    device_name,
    is_worth_measuring,
    known_cost,
    measure_cost,
)
from segmentation import ladder
from segmentation.ladder import TileCost
from tests.test_flows.images import VOXEL_SIZE, make_image, voxels_like, write_thresholds


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and ladders of two rungs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ladder, "LADDER_SECONDS", 0.0)
    return tmp_path / "cache" / "maskmill"


@pytest.fixture
def job(tmp_path):
    image = make_image(tmp_path, voxels_like((2, 64, 64)), voxel_size=VOXEL_SIZE)
    bundle = write_thresholds(tmp_path / "bundle")
    return PlanJob(image=image, model=str(bundle), executor="serial")


def test_a_ladder_is_climbed_once_and_found_again(cache, job):
    model = open_model(job.model)
    assert known_cost(job, model) is None
    cost = measure_cost(job, model, SerialExecutor(), 2**20)
    assert isinstance(cost, TileCost)
    assert known_cost(job, model) == cost
    (file,) = cache.iterdir()
    document = json.loads(file.read_text())
    assert document["device"] == device_name(job)
    # Other threads and other clusters are other devices.
    assert known_cost(job.model_copy(update={"address": "10.0.0.1:6379"}), model) is None
    ray = job.model_copy(update={"executor": "ray", "workers": 10_000})
    assert known_cost(ray, model) is None or tile_cost.threads_per_worker(job) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "overhead_voxels": 1, "batch_voxels": 1}',
     '{"schema": 1, "overhead_voxels": -1, "batch_voxels": 1}',
     '{"schema": 1, "overhead_voxels": 1, "batch_voxels": "many"}'],
)  # fmt: skip
def test_what_is_torn_or_stale_counts_as_nothing(cache, job, text):
    model = open_model(job.model)
    measure_cost(job, model, SerialExecutor(), 2**20)
    (file,) = cache.iterdir()
    file.write_text(text)
    assert known_cost(job, model) is None


def test_a_cache_that_cannot_be_written_costs_a_measurement(cache, job):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    model = open_model(job.model)
    assert isinstance(measure_cost(job, model, SerialExecutor(), 2**20), TileCost)
    assert known_cost(job, model) is None


def test_a_run_measures_only_where_that_is_a_small_part_of_it(cache, job, monkeypatch):
    prepared = prepare(job)
    assert measured(job, prepared, SerialExecutor()) is prepared
    assert not cache.exists()
    monkeypatch.setattr(tile_cost, "WORTH_VOXELS", prepared.plan.computed_voxels)
    assert is_worth_measuring(job, prepared.model, prepared.plan)
    planned = measured(job, prepared, SerialExecutor())
    assert cache.exists()
    assert planned.digest == prepared.digest
    # What is known is used by the next plan, and not measured again.
    assert not is_worth_measuring(job, prepared.model, prepared.plan)
    assert prepare(job).plan == planned.plan


def test_the_key_of_a_run_does_not_depend_on_the_cache(cache, job, monkeypatch):
    keys = set()
    for cost in (None, TileCost(0, 2**8), TileCost(2**20, 2**24)):
        monkeypatch.setattr("flows.prepare.known_cost", lambda *_, found=cost: found)
        keys.add(prepare(job).key)
    assert len(keys) == 1


def test_the_identity_model_has_no_ladder(cache, job):
    model = open_model("identity")
    assert measure_cost(job, model, SerialExecutor(), 2**20) is None
    assert known_cost(job, model) is None


def test_devices_by_name(job, tmp_path, monkeypatch):
    assert device_name(job.model_copy(update={"address": "auto"})) == "cluster auto"
    gpu = job.model_copy(update={"gpus_per_worker": 1.0})
    monkeypatch.setattr(tile_cost, "GPU_INFO", tmp_path / "none")
    assert device_name(gpu) == "GPU"
    (tmp_path / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "gpus" / "0" / "information").write_text("Model: \t NVIDIA H200\nIRQ: 5\n")
    monkeypatch.setattr(tile_cost, "GPU_INFO", tmp_path / "gpus")
    assert device_name(gpu) == "NVIDIA H200"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A CPU @ 2: fast\n")
    monkeypatch.setattr(tile_cost, "CPU_INFO", tmp_path / "cpuinfo")
    assert device_name(job) == "A CPU @ 2: fast"
