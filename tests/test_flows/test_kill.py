"""The command in a process of its own, through Prefect and Ray, and what it survives."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest

from storage.labels import listed
from storage.volume import open_label
from tests.test_flows.images import COMMAND, maskmill_process
from tests.test_flows.runs import (
    attempts,
    least_budget,
    make_image,
    make_truth,
    recorded,
    stored,
)
from tests.test_flows.works import DEADLINE_SECONDS, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAME = "cells"
# Records on disk when a process is killed: something is finished, much is not.
EARLY = 5


@pytest.fixture(scope="module", autouse=True)
def own_prefect_home(tmp_path_factory):
    """Leave the database of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        yield


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """A stack of sections with a truth, 24 write-grid cells of a MiB; its folder."""
    folder = tmp_path_factory.mktemp("sections")
    rng = np.random.default_rng(11)
    voxels = rng.integers(0, 256, (24, 768, 768), np.uint8)
    image = make_image(folder, voxels, "zyx", voxel_size=(0.05, 0.01, 0.01), unit="micrometer")
    make_truth(image, (voxels // 90).astype(np.uint8), "zyx")
    return folder


@pytest.fixture(scope="module")
def request_of(sections, tiny_bundle):
    """The options of a segmentation of many shards with a network, for a copy of the stack."""
    # A little above the least: the same shards, of fewer and larger tiles.
    image = str(sections / "image.zarr")
    budget = least_budget(image=image, model=tiny_bundle, truth="truth") + 2 * 2**20
    return ["--model", tiny_bundle, "--truth", "truth", "--memory", str(budget)]


@pytest.fixture(scope="module")
def undisturbed(sections, request_of, tmp_path_factory):
    """A copy of the stack that was segmented without any disturbance; its image."""
    image = copy_of(sections, tmp_path_factory.mktemp("undisturbed"))
    segment(image, request_of, workers=2)
    return image


def copy_of(folder, target):
    """A copy of an image with its times, which belong to its digest."""
    shutil.copytree(folder / "image.zarr", target / "image.zarr")
    return str(target / "image.zarr")


def options(image, request, workers):
    where = ["--executor", "ray", "--workers", str(workers)]
    return ["segment", image, "--name", NAME, *request, *where]


def segment(image, request, workers=1):
    """The command, undisturbed; its answer."""
    answer = maskmill_process(*options(image, request, workers), timeout=3 * DEADLINE_SECONDS)
    assert answer.code == 0, answer.err
    check_quiet(answer.err)
    return answer


class Started:
    """The command, running in a session of its own."""

    def __init__(self, image, request, workers=1):
        self.runs = Path(f"{image}.runs")
        self.log = Path(f"{image}.err")
        with self.log.open("w") as err:
            self.process = subprocess.Popen(
                [COMMAND, *options(image, request, workers)],
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )
        self.family = []

    def await_records(self, count):
        """Wait until some shards are finished, and note which processes there are."""
        assert wait_for(lambda: self.records() >= count or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def records(self):
        return recorded(str(self.runs).removesuffix(".runs"), NAME)

    def workers(self):
        """Processes that compute shards."""
        return [p for p in self.family if "ray::Actor" in " ".join(p.cmdline())]

    def wait(self):
        """Exit code, once every process it started is gone too."""
        code = self.process.wait(3 * DEADLINE_SECONDS)
        assert wait_for(lambda: not any(map(alive, self.family))), [
            p for p in self.family if alive(p)
        ]
        return code


def alive(process):
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_quiet(text):
    """Nothing on stderr but progress and messages of our own."""
    foreign = [
        line for line in text.splitlines()
        if not line.startswith(("segmenting: ", "evaluating: ", "maskmill: "))
    ]  # fmt: skip
    assert foreign == []


def same_bytes(image, reference):
    """The masks, their pyramids, metadata and scores of two copies of an image are equal."""
    ours, theirs = (stored(f"{url}/labels") for url in (image, reference))
    assert ours == theirs
    results = [next(Path(f"{url}.runs").glob("*/result.json")) for url in (image, reference)]
    assert results[0].read_bytes() == results[1].read_bytes()


def run_folder(image):
    return next(Path(f"{image}.runs").glob(f"{NAME}-*"))


def test_a_killed_worker_is_survived(sections, request_of, undisturbed, tmp_path):
    image = copy_of(sections, tmp_path)
    command = Started(image, request_of, workers=2)
    command.await_records(EARLY)
    os.kill(command.workers()[0].pid, signal.SIGKILL)
    assert command.wait() == 0, command.log.read_text()
    check_quiet(command.log.read_text())
    same_bytes(image, undisturbed)
    (attempt,) = json.loads((run_folder(image) / "timings.json").read_text())["attempts"]
    assert attempt["tries"] == attempt["shards"]  # a kill from outside blames no shard


def test_a_killed_command_goes_on_where_it_was(sections, request_of, undisturbed, tmp_path):
    image = copy_of(sections, tmp_path)
    command = Started(image, request_of)
    command.await_records(EARLY)
    os.kill(command.process.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert listed(image) == ("truth",)
    before = attempts(run_folder(image))
    planned = json.loads((run_folder(image) / "run.json").read_text())["plan"]["shards"]
    assert EARLY <= len(before) < planned

    segment(image, request_of)
    after = attempts(run_folder(image))
    assert sorted(after) == list(range(planned))
    assert {item: after[item] for item in before} == before
    (second,) = {made for item in after.keys() - before for made in after[item]}
    assert sum(map(len, after.values())) == planned
    assert {second} & {made for item in before for made in before[item]} == set()
    same_bytes(image, undisturbed)
    print(f"\n{len(before)} of {planned} shards kept, {planned - len(before)} computed after")


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.kill, signal.SIGINT), (os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["ctrl-c to the driver", "ctrl-c to all", "terminated"],
)
def test_a_signal_stops_at_a_shard_border(tmp_path, send, number):
    voxels = np.random.default_rng(2).integers(0, 9, (64, 1024, 1024), np.uint8)
    image = make_image(tmp_path, voxels, "zyx", voxel_size=(0.05, 0.01, 0.01), unit="micrometer")
    request = ["--model", "identity", "--memory", str(least_budget(image=image, model="identity"))]
    command = Started(image, request)
    command.await_records(EARLY)
    send(command.process.pid, number)
    assert command.wait() == 3, command.log.read_text()
    said = command.log.read_text()
    check_quiet(said)
    planned = json.loads((run_folder(image) / "run.json").read_text())["plan"]["shards"]
    left = planned - command.records()
    assert left > 0
    assert f"stopped at a shard border with {left} of {planned} shards to do" in said
    assert "run the same command" in said
    assert listed(image) == ()

    segment(image, request)
    made = attempts(run_folder(image))
    assert [len(made[item]) for item in range(planned)] == [1] * planned
    assert np.array_equal(open_label(image, NAME).volumes[0][...], voxels)


@pytest.mark.parametrize(
    ("harm", "fault"),
    [(lambda p: p.write_bytes(p.read_bytes()[:-100]), "changed"), (Path.unlink, "missing")],
    ids=["torn", "deleted"],
)
@pytest.mark.parametrize("level", ["0", "1"])
def test_torn_and_deleted_chunks_are_found_and_named(undisturbed, tmp_path, harm, fault, level):
    image = str(tmp_path / "image.zarr")
    shutil.copytree(undisturbed, image)
    shutil.copytree(f"{undisturbed}.runs", f"{image}.runs")
    assert maskmill_process("verify", image, "--labels", NAME).code == 0
    label = Path(open_label(image, NAME).url)
    chunk = sorted(p for p in (label / level / "c").rglob("*") if p.is_file())[1]
    harm(chunk)
    answer = maskmill_process("verify", image, "--labels", NAME)
    assert answer.code == 4
    assert f"{chunk.relative_to(label)}: {fault}" in answer.err
    assert "Traceback" not in answer.err
