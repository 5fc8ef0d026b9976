"""What is submitted, checked before it is; nothing here reaches a cluster."""

import json
import shlex

import numpy as np
import pytest

from flows.errors import IncompleteRunError, RequestError
from flows.jobs import SegmentJob, make_job
from flows.submit import submit, submitted_text
from flows.submit_command import parse_command
from flows.submit_job import SubmitJob, parse_walltime
from storage.errors import StorageError
from tests.test_flows.images import make_image
from tests.test_flows.runs import start

SEGMENT = ("segment", "/data/a.zarr", "--model", "identity", "--name", "cells")


def submission(target, *arguments, **options):
    """The result of a dry run."""
    fields = {"target": target, "arguments": arguments or SEGMENT, "dry_run": True, "check": False}
    return submit(make_job(SubmitJob, fields | options))


def ray(*arguments, **options):
    options = {"address": "http://head:8265"} | options
    return json.loads(submission("ray", *arguments, **options)["document"])


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    voxels = np.random.default_rng(1).integers(0, 3, (4, 16, 16), np.uint8)
    return make_image(tmp_path_factory.mktemp("image"), voxels, axes="zyx")


def test_the_command_is_written_out_again_as_it_was_meant(tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text("truth: truth\nchannels: [0, 2]\nname: other\nforce: false\n")
    given = ("--name", "a b", "--config", str(config), "--model=m", "--json")
    command = parse_command(("segment", "a b.zarr", *given))
    assert command.arguments() == [
        *("segment", "--model=m", "--channels=0,2", "--truth=truth", "--name=a b", "--no-force"),
        *("--json", "a b.zarr"),
    ]
    # The same job once more, from the words alone.
    assert parse_command(tuple(command.arguments())).job == command.job
    assert command.job == SegmentJob(
        image="a b.zarr", model="m", name="a b", truth="truth", channels=(0, 2)
    )


def test_what_was_given_counts_more_than_what_is_filled_in():
    command = parse_command((*SEGMENT, "--workers", "3"))
    filled = command.filling(workers=8, memory=2**30, unknown=1)
    assert (filled.job.workers, filled.job.memory) == (3, 2**30)
    assert command.having(executor="ray").fields["executor"] == "ray"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("view", "a.zarr"), "'view' does not run on a cluster; after -- give one of"),
        (("submit", "ray"), "'submit' does not run on a cluster"),
        (("segment", "a.zarr", "--name", "n"), "--model is missing"),
        ((*SEGMENT, "--nodes", "2"), "segment: no such option: --nodes"),
        ((*SEGMENT, "--workers", "none"), "--workers 'none'"),
        ((*SEGMENT, "--executor", "serial"), "--executor serial uses no cluster"),
        ((*SEGMENT, "--address", "h:1"), "leave it out after --"),
        ((*SEGMENT, "--config", "/no/such.yaml"), "config /no/such.yaml cannot be read"),
        (("segment", "--help"), "asked for its help alone"),
    ],
)
def test_a_command_that_would_be_refused_here_is_not_submitted(arguments, match, capsys):
    with pytest.raises(RequestError, match=match):
        parse_command(arguments)


@pytest.mark.parametrize(
    ("target", "options", "match"),
    [
        ("ray", {"nodes": 2}, "--nodes is an option of slurm, not of ray"),
        ("slurm", {"workers": 2}, "--workers is an option of kuberay, not of slurm"),
        ("ray", {"time": "1h"}, "--time is an option of slurm and kuberay, not of ray"),
        ("ray", {}, "--address is missing"),
        ("ray", {"address": "http://h:1", "working_dir": "/no/such"}, "/no/such is no folder"),
        ("lsf", {}, "TARGET 'lsf'"),
        ("slurm", {"partition": "a b"}, "--partition 'a b'"),
        ("slurm", {"partition": "a\n#SBATCH --wrap"}, "--partition"),
        ("slurm", {"time": "60"}, "'60' is no length of time; write 04:00:00"),
        ("slurm", {"nodes": 0}, "--nodes 0"),
        ("kuberay", {"namespace": "Lab"}, "--namespace 'Lab'"),
        ("kuberay", {"claim": "data"}, "--claim 'data'"),
    ],
)
def test_options_that_make_no_sense(target, options, match):
    with pytest.raises(RequestError, match=match):
        submission(target, **options)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("01:30:00", 5400),
        ("2-01:00:05", 176405),
        ("100:00:00", 360000),
        ("90m", 5400),
        ("4h", 14400),
        ("2d", 172800),
        (30, 30),
    ],
)
def test_walltimes(text, seconds):
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["60", "1:30", "4 hours", "-1h", "01:60:00", ""])
def test_no_walltimes(text):
    with pytest.raises(ValueError, match="no length of time"):
        parse_walltime(text)


