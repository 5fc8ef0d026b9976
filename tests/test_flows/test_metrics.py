"""What workers count, and that it comes out where a cluster hands its metrics out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time

import pytest

from flows import stages, work
from flows.jobs import SegmentJob
from flows.metrics import BusyShare, device_seconds, item_voxels, labels
from segmentation.shard import ShardResult
from tests.test_flows.metrics_run import Boxes
from tests.test_flows.runs import infer, start


def test_the_share_is_that_of_the_last_minute():
    share, of_two = BusyShare(started=100.0), BusyShare(started=100.0, devices=2)
    # now, seconds with the device → share, by hand
    table = [
        (100.0, 1.0, 0.0),  # no time has gone by
        (110.0, 4.0, 0.5),  # 5 of 10 seconds
        (130.0, 10.0, 0.5),  # 15 of 30
        (160.0, 15.0, 29 / 60),  # the first was a minute ago: 4 + 10 + 15 of 60
        (175.0, 0.0, 25 / 60),  # 10 + 15
        (300.0, 90.0, 1.0),  # never more than the whole minute
    ]
    for now, seconds, expected in table:
        share.add(now, seconds)
        of_two.add(now, seconds)
        assert share.share(now) == pytest.approx(expected), now
        if now < 300:
            assert of_two.share(now) == pytest.approx(expected / 2), now
    assert share.share(361.0) == 0.0


def test_voxels_are_those_of_the_box():
    assert item_voxels(Boxes(), 3) == 15
    assert item_voxels(object(), 3) == 0


def test_a_run_knows_its_voxels_and_its_device_seconds(tiny_image, monkeypatch):
    whole = work.segment_shard

    def slow(*arguments, device, **options):
        with device:
            time.sleep(0.02)
        return whole(*arguments, device=device, **options)

    monkeypatch.setattr(work, "segment_shard", slow)
    run = start(SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17))
    infer(run)
    shards = range(len(run.plan))
    assert len(shards) > 1
    segmenting = stages.segment_work(run, None)
    assert sum(item_voxels(segmenting, item) for item in shards) == 40 * 44 * 30
    seconds = [record["seconds"] for record in run.manifest.records("infer", len(run.plan))]
    # Part of the time to compute, up to the rounding of both.
    assert all(0.02 <= one["device"] <= one["compute"] + 1e-4 for one in seconds)


def test_only_a_shard_has_the_device():
    assert device_seconds(Boxes().compute(1)) == 0.25
    assert device_seconds(ShardResult(0, {}, [], [])) == 0.0
    assert device_seconds([1, 2]) == 0.0


def test_labels_are_short():
    fields = {"run": "s3://bucket/a.zarr.runs/cells-0123abcd/", "stage": "infer", "shard": 3}
    assert labels(fields) == {"run": "cells-0123abcd", "stage": "infer"}
    assert labels({}) == {"run": "", "stage": ""}


def needs_metrics():
    """Skip, loudly, where Ray was installed without what hands metrics out."""
    if not all(map(importlib.util.find_spec, ("opencensus", "prometheus_client", "aiohttp_cors"))):
        pytest.skip("Ray's metrics need ray[default], which is not installed here")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cluster_hands_the_counts_out(tmp_path):
    """Boxes 1 to 4 on one worker, of which the second fails three times."""
    needs_metrics()
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_flows.metrics_run", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=360,
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", maxsplit=1) for line in done.stdout.splitlines())
    labels = 'run="cells-0123" stage="infer"'
    busy = float(found.pop(f"maskmill_device_busy_share {labels}"))
    assert 0 <= busy <= 1
    assert found == {
        f"maskmill_shards_total {labels}": "3.0",  # 1, 3 and 4
        f"maskmill_voxels_total {labels}": "40.0",  # five times their sum
        f"maskmill_failures_total {labels}": "3.0",  # three attempts at 2
        f"maskmill_device_seconds_total {labels}": "0.75",
    }
