"""The sbatch file: what it says to Slurm, and what its shell does with signals."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from flows.errors import RequestError
from flows.jobs import SegmentJob, make_job
from flows.ray_settings import KEEPALIVE
from flows.submit import submit
from flows.submit_job import SubmitJob
from flows.submit_slurm import read_images, submit_script
from flows.submit_template import fill
from storage.manifest import RunManifest
from tests.test_flows.runs import make_image, small_cells, start

SEGMENT = ("segment", "/data/a.zarr", "--model", "identity", "--name", "cells")
EACH = ("segment", "{}", "--model", "identity", "--name", "cells")
GIBIBYTE = 2**30


def script(*arguments, **options):
    """The sbatch file of a command."""
    fields = {"target": "slurm", "arguments": arguments or SEGMENT, "dry_run": True}
    return submit(make_job(SubmitJob, fields | {"check": False} | options))["document"]


def directives(text):
    """What a file says to Slurm."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line]
    return dict(line.partition("=")[::2] for line in lines)


def check_shell(text):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_directives():
    options = {"nodes": 3, "cpus_per_node": 6, "memory_per_node": "20G", "time": "1-02:03:04"}
    assert directives(script(**options, partition="gpu", account="lab", gpus_per_node=2)) == {
        "job-name": "maskmill-segment",
        "nodes": "3",
        "ntasks-per-node": "1",
        "cpus-per-task": "6",
        "mem": "20480M",
        "gpus-per-node": "2",
        "time": "26:03:04",
        "signal": "B:USR1@120",
        "partition": "gpu",
        "account": "lab",
        "output": "maskmill-%j.out",
        "open-mode": "append",
        "requeue": "",
    }


def test_workers_share_what_the_machines_have():
    # 3 machines of 6 CPUs: 9 workers of two; (20 - 2) GiB among the 3 of a machine.
    text = script(nodes=3, cpus_per_node=6, memory_per_node="20GiB")
    assert "--workers=9 " in text
    assert f"--memory={6 * GIBIBYTE} " in text
    assert "gpus-per-worker" not in text
    text = script(nodes=3, cpus_per_node=6, memory_per_node="20GiB", gpus_per_node=2)
    assert "--workers=6 --gpus-per-worker=1.0 " in text
    assert f"--memory={9 * GIBIBYTE} " in text
    # A small machine keeps half of its memory for the workers.
    assert f"--memory={GIBIBYTE // 2} " in script(cpus_per_node=1, memory_per_node="1GiB")
    assert "--workers=2 " in script(*SEGMENT, "--workers", "2", nodes=3)


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_shell_understands_the_file(nodes, tmp_path):
    setup = tmp_path / "setup.sh"
    setup.write_text("module load cuda\nlauncher=(apptainer exec --nv 'my image.sif')\n")
    text = script(nodes=nodes, setup=str(setup))
    check_shell(text)
    assert "@@" not in text
    assert "\nmodule load cuda\nlauncher=(apptainer exec --nv 'my image.sif')\n" in text


def test_on_several_machines_ray_has_its_settings_and_no_token_in_sight():
    text = script(nodes=2)
    for name, value in KEEPALIVE.items():
        assert f"\nexport {name}={value}\n" in text
    assert "RAY_AUTH_TOKEN=" not in text
    assert "unset RAY_AUTH_TOKEN RAY_ADDRESS" in text
    assert "srun" not in script(nodes=1)


