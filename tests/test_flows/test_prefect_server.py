import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from urllib.request import urlopen

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: TID251 what it is told

from flows import prefect_server as embedded
from flows.errors import IncompleteRunError, RequestError
from flows.prefect_server import _await, _own_home, prefect_server


def servers():
    """Servers that this process has started for the Prefect home of the test."""
    home = os.environ["PREFECT_HOME"]
    children = psutil.Process().children()
    with_name = [c for c in children if any("prefect_server" in part for part in c.cmdline())]
    return [child for child in with_name if child.environ().get("PREFECT_HOME") == home]


def test_a_configured_server_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), prefect_server():
        assert PREFECT_API_URL.value() == "http://127.0.0.1:9/api"
        assert servers() == []


@pytest.mark.parametrize(
    ("environment", "own"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ({"SLURM_JOB_ID": "7", "PREFECT_HOME": "/chosen"}, False),
        ({"SLURM_JOB_ID": "7", "PREFECT_API_DATABASE_CONNECTION_URL": "chosen"}, False),
    ],
)
def test_a_job_of_a_cluster_has_a_database_of_its_own(environment, own):
    with _own_home(environment) as first, _own_home(environment) as second:
        assert (set(first) == {"PREFECT_HOME"}) is own
        assert (first != second) is own
        folders = [Path(home["PREFECT_HOME"]) for home in (first, second) if home]
        assert all(folder.is_dir() for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_a_server_that_is_too_slow(monkeypatch):
    """On a busy machine: it did start, and says nothing."""
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    idle = [sys.executable, "-c", "input()"]
    with TemporaryFile() as said, subprocess.Popen(idle, stdin=subprocess.PIPE) as server:
        with pytest.raises(RuntimeError, match=r"did not answer within 0.3 s; .* same command"):
            embedded._await(server, "http://127.0.0.1:9/api/health", said)
        server.kill()


@pytest.mark.slow
def test_our_own_server_leaves_ctrl_c_to_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with prefect_server():
        (server,) = servers()
        health = f"{PREFECT_API_URL.value()}/health"
        os.kill(server.pid, signal.SIGINT)
        time.sleep(1)
        with urlopen(health) as answer:  # noqa: S310 a loopback address
            assert answer.status == 200
    assert not PREFECT_API_URL.value()
    assert not server.is_running()


@pytest.mark.slow
def test_a_run_whose_server_was_killed_is_incomplete(tmp_path, monkeypatch):
    """What breaks while the server runs is the run's own error; afterwards it is the server's."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(OSError, match="of the run"), prefect_server():
        raise OSError("of the run")

    def killed(error):
        (server,) = servers()
        server.kill()
        server.wait()
        raise error

    with pytest.raises(IncompleteRunError, match="run the same command"), prefect_server():
        killed(OSError("connection refused"))
    with pytest.raises(RequestError, match="my request"), prefect_server():
        killed(RequestError("my request"))


def test_a_server_that_is_killed_or_slow_while_it_starts_is_worth_another_try(monkeypatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    nobody = "http://127.0.0.1:9/api/health"
    with subprocess.Popen(["sleep", "60"]) as server:
        try:
            with pytest.raises(IncompleteRunError, match=r"within 0\.3 s.*same command again"):
                _await(server, nobody, None)
        finally:
            server.kill()
        server.wait()
        with pytest.raises(IncompleteRunError, match=r"killed by signal 9.*same command again"):
            _await(server, nobody, None)


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "nonsense://nowhere")
    with pytest.raises(RuntimeError, match=r"did not start: .*nonsense"), prefect_server():
        pass
    assert servers() == []
