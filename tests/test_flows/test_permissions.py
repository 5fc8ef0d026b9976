"""Permission that is missing, or revoked in mid-run: the right exit code, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.labels import listed
from tests.test_flows.images import COMMAND, make_image, segment, unchanged, voxels_like

pytestmark = pytest.mark.slow

VOXELS = voxels_like((3, 80, 70))
# Root may write anywhere, unless it has given that power away.
POWERLESS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]


@pytest.fixture(scope="module", autouse=True)
def _needs_setpriv():
    probe = [*POWERLESS, "true"]
    if os.geteuid() == 0 and subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED: root cannot give up its power here (setpriv)")


def powerless(*command):
    """Run a command that permissions apply to."""
    before = POWERLESS if os.geteuid() == 0 else []
    return subprocess.run(
        [*before, *map(str, command)], capture_output=True, text=True, timeout=240, check=False
    )


def revoke(folder):
    subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)


def grant(folder):
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)


def test_what_may_not_be_written_is_refused_and_unchanged(tmp_path):
    image = make_image(tmp_path, VOXELS)
    first, second, third = (segment(image, force=force)[0] for force in (False, True, True))
    revoke(tmp_path)
    try:
        for arguments in (
            ("rollback", image, "--labels", "mask"),
            ("prune", image, "--older-than", "0", "--yes"),
            ("segment", image, "--model", "identity", "--name", "new"),
        ):
            with unchanged(tmp_path):
                answer = powerless(COMMAND, *arguments)
            assert (answer.returncode, answer.stdout) == (2, ""), answer
            assert answer.stderr.count("maskmill: ") == 1
            assert "Permission denied" in answer.stderr
            assert "Traceback" not in answer.stderr
    finally:
        grant(tmp_path)
    assert listed(image) == (third.directory,)
    assert Path(first.target, "zarr.json").exists()
    assert Path(second.target, "zarr.json").exists()


REVOKED = """
import subprocess, sys, threading
from flows.errors import IncompleteRunError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from tests.test_flows.images import finish, infer, opened_run
from tests.test_flows.runs import small_cells

class Revoking(SerialExecutor):
    def map(self, work, items, stop):
        for number, outcome in enumerate(SerialExecutor.map(self, work, items, stop)):
            if number == 2:
                subprocess.run(["chmod", "-R", "a-w", run.target], check=True)
            yield outcome

with small_cells():
    job = SegmentJob(image=sys.argv[1], model="identity", name="mask", memory=2**17)
    run = opened_run(job)
    try:
        infer(run, Revoking())
    except IncompleteRunError as error:
        print(error)
    done = int(run.manifest.completed("infer", len(run.plan)).sum())
    print(f"{done} of {len(run.plan)}")
    subprocess.run(["chmod", "-R", "u+w", run.target], check=True)
    finish(run)
"""


def test_permission_revoked_in_mid_run(tmp_path):
    from tests.test_flows.runs import small_cells

    with small_cells():
        image = make_image(tmp_path, VOXELS)
    answer = powerless(sys.executable, "-c", REVOKED, image)
    assert answer.returncode == 0, answer.stderr
    assert "Permission denied" in answer.stdout
    assert "run the same command to go on" in answer.stdout
    done, planned = map(int, answer.stdout.splitlines()[-1].split(" of "))
    assert 3 <= done < planned
    assert len(listed(image)) == 1
