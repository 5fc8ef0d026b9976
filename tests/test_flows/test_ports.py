"""What a default run listens on, who may talk to it, and whom it talks to: Ray and Prefect."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest

from flows import cli, prefect_server, ray_settings
from flows.errors import EXIT_INCOMPLETE
from tests.test_flows.images import COMMAND, make_image
from tests.test_flows.works import DEADLINE_SECONDS, wait_for

# What says that nobody outside is told of a run; see the documents of Prefect and Ray.
SILENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

# Every Python process of a run imports this by itself, and writes down whom it asks for and by
# whose wish; a look now and then would miss what takes a millisecond.
WITNESS = """
import json, os, sys

def tell(asked, files=()):
    line = json.dumps({"asked": asked, "by": " ".join(sys.orig_argv), "in": files}) + chr(10)
    with open(os.environ["WITNESS"], "a", encoding="utf-8") as log:
        log.write(line)

def note(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        asked = arguments[1][0]
    else:
        return
    frame, files = sys._getframe(1), []
    while frame is not None and len(files) < 20:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    tell(str(asked), files)

tell("")
sys.addaudithook(note)
"""

pytestmark = pytest.mark.timeout(1200)


def test_nobody_is_told_of_a_run():
    """By any way in: the command, the server that it starts, the cluster that it starts."""
    assert SILENT.items() <= cli.ENVIRONMENT.items()
    ours = {key: SILENT[key] for key in ("PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK")}
    assert ours.items() <= prefect_server.EMBEDDED.items()
    assert ray_settings.QUIET["RAY_USAGE_STATS_ENABLED"] == "0"


def test_debugging_tells_nobody_either(monkeypatch):
    for key in SILENT:
        monkeypatch.delenv(key, raising=False)
    seen = {}
    extra = {"debug": True, "json": True, "config": None}

    def action(_job):
        seen.update(os.environ)
        return {}

    from flows.jobs import InfoJob

    cli.run_verb(InfoJob, action, str, {"target": "a"}, extra)
    assert SILENT.items() <= seen.items()


def test_the_token_of_a_cluster_is_ours_alone(monkeypatch):
    for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.setenv(key, "")
        monkeypatch.delenv(key)
    ray_settings.private_token()
    path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(path.read_text()) >= 32


def is_here(text):
    """Whether an address is this machine's own; also one of IPv4 on a socket of IPv6."""
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def test_addresses_of_this_machine_are_told_from_others():
    assert all(map(is_here, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    others = ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0")  # noqa: S104 none is bound
    assert not any(map(is_here, others))


def stays_here(asked):
    """Whether what was connected to, or looked up, is an address of this machine's own."""
    try:
        return is_here(asked)
    except ValueError:
        return asked in ("", "None", "localhost")


class Run:
    """A segmentation on Ray in a session of its own, and what its processes listen on."""

    def __init__(self, image, home):
        self.log, self.witness = home / "run.log", home / "asked.jsonl"
        (home / "hook").mkdir(parents=True)
        (home / "hook" / "sitecustomize.py").write_text(WITNESS)
        paths = [str(home / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log.open("wb") as log:
            request = ["--model", "identity", "--name", "cells", "--executor", "ray"]
            self.process = subprocess.Popen(
                [COMMAND, "segment", image, *request],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ
                | {
                    "PREFECT_HOME": str(home / "prefect"),
                    "PYTHONPATH": os.pathsep.join(paths),
                    "WITNESS": str(self.witness),
                },
            )
        self.code = None
        self.listeners, self.talks, self.environments = {}, {}, {}

    def look(self):
        """Note what the processes listen on, and whom they are connected to, at this moment."""
        try:
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                self._look_at(process)
        except psutil.NoSuchProcess:
            return

    def _look_at(self, process):
        try:
            name, found = " ".join(process.cmdline()), process.net_connections("inet")
            self.environments.setdefault(name, process.environ())
        except psutil.Error:
            return
        for one in found:
            if one.status == psutil.CONN_LISTEN:
                self.listeners.setdefault(one.laddr.ip, set()).add((name, one.laddr.port))
            elif one.raddr:
                self.talks.setdefault(one.raddr.ip, set()).add(name)

    def asked(self):
        """What its Python processes connected to or looked up, and who did; "" as each begins."""
        return [json.loads(line) for line in self.witness.read_text().splitlines()]

    def prefect(self):
        """Port of the Prefect server, once it listens."""
        ports = {port for found in self.listeners.values() for name, port in found
                 if "prefect_server" in name}  # fmt: skip
        return next(iter(ports), None)


def watch(run):
    """Look at a run to its end; what its Prefect server tells a stranger."""
    answers = {}
    try:
        deadline = time.monotonic() + 3 * DEADLINE_SECONDS
        while run.process.poll() is None and time.monotonic() < deadline:
            run.look()
            port = run.prefect()
            if port is not None and not answers:
                answers.update(ask(port))
            time.sleep(0.2)
        run.code = run.process.poll()
    finally:
        run.process.kill()
        run.process.wait()
    return answers


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A default run, watched from its start to its end; answers of its Prefect server.

    Ray gives itself half a minute to start, which may be too little on a busy machine. The command
    then says that it may be run again; it is, once.
    """
    folder = tmp_path_factory.mktemp("ports")
    voxels = np.random.default_rng(1).integers(0, 9, (4, 300, 300), np.uint8)
    image = make_image(folder, voxels, voxel_size=(1, 1, 1))
    for home in ("first", "second"):
        run = Run(image, folder / home)
        answers = watch(run)
        said = run.log.read_text()
        if run.code != EXIT_INCOMPLETE or "Ray could not be started" not in said:
            break
    assert run.code is not None, f"it had not ended in time; it said {said!r}"
    assert run.code == 0, f"exit code {run.code}; it said {said!r}"
    return run, answers


def ask(port):
    """What a stranger on this machine is told by the server."""
    url = f"http://127.0.0.1:{port}/api"
    assert wait_for(lambda: status(f"{url}/health") == 200)
    return {path: status(f"{url}/{path}") for path in ("admin/settings", "admin/version")} | {
        "filter": status(f"{url}/flow_runs/filter", b"{}")
    }


def status(url, data=None):
    request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 a loopback address
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 a loopback address
            return answer.status
    except HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.mark.slow
def test_a_default_run_listens_on_this_machine_alone(watched):
    run, _ = watched
    names = {name for found in run.listeners.values() for name, _ in found}
    # All of those that would listen elsewhere if they were let: the watch has seen them.
    for part in ("prefect_server", "gcs_server", "raylet"):
        assert any(part in name for name in names), names
    assert all(map(is_here, run.listeners)), sorted(run.listeners)


@pytest.mark.slow
def test_a_default_run_talks_to_this_machine_alone(watched):
    run, _ = watched
    assert run.talks
    assert all(map(is_here, run.talks)), run.talks
    found = run.asked()
    # The driver, the Prefect server, Ray's helpers and its workers: the witness was in all.
    for part in ("segment", "prefect_server", "agent", "default_worker"):
        assert any(part in one["by"] for one in found), part
    elsewhere = [one for one in found if not stays_here(one["asked"])]
    assert elsewhere == []


@pytest.mark.slow
def test_strangers_on_this_machine_are_told_nothing(watched):
    _, answers = watched
    assert set(answers.values()) == {401}, answers


@pytest.mark.slow
def test_every_process_of_a_run_is_told_to_be_silent(watched):
    run, _ = watched
    # Workers of Ray give themselves a name in the place where their environment was to be read.
    for part in ("prefect_server", "gcs_server", "raylet --"):
        found = [e for name, e in run.environments.items() if part in name]
        assert found, part
        assert all(SILENT.items() <= environment.items() for environment in found), part
