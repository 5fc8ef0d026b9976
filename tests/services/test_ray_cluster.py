"""Real Ray on three hosts: a submitted job gives the bytes of a serial run, a cut link included."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.services.conftest import or_skip
from tests.services.hosts import await_that, family
from tests.services.ray_hosts import ray_cluster
from tests.services.shell import NAME
from tests.services.stack import (
    EARLY,
    SECONDS,
    copy_of,
    made,
    made_in_one_process,
    make_source,
    segmentation,
)
from tests.test_flows.runs import make_image, recorded

pytestmark = [pytest.mark.services, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with or_skip(), ray_cluster(tmp_path_factory.mktemp("ray"), machines=3) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def serial(source, tmp_path_factory):
    return made_in_one_process(source, tmp_path_factory.mktemp("serial"))


@pytest.fixture
def image(source, tmp_path):
    return copy_of(source, tmp_path)


def submission(cluster, *arguments):
    """The words that submit a command with the cluster's token."""
    place = ("--address", cluster.dashboard, "--token-file", cluster.token)
    return ["maskmill", "submit", "ray", *place, *arguments]


def records(image):
    return recorded(image, NAME)


def busy(cluster, number):
    """Whether a host has a process that computes shards."""
    return any(
        command.startswith("ray::Actor") for command in family(cluster.processes[number]).values()
    )


def test_a_job_over_three_hosts_of_which_one_is_cut_off(cluster, image, source, serial):
    arguments = [*segmentation(image, source), "--workers", "3"]
    process = cluster.start(*submission(cluster, "--json", "--", *arguments))

    def worked():
        assert process.poll() is None, process.communicate()
        return records(image) >= EARLY and busy(cluster, 1) and busy(cluster, 2)

    await_that(worked, "work on two hosts", SECONDS)
    lost = cluster.machines[2]
    lost.cut()
    try:
        cut = time.monotonic()
        before = records(image)
        # What the lost host had in flight keeps nobody: others go on, and take it over.
        await_that(lambda: records(image) > before + 1, "more shards after the cut", 60)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        lost.mend()
    assert process.returncode == 0, err
    assert json.loads(out)["job"]
    assert cluster.token.read_text() not in out + err
    print(f"\nended {time.monotonic() - cut:.0f} s after the cut")
    assert made(image) == serial


def test_a_job_that_is_left_alone_runs_on(cluster, tmp_path):
    voxels = np.random.default_rng(1).integers(0, 3, (4, 32, 32), np.uint8)
    image = make_image(tmp_path, voxels, "zyx")
    words = ["segment", image, "--model", "identity", "--name", NAME, "--workers", "3"]
    process = cluster.start(*submission(cluster, "--", *words))
    await_that(lambda: Path(f"{image}.runs").exists(), "the run", SECONDS)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert "runs on; `ray job logs --follow" in err
    assert "`ray job stop" in err
    published = f"{NAME}-*/published.json"
    await_that(lambda: any(Path(f"{image}.runs").glob(published)), "the mask", SECONDS)
    # Done already: the same command says so, and ends like the command on the cluster.
    done = cluster.run(*submission(cluster, "--json", "--", *words))
    assert done.returncode == 0, done.stderr
    # What the cluster alone can know: a bundle that is not there, and the code it ends with.
    words[words.index("identity")] = "/no/such/bundle"
    done = cluster.run(*submission(cluster, "--no-check", "--", *words))
    assert done.returncode == 2, done.stderr
    assert "/no/such/bundle" in done.stderr


def test_a_cluster_that_is_not_for_us(cluster, tmp_path):
    segment = ("--", "segment", "/data/a.zarr", "--model", "identity", "--name", NAME)
    (tmp_path / "wrong").write_text("wrong")
    place = ("maskmill", "submit", "ray", "--no-check", "--address", cluster.dashboard)
    for token, match in (
        ((), "none was given; name the file"),
        (("--token-file", tmp_path / "wrong"), "asks for its own token, and that was another one"),
    ):
        done = cluster.run(*place, *token, *segment)
        assert done.returncode == 2, done.stderr
        assert match in done.stderr
        assert "Traceback" not in done.stderr
    # Nobody answers on a host whose link is down.
    lost = cluster.machines[1]
    lost.cut()
    try:
        away = ("--address", f"http://{lost.address}:8265")
        done = cluster.run("maskmill", "submit", "ray", "--no-check", *away, *segment)
    finally:
        lost.mend()
    assert done.returncode == 2
    assert "no Ray dashboard answers" in done.stderr