def test_a_dry_run_of_a_ray_job_is_its_document(tmp_path):
    assert ray() == {
        "address": "http://head:8265",
        "entrypoint": "maskmill segment --executor=ray --address=auto --model=identity "
        "--name=cells /data/a.zarr",
        "runtime_env": {},
        "metadata": {"maskmill": "segment"},
    }
    sent = ray(working_dir=str(tmp_path))
    assert sent["runtime_env"] == {"working_dir": str(tmp_path)}


def test_a_ray_job_is_safe_from_its_shell():
    arguments = ("segment", "/d/$(rm -rf x); a.zarr", "--model", "identity", "--name", "a&b")
    words = shlex.split(ray(*arguments)["entrypoint"])
    assert words[-2:] == ["--name=a&b", "/d/$(rm -rf x); a.zarr"]


def test_no_secret_is_in_what_is_shown(monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("very-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "very-secret")
    shown = [
        submission("ray", address="http://head:8265", token_file=str(token)),
        submission("slurm", nodes=2),
        submission("kuberay"),
    ]
    assert "very-secret" not in json.dumps(shown)


@pytest.mark.parametrize("target", ["ray", "kuberay"])
def test_places_of_this_machine_are_none_of_a_cluster(target, image):
    options = {"check": True} | ({"address": "http://head:8265"} if target == "ray" else {})
    relative = ("segment", "a.zarr", "--model", "identity", "--name", "cells")
    with pytest.raises(RequestError, match=r"a\.zarr is a place on this machine"):
        submission(target, *relative, **options)
    with pytest.raises(RequestError, match="runs is a place on this machine"):
        submission(target, *SEGMENT, "--runs", "runs", **options)
    # What is not seen from here may be there.
    assert submission(target, *SEGMENT, **options)["target"] == target


def test_a_shared_place_has_to_be_there(image):
    with pytest.raises(RequestError, match=r"/data/a\.zarr is not there"):
        submission("slurm", check=True)
    with pytest.raises(RequestError, match="/no/bundle is not there"):
        submission(
            "slurm", "segment", image, "--model", "/no/bundle", "--name", "cells", check=True
        )


@pytest.mark.parametrize("target", ["ray", "slurm", "kuberay"])
def test_what_is_seen_from_here_is_planned_here(target, image, tmp_path):
    options = {"check": True} | ({"address": "http://head:8265"} if target == "ray" else {})
    good = ("segment", image, "--model", "identity", "--name", "cells")
    assert "cells" in submission(target, *good, **options)["document"]
    with pytest.raises(ValueError, match="w"):
        submission(target, *good, "--region", "w=0:1", **options)
    with pytest.raises(StorageError, match="nothing"):
        submission(target, *good, "--truth", "nothing", **options)


def test_a_run_that_is_at_work_is_not_submitted(image):
    from flows.run_lease import hold_run

    run = start(SegmentJob(image=image, model="identity", name="busy"))
    with hold_run(run.url, "another"), pytest.raises(IncompleteRunError, match="at work"):
        submission("slurm", "segment", image, "--model", "identity", "--name", "busy", check=True)


def test_what_a_submission_shows():
    shown = submitted_text({"target": "slurm", "job": "7", "watch": "squeue", "stop": "scancel 7"})
    assert shown == "slurm job 7\nwatch: squeue\nstop: scancel 7\n"


def test_a_missing_token_file(tmp_path, monkeypatch):
    options = {"address": "http://127.0.0.1:9", "dry_run": False}
    with pytest.raises(RequestError, match="token file /no/token cannot be read"):
        submission("ray", **options | {"token_file": "/no/token"})
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(RequestError, match="is empty"):
        submission("ray", token_file=str(tmp_path / "token"), **options)


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("http://127.0.0.1:9", "no Ray dashboard answers at http://127.0.0.1:9"),
        ("http://no.such.host.invalid:8265", "no Ray dashboard answers"),
        ("head:6379", "is no dashboard; expected http://HOST:8265"),
        ("ray://head:10001", "is no dashboard"),
        ("http://", "is no dashboard"),
    ],
)
def test_an_address_where_nobody_is(address, match):
    with pytest.raises(RequestError, match=match):
        submission("ray", address=address, dry_run=False)