def test_a_place_with_a_quote_is_one_word(tmp_path):
    place = "/data/it's $HOME/`x`.zarr"
    text = script("segment", place, "--model", "identity", "--name", "cells")
    (line,) = (line for line in text.splitlines() if line.startswith("command=("))
    said = subprocess.run(
        ["bash", "-c", f'{line}; printf "%s\\n" "${{command[@]: -1}}"'],
        *(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"{place}\n"


def test_an_array_has_one_image_for_each_task(tmp_path):
    images = tmp_path / "images.txt"
    images.write_text("/d/one.zarr\n\n# left out\n  /d/it's two.zarr  \ns3://b/three.zarr\n")
    text = script(*EACH, array=str(images), at_once=2)
    check_shell(text)
    assert directives(text)["array"] == "0-2%2"
    assert directives(text)["output"] == "maskmill-%A_%a.out"
    begin = text[text.index("images=(") : text.index("say()")]
    shown = [
        subprocess.run(
            ["bash", "-c", f'{begin} printf "%s" "${{command[@]: -1}}"'],
            capture_output=True,
            text=True,
            check=True,
            env={"SLURM_ARRAY_TASK_ID": str(task)},
        ).stdout
        for task in range(3)
    ]
    assert shown == ["/d/one.zarr", "/d/it's two.zarr", "s3://b/three.zarr"]


def test_every_image_of_an_array_is_looked_at(tmp_path):
    images = tmp_path / "images.txt"
    images.write_text("/no/such/image.zarr\n")
    with pytest.raises(RequestError, match=r"/no/such/image\.zarr is not there"):
        script(*EACH, array=str(images), check=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [("", "names no image"), ("# a\n\n", "names no image"), ("a\nb\na\n", "names a more than")],
)
def test_lists_that_are_none(content, match, tmp_path):
    (tmp_path / "list").write_text(content)
    with pytest.raises(RequestError, match=match):
        read_images(str(tmp_path / "list"))


def test_arrays_that_do_not_fit():
    with pytest.raises(RequestError, match="cannot be read"):
        script(*EACH, array="/no/list")
    with pytest.raises(RequestError, match=r"write \{\} for the image"):
        script(array="/no/list")
    with pytest.raises(RequestError, match="would run the same segment 3 times"):
        script(array="3")
    with pytest.raises(RequestError, match="give --array FILE"):
        script(*EACH)


def test_a_walltime_has_to_hold_more_than_start_and_stop():
    with pytest.raises(RequestError, match=r"--time 00:04:59 is too short.*ask for 00:05:00"):
        script(time="00:04:59")
    assert directives(script(time="00:05:00"))["signal"] == "B:USR1@120"
    assert directives(script(time="1h", stop_before="10m"))["signal"] == "B:USR1@600"
    with pytest.raises(RequestError, match="told to stop 3600 s before the end"):
        script(time="1h", stop_before="1h")


def test_a_walltime_shorter_than_a_shard_that_is_known(tmp_path, monkeypatch):
    with small_cells():
        image = make_image(tmp_path, np.ones((20, 20, 20), np.uint8), "zyx")
        arguments = ("segment", image, "--model", "identity", "--name", "cells")
        budget = {"check": True, "memory_per_node": "32GiB"}
        job = SegmentJob(image=image, model="identity", name="cells", memory=8 * GIBIBYTE)
        start(job)
        # The records as they would be of slow shards.
        record = {"seconds": {"read": 100.0, "compute": 1000.0, "write": 100.0, "device": 900.0}}
        monkeypatch.setattr(RunManifest, "records", lambda *_: iter([record, {"seconds": {}}]))
        # 1200 s for the shard, 1260 s before the end for another, 180 s to start: 2640 s.
        with pytest.raises(RequestError, match=r"has taken 1200 s.*ask for 00:44:00"):
            script(*arguments, **budget, time="43m")
        assert directives(script(*arguments, **budget, time="44m"))["signal"] == "B:USR1@1260"


def test_a_setup_that_is_not_there():
    with pytest.raises(RequestError, match=r"--setup /no/setup\.sh cannot be read"):
        script(setup="/no/setup.sh")


def test_a_template_is_filled_once():
    assert fill("a @@x@@ $y @@z@@", {"x": "@@z@@", "z": 1}) == "a @@z@@ $y 1"
    with pytest.raises(KeyError):
        fill("@@x@@", {})


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that are found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_sbatch_gets_the_file_and_gives_the_number(programs, tmp_path):
    program(programs, "sbatch", f'cat >{tmp_path}/got; echo "$@" >{tmp_path}/how; echo "12;main"')
    assert submit_script("#!/bin/bash\necho\n") == "12"
    assert (tmp_path / "got").read_text() == "#!/bin/bash\necho\n"
    assert (tmp_path / "how").read_text() == "--parsable\n"


def test_a_refusal_of_slurm_is_one_message(programs):
    program(programs, "sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    with pytest.raises(RequestError, match="refused the job: sbatch: error: invalid partition"):
        submit_script("")


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="sbatch is not found here"):
        submit_script("")


class Job:
    """The file of one machine, run by the shell as Slurm would, with a command that is given."""

    def __init__(self, folder, command, *, grace=90, attempt=0):
        self.folder = folder
        (folder / "maskmill").write_text(f"#!/bin/bash\n{command}\n")
        (folder / "maskmill").chmod(0o755)
        # Slurm's own commands leave a note; a pause is a hundred times shorter.
        program(folder, "scontrol", f'echo "$@" >>{folder}/asked')
        program(folder, "sleep", f'exec {shutil.which("sleep")} "0.${{1: -2}}"')
        text = script(restarts=2).replace("sleep 90 ", f"sleep {grace} ")
        env = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n1",
            "SLURM_RESTART_COUNT": str(attempt),
        }
        lines = [line for line in text.splitlines() if not line.startswith("export PATH=")]
        self.process = subprocess.Popen(
            ["bash", "-c", "\n".join(lines)],
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )

    def signalled(self, number):
        deadline = time.monotonic() + 60
        while not (self.folder / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.process.send_signal(number)
        return self

    @property
    def end(self):
        """Exit code, what was said, and what Slurm was asked for."""
        said = self.process.communicate(timeout=60)[1]
        asked = self.folder / "asked"
        # Nothing of the job's session is left.
        assert not leftovers(self.process.pid)
        return self.process.returncode, said, asked.read_text() if asked.exists() else ""


def leftovers(session):
    """Processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its) == session and state != "Z":
            found.append(stat.parent.name)
    return found


STOPS = (
    "trap 'echo stopped >&2; exit 3' TERM; touch {0}/begun; while :; do read -t 0.1 <> <(:); done"
)
DEAF = "trap '' TERM; touch {0}/begun; for i in $(seq 600); do read -t 0.1 <> <(:); done"


@pytest.mark.parametrize("code", [0, 2, 3, 4])
def test_the_job_ends_like_its_command(code, tmp_path):
    ended, said, asked = Job(tmp_path, f"exit {code}").end
    assert (ended, asked) == (code, "")
    assert f"the command ended with exit code {code}" in said
    assert "job 7, attempt 1, on n1" in said


def test_before_the_walltime_the_command_stops_and_the_job_is_queued_again(tmp_path):
    code, said, asked = (
        Job(tmp_path, STOPS.format(tmp_path), attempt=1).signalled(signal.SIGUSR1).end
    )
    assert (code, asked) == (3, "requeue 7\n")
    assert "attempt 2" in said
    assert "stopping at a shard border" in said
    assert "stopped\n" in said


def test_a_job_is_not_queued_for_ever(tmp_path):
    code, said, asked = (
        Job(tmp_path, STOPS.format(tmp_path), attempt=2).signalled(signal.SIGUSR1).end
    )
    assert (code, asked) == (3, "")
    assert "attempt 3 of 3; submit the same command again" in said


def test_a_shard_longer_than_the_grace_ends_the_job_with_advice(tmp_path):
    job = Job(tmp_path, DEAF.format(tmp_path), grace=20)
    code, said, asked = job.signalled(signal.SIGUSR1).end
    assert (code, asked) == (3, "")
    assert "ask for a longer --time and a longer --stop-before" in said


def test_a_cancelled_job_stops_its_command_and_is_not_queued_again(tmp_path):
    code, said, asked = Job(tmp_path, STOPS.format(tmp_path)).signalled(signal.SIGTERM).end
    assert (code, asked) == (3, "")
    assert "told to end" in said
    assert "stopped\n" in said
