"""What a command starts before its flow: it is there in time, and gone when nothing comes of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import psutil
import pytest

from flows import early, small_volumes, verbs
from flows.background import in_background
from flows.early import early_executor, startup_seconds, take_executor
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prefect_profile import may_be_configured
from flows.small_volumes import scheduler_for
from tests.test_flows.images import COMMAND, make_image

JOB = SegmentJob(image="a.zarr", model="identity", name="cells", executor="serial")
SERVER = "flows.prefect_server"


@dataclass
class Workers:
    """An executor that notes what it is asked for."""

    asked: list[str] = field(default_factory=list)

    def dask_scheduler(self):
        self.asked.append("scheduler")
        return "workers"

    def close(self):
        self.asked.append("close")


# --- the executor


def test_a_flow_takes_the_executor_of_its_own_job_alone(monkeypatch):
    workers = Workers()
    monkeypatch.setattr(early, "make_executor", lambda job: workers if job == JOB else job)
    other = JOB.model_copy(update={"name": "others"})
    with early_executor(JOB, time.monotonic() - 5) as executor:
        assert executor is workers
        assert take_executor(JOB.model_copy()) is workers
        assert take_executor(other) is other
        assert 5 <= startup_seconds(JOB)["start"] < 60
        assert startup_seconds(other) == {}
        assert workers.asked == []
    assert workers.asked == ["close"]
    assert startup_seconds(JOB) == {}


def test_an_executor_is_closed_when_the_start_fails(monkeypatch):
    workers = Workers()
    monkeypatch.setattr(early, "make_executor", lambda _job: workers)
    with pytest.raises(KeyboardInterrupt), early_executor(JOB, 0.0):
        raise KeyboardInterrupt
    assert workers.asked == ["close"]


def test_small_volumes_need_no_workers(monkeypatch):
    monkeypatch.setattr(small_volumes, "SMALL_VOXELS", 1000)
    workers = Workers()
    assert scheduler_for(workers, (10, 10, 10)) == SerialExecutor().dask_scheduler()
    assert workers.asked == []
    assert scheduler_for(workers, (10, 10, 11)) == "workers"


def test_the_background_gives_results_and_errors():
    begin = threading.Event()
    late = in_background(begin.wait, "test")
    assert not late.done()
    begin.set()
    assert late.result(timeout=60) is True
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "test").result(timeout=60)


def test_keras_comes_without_what_it_is_never_given():
    """Pandas is there, but Keras and TensorFlow do not load it; afterwards anybody can."""
    code = """
import sys
from flows.executors import SerialExecutor
from segmentation.networks.runtime import COMPANIONS, import_keras
SerialExecutor().warm(network=True)
keras = import_keras()
assert keras.layers.Dense(2)(keras.ops.zeros((1, 3))).shape == (1, 2)
assert not COMPANIONS & set(sys.modules), COMPANIONS & set(sys.modules)
import pandas
"""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240, env=environment)


def modules_after(code, *, before):
    """Names of the modules that some code imports, in a process of its own."""
    told = f"""
import json, sys
import flows.cli, flows.early, flows.run, flows.segment_command
{before}
there = set(sys.modules)
{code}
print("\\n" + json.dumps(sorted(set(sys.modules) - there)))
"""
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=240
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_what_ray_imports_beside_prefect_is_there_before():
    """Two threads that import modules which import each other may meet half of one."""
    ray = """
from flows.ray_executor import RayExecutor
executor = RayExecutor(workers=1, cpus_per_worker=1.0)
import flows.ray_executor as home
begin, home.in_background = home.in_background, lambda *given: given
executor.warm(False)
"""
    start = "executor._ahead = begin(*executor._ahead); executor.start(); executor.close()"
    ahead = modules_after(start, before=ray)
    assert {name for name in ahead if name.startswith("ray.")}
    settings = "from flows.ray_settings import LOCAL, apply_settings; apply_settings(LOCAL)"
    flow = modules_after(
        "import flows.segment, flows.prefect_reach", before=f"{settings}; import ray"
    )
    assert "prefect" in flow
    alone = {name for name in ahead & flow if name.partition(".")[0] in sys.stdlib_module_names}
    assert ahead & flow == alone


def test_the_summary_lists_every_stage():
    result = {"seconds": {"start": 3.14, "plan": 0.5}, "executor": "serial"}
    said = "seconds: start 3.1, plan 0.5; 3.6 in all (serial executor)"
    assert verbs._stages(result) == said


# --- the server


@pytest.mark.parametrize(
    ("environment", "files", "expected"),
    [
        ({}, {}, False),
        ({"PREFECT_API_URL": "http://h:4200/api"}, {}, True),
        ({"PREFECT_PROFILE": "local"}, {}, True),
        ({}, {"prefect.toml": ""}, True),
        ({}, {".env": "A=1"}, True),
        ({}, {"pyproject.toml": "[tool.ruff]\nline-length = 1"}, False),
        ({}, {"pyproject.toml": '[tool.prefect.api]\nurl = "http://h"'}, True),
        ({}, {"pyproject.toml": "[tool"}, True),
        ({}, {"home/profiles.toml": 'active = "a"\n[profiles.a]\n'}, False),
        ({}, {"home/profiles.toml": 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "u"'}, True),
        ({}, {"home/profiles.toml": 'active = "a"\n[profiles.b]\nPREFECT_API_URL = "u"'}, False),
        ({}, {"home/profiles.toml": "active = ["}, True),
    ],
)
def test_a_server_that_may_be_configured(tmp_path, monkeypatch, environment, files, expected):
    """What cannot be told without Prefect counts as configured."""
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    (tmp_path / "home").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environment = {"PREFECT_HOME": str(tmp_path / "home")} | environment
    assert may_be_configured(environment, tmp_path) is expected


def test_prefect_itself_is_asked_where_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect", None)
    assert may_be_configured({"PREFECT_HOME": str(tmp_path)}, tmp_path)


def left_of(home):
    """Processes that belong to commands with a Prefect home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]


def started(folder, *arguments):
    """A command of its own session with its own Prefect home."""
    return subprocess.Popen(
        [COMMAND, "segment", *arguments, "--model", "identity", "--name", "cells"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env=os.environ | {"PREFECT_HOME": str(folder / "home")},
    )


def await_server(process):
    """Wait until the command has started its server."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if SERVER in child.cmdline():
                return
        time.sleep(0.01)
    raise AssertionError("no server was started")


def test_a_bad_request_leaves_nothing_running(tmp_path):
    process = started(tmp_path, tmp_path / "none.zarr")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 2
    assert "none.zarr" in said
    assert said.count("\n") == 1
    assert left_of(tmp_path / "home") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_while_it_starts(tmp_path, number):
    """Nothing is left of it, and nothing was made."""
    image = make_image(tmp_path, np.zeros((2, 40, 40), np.uint8))
    process = started(tmp_path, image, "--executor", "ray")
    await_server(process)
    process.send_signal(number)
    _, said = process.communicate(timeout=240)
    if number == signal.SIGINT:
        assert process.returncode == 3, said
        assert said.startswith("maskmill: interrupted")
        assert said.count("\n") == 1
    deadline = time.monotonic() + 120
    while left_of(tmp_path / "home") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_of(tmp_path / "home") == []
    assert not (tmp_path / "stack.zarr.runs").exists()
