"""Two reconciliations at once, and one that is killed: every volume is segmented, and once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL  # noqa: TID251 the server of the tests

from flows.run_lease import RUN_LOCK
from storage.labels import listed
from storage.volume import open_label
from tests.test_flows.images import COMMAND, make_image, voxels_like
from tests.test_flows.runs import attempts
from tests.test_flows.works import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COUNT = 10
SHAPE = (2, 60, 50)
SECONDS = 400


@pytest.fixture
def plates(tmp_path):
    folder = tmp_path / "plates"
    folder.mkdir()
    for number in range(COUNT):
        make_image(folder, voxels_like(SHAPE, number), name=f"v{number}")
    return folder


@contextmanager
def started(folder, name):
    """The command in a process of its own, killed if the test leaves it behind."""
    out, err = (folder.parent / f"{name}.{kind}" for kind in ("out", "err"))
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [COMMAND, "reconcile", folder, "--model", "identity", "--name", "mask"]
    with out.open("w") as to_out, err.open("w") as to_err:
        process = subprocess.Popen(
            [*map(str, command), "--executor", "serial", "--json"],
            stdout=to_out,
            stderr=to_err,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def at_work(folder, name):
    """The command alone, stopped while it holds a volume: whoever starts next, both have work."""
    with started(folder, name) as process:
        assert wait_for(
            lambda: process.poll() is not None or stopped_while_it_holds(folder, process), SECONDS
        )
        assert process.returncode is None, (folder.parent / f"{name}.err").read_text()
        yield process


def document(folder, name):
    return json.loads((folder.parent / f"{name}.out").read_text())


def check_masks(folder):
    """Every volume has its mask, each shard recorded once, by one attempt; no lease is left."""
    for number in range(COUNT):
        image = str(folder / f"v{number}.zarr")
        (directory,) = listed(image)
        made = attempts(f"{image}.runs/{directory}")
        assert {len(by) for by in made.values()} == {1}
        assert len({by[0] for by in made.values()}) == 1
        voxels = open_label(image, "mask").volumes[0][...]
        np.testing.assert_array_equal(voxels, voxels_like(SHAPE, number))
    assert not list(folder.rglob("*.lock"))


def holds(folder, process):
    """Whether a process has a lease, and has not finished what it protects."""
    for lock in folder.glob(f"*.runs/mask-*/{RUN_LOCK}"):
        try:
            pid = json.loads(lock.read_bytes())["pid"]
        except FileNotFoundError:
            continue
        if pid == process.pid and not (lock.parent / "published.json").exists():
            return True
    return False


def stopped_while_it_holds(folder, process):
    """Whether a process could be stopped at a moment when it had a lease."""
    if not holds(folder, process):
        return False
    os.kill(process.pid, signal.SIGSTOP)
    if not holds(folder, process):
        os.kill(process.pid, signal.SIGCONT)
        return False
    return True


def published(folder):
    return len(list(folder.glob("*.runs/mask-*/published.json")))


def test_two_at_once_segment_each_volume_once(prefect_harness, plates):
    with at_work(plates, "one") as one, started(plates, "other") as other:
        before = published(plates)
        assert wait_for(lambda: other.poll() is not None or published(plates) > before + 2, SECONDS)
        one.send_signal(signal.SIGCONT)
        codes = [process.wait(SECONDS) for process in (one, other)]
    assert codes == [0, 0], (plates.parent / "one.err").read_text()
    found = [document(plates, name) for name in ("one", "other")]
    done = [set(result["done"]) for result in found]
    assert all(done)
    assert len(done[0]) + len(done[1]) == COUNT
    assert len(done[0] | done[1]) == COUNT
    assert not any(result["failed"] or result["set_aside"] for result in found)
    check_masks(plates)
    print(f"\n{len(done[0])} and {len(done[1])} of {COUNT}")


def test_what_a_killed_one_held_is_taken_over(prefect_harness, plates):
    with at_work(plates, "one") as one, started(plates, "other") as other:
        before = published(plates)
        assert wait_for(lambda: other.poll() is not None or published(plates) > before, SECONDS)
        one.kill()
        assert one.wait() == -signal.SIGKILL, (plates.parent / "one.err").read_text()
        held = [Path(lock).parent for lock in plates.rglob(RUN_LOCK)]
        assert held
        assert other.wait(SECONDS) == 0, (plates.parent / "other.err").read_text()
    result = document(plates, "other")
    assert len(result["done"]) + len(result["current"]) == COUNT
    assert result["busy"] == result["failed"] == []
    for number in range(COUNT):
        image = str(plates / f"v{number}.zarr")
        assert len(listed(image)) == 1
        np.testing.assert_array_equal(
            open_label(image, "mask").volumes[0][...], voxels_like(SHAPE, number)
        )
    assert not list(plates.rglob(RUN_LOCK))
    print(f"\n{len(result['done'])} of {COUNT} by the one that was left")
