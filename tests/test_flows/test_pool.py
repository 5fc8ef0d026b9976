"""Which executor a job gets that leaves the choice to us."""

import pytest

from flows import pool
from flows.executors import SerialExecutor
from flows.jobs import ClassifyJob, EvaluateJob, SegmentJob
from flows.pool import FEW_ITEMS, chosen, make_executor
from flows.ray_executor import RayExecutor

HEAD = "10.0.0.1:6379"


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch):
    """A machine of four CPUs, on which a network has two workers; no cluster."""
    monkeypatch.setenv("MASKMILL_CPUS", "4")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def job(**fields):
    return SegmentJob(image="a.zarr", model="identity", name="cells", **fields)


@pytest.mark.parametrize(
    ("fields", "shards", "executor"),
    [
        # One shard, or none that is left to do, keeps no second worker busy.
        ({}, 1, "serial"),
        ({}, 0, "serial"),
        ({}, 2, "ray"),
        ({"workers": 8}, 1, "serial"),
        ({"workers": 1}, FEW_ITEMS, "serial"),
        # With many shards reading and writing beside the device pays for Ray's start.
        ({"workers": 1}, FEW_ITEMS + 1, "ray"),
        # Somebody wants a cluster, or a device that Ray hands out.
        ({"address": HEAD}, 1, "ray"),
        ({"address": "local"}, 1, "ray"),
        ({"gpus_per_worker": 0.5}, 1, "ray"),
        # Nobody overrules what was asked for.
        ({"executor": "ray"}, 1, "ray"),
        ({"executor": "serial"}, 10**6, "serial"),
    ],
)
def test_the_choice(fields, shards, executor):
    assert chosen(job(**fields), shards).executor == executor


def test_a_cluster_in_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", HEAD)
    assert chosen(job(), 1).executor == "ray"
    assert chosen(job(executor="serial"), 1).executor == "serial"


def test_the_choice_changes_nothing_else():
    before = job(workers=1, memory=2**30)
    after = chosen(before, 3)
    assert before.executor == "auto"
    assert after == before.model_copy(update={"executor": "serial"})
    assert isinstance(make_executor(after), SerialExecutor)
    assert isinstance(make_executor(chosen(before, 100)), RayExecutor)


def test_counting_has_a_worker_for_every_cpu(monkeypatch):
    """On a machine of two CPUs a network has one worker, an evaluation two."""
    monkeypatch.setenv("MASKMILL_CPUS", "2")
    evaluation = EvaluateJob(image="a.zarr", labels="cells", truth="truth")
    classification = ClassifyJob(images="a", model="b")
    assert chosen(evaluation, 2).executor == "ray"
    assert chosen(evaluation, 1).executor == "serial"
    assert chosen(job(), 2).executor == chosen(classification, 2).executor == "serial"


def test_one_worker_counts_as_one_whatever_was_asked_for():
    assert pool.worker_count(chosen(job(workers=8), 1)) == 1
