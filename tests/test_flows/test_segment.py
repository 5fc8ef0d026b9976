"""The flow itself, with Prefect."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from prefect.client.orchestration import get_client  # noqa: TID251 what the flow leaves behind

from flows.jobs import SegmentJob
from tests.test_flows.images import maskmill_process
from tests.test_flows.runs import attempts, make_image, make_truth

pytestmark = pytest.mark.slow

STAGES = ["plan", "infer", "pyramid", "verify", "aggregate", "publish", "report"]


def test_prefect_sees_stages_and_artifacts_and_no_shards(prefect_harness, tiny_image):
    from flows.segment import segment_volume

    job = SegmentJob(
        image=tiny_image, model="identity", name="mask", truth="truth",
        executor="serial", memory=2**17,
    )  # fmt: skip
    result = segment_volume(job)
    assert result["published"]
    assert result["shards"]["done"] > 4
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs()
        artifacts = {artifact.type: artifact for artifact in client.read_artifacts()}
    assert sorted(run.name.rsplit("-", 1)[0] for run in runs) == sorted(STAGES)
    assert {run.state_name for run in runs} == {"Completed"}
    assert set(artifacts) == {"progress", "table", "markdown"}
    assert artifacts["progress"].data == 100.0
    rows = json.loads(artifacts["table"].data)
    assert [row["class"] for row in rows] == ["background", "membrane", "synapse"]

    again = segment_volume(job)
    told = ("executor", "seconds")
    assert again == {k: v for k, v in result.items() if k not in told} | {"already_done": True}
    assert list(result["seconds"]) == STAGES


DRIVER = """
import sys
from flows import cli
sys.argv = ["maskmill", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as left:
    loaded = sorted({"tensorflow", "keras", "jax"} & sys.modules.keys())
    sys.stdout.write(f"\\n{left.code} {loaded}")
"""


def test_a_flow_and_its_workers_import_nothing_that_only_counting_needs():
    """They are 90 MiB in every worker, and a second of every command."""
    code = "import sys, flows.segment, flows.work; print({'numba', 'scipy'} & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    assert loaded.stdout == "set()\n"


def test_the_driver_of_a_ray_run_never_loads_the_network(tmp_path, tiny_bundle):
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, 256, (4, 300, 300), np.uint8)
    image = make_image(tmp_path, voxels, "zyx")
    make_truth(image, (voxels // 90).astype(np.uint8), "zyx")
    request = ["segment", image, "--model", tiny_bundle, "--name", "cells", "--truth", "truth"]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *request, "--executor", "ray", "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
        env=os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")},
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "Traceback" not in done.stderr
    run = next((tmp_path / "image.zarr.runs").glob("cells-*"))
    before = attempts(run)

    again = maskmill_process(*request, "--json", timeout=900)
    assert again.document["already_done"]
    assert attempts(run) == before
