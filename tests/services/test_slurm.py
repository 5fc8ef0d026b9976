"""Real Slurm: a run over two machines gives the bytes of a serial one, whatever happens to it."""

from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest

from storage.labels import listed
from tests.services.conftest import or_skip
from tests.services.hosts import await_that, family, kill_all
from tests.services.shell import NAME
from tests.services.slurm import slurm_cluster
from tests.services.stack import (
    EARLY,
    SECONDS,
    copy_of,
    made,
    made_in_one_process,
    make_source,
    segmentation,
)
from tests.test_flows.images import COMMAND
from tests.test_flows.runs import attempts, make_image, recorded

pytestmark = [pytest.mark.services, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with or_skip(), slurm_cluster(tmp_path_factory.mktemp("slurm") / "site", nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def serial(source, tmp_path_factory):
    return made_in_one_process(source, tmp_path_factory.mktemp("serial"))


@pytest.fixture
def image(source, tmp_path):
    return copy_of(source, tmp_path)


class Submitted:
    """A job of two machines over an image, as `maskmill submit` made it."""

    def __init__(self, slurm, image, source):
        self.slurm, self.image, self.folder = slurm, image, Path(image).parent
        self.number = self.submit(
            *("--nodes", "2", "--time", "1h"), "--", *segmentation(image, source)
        )

    def submit(self, *arguments):
        sizes = ("--cpus-per-node", "1", "--memory-per-node", "5GiB")
        done = self.slurm.run(
            COMMAND, "submit", "slurm", *sizes, *arguments, cwd=self.folder, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[2]

    @property
    def token(self):
        return Path.home() / f".maskmill-ray-{self.number}"

    @property
    def logs(self):
        return sorted(self.folder.glob("maskmill-*"))

    def records(self):
        return recorded(self.image, NAME)

    def await_work(self, count=EARLY):
        """Wait until shards are finished, with actors on both machines."""
        self.await_that(lambda: self.records() >= count, "finished shards")

    def await_that(self, condition, what):
        def so():
            state = self.slurm.job(self.number)
            over = not condition() and self.slurm.is_over(self.number)
            assert not over, f"{state}\n{self.said()}"
            return condition()

        await_that(so, what, SECONDS, *self.logs)

    def await_end(self):
        """State in which the job ended, once nothing of it is left."""
        await_that(lambda: self.slurm.is_over(self.number), "the end", SECONDS, *self.logs)
        await_that(lambda: not self.left(), "processes gone", 120, *self.logs)
        assert not self.token.exists()
        assert not list(Path(gettempdir()).glob(f"maskmill-{self.number}.*"))
        return self.slurm.job(self.number)["JobState"]

    def left(self):
        """Processes of the nodes beside Slurm's own daemon."""
        running = [c for node in self.slurm.nodes.values() for c in family(node).values()]
        return [command for command in running if not command.startswith(("slurmd ", "unshare "))]

    def workers(self, node):
        """Processes of a node that compute shards."""
        found = family(self.slurm.nodes[node])
        return {pid: command for pid, command in found.items() if command.startswith("ray::Actor")}

    def said(self):
        return "".join(f"\n{log.name}: {log.read_text()}" for log in self.logs)


def items(image):
    """Attempts that recorded each shard."""
    (run,) = Path(f"{image}.runs").glob(f"{NAME}-*")
    return attempts(str(run))


def test_two_machines_of_which_one_loses_its_processes(slurm, image, source, serial):
    job = Submitted(slurm, image, source)
    job.await_that(lambda: all(job.workers(node) for node in ("n1", "n2")), "workers on both")
    shown = slurm.run("scontrol", "show", "job", job.number).stdout
    written = slurm.run("scontrol", "write", "batch_script", job.number, "-").stdout
    token = job.token.read_text()
    assert len(token) == 64
    assert job.token.stat().st_mode & 0o777 == 0o600
    assert token not in shown + written
    job.await_work()
    gone = {p: c for p, c in family(slurm.nodes["n2"]).items() if not c.startswith("slurm")}
    assert any("raylet" in command for command in gone.values())
    kill_all(gone)
    assert job.await_end() == "COMPLETED", job.said()
    assert token not in job.said()
    assert made(image) == serial
    assert listed(image).count(next(v for v in listed(image) if v.startswith(NAME))) == 1


def test_a_job_that_is_stopped_in_time_or_cancelled_goes_on(slurm, image, source, serial):
    job = Submitted(slurm, image, source)
    job.await_work()
    # As Slurm does before the walltime; what is queued again waits for two minutes.
    slurm.run("scancel", "--batch", "--signal=USR1", job.number)
    job.await_that(lambda: slurm.job(job.number)["Restarts"] == "1", "a second attempt")
    first = job.records()
    assert EARLY <= first < 24
    # Not at once: a node takes a job that begins in the second of its end for the one that ended.
    slurm.run("scontrol", "update", f"jobid={job.number}", "starttime=now+5")
    job.await_work(first + EARLY)
    assert "attempt 2" in job.said()
    slurm.run("scancel", job.number)
    assert job.await_end() == "CANCELLED"
    second = job.records()
    assert second < 24
    again = Submitted(slurm, image, source)
    assert again.await_end() == "COMPLETED", again.said()
    assert made(image) == serial
    # Nothing that was finished was computed again.
    assert all(len(found) == 1 for found in items(image).values())
    assert len({found[0] for found in items(image).values()}) == 3


def test_an_array_has_a_task_for_each_image(slurm, tmp_path):
    images = []
    for number in range(2):
        voxels = np.random.default_rng(number).integers(0, 3, (4, 32, 32), np.uint8)
        images.append(make_image(tmp_path / f"it's {number}", voxels, "zyx"))
    (tmp_path / "images.txt").write_text("\n".join(images))
    arguments = ("--array", "images.txt", "--", "segment", "{}", "--model", "identity")
    done = slurm.run(
        *(COMMAND, "submit", "slurm", "--cpus-per-node", "1", "--memory-per-node", "5GiB"),
        *(*arguments, "--name", NAME),
        cwd=tmp_path,
    )
    number = done.stdout.split()[2]
    for task in range(2):
        name = f"{number}_{task}"
        logs = sorted(tmp_path.glob("maskmill-*"))
        await_that(lambda name=name: slurm.is_over(name), name, SECONDS, *logs)
        assert slurm.job(name)["JobState"] == "COMPLETED", [log.read_text() for log in logs]
        assert any(v.startswith(NAME) for v in listed(images[task]))


def test_slurm_says_no(slurm, tmp_path):
    voxels = np.ones((4, 32, 32), np.uint8)
    image = make_image(tmp_path, voxels, "zyx")
    segment = ("--", "segment", image, "--model", "identity", "--name", NAME)
    done = slurm.run(
        COMMAND, "submit", "slurm", "--partition", "nowhere", *segment, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Slurm refused the job" in done.stderr
    assert "partition" in done.stderr
    assert "Traceback" not in done.stderr
