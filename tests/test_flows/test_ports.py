"""What a default run listens on, who may talk to it, and whom it talks to: Ray and Prefect."""

from __future__ import annotations

import ipaddress
import os
import socket
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
from tests.test_flows.images import COMMAND, make_image
from tests.test_flows.works import DEADLINE_SECONDS, wait_for

# What says that nobody outside is told of a run; see the documents of Prefect and Ray.
SILENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

pytestmark = pytest.mark.timeout(1200)

NAME_PORT = 53


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


def name_servers():
    """The machine's own, as it is configured."""
    lines = map(str.split, Path("/etc/resolv.conf").read_text().splitlines())
    return {words[1] for words in lines if words[:1] == ["nameserver"]}


class Run:
    """A default segmentation in a session of its own, and what its processes listen on."""

    def __init__(self, image, home):
        self.log = home / "run.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "segment", image, "--model", "identity", "--name", "cells"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"PREFECT_HOME": str(home / "prefect")},
            )
        self.listeners, self.talks, self.environments = {}, {}, {}
        # Libraries look this machine's own name up, now and then, where its files do not have it.
        self.lookups = {}

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
            elif one.raddr and (one.type, one.raddr.port) == (socket.SOCK_DGRAM, NAME_PORT):
                self.lookups.setdefault(one.raddr.ip, set()).add(name)
            elif one.raddr:
                self.talks.setdefault(one.raddr.ip, set()).add(name)

    def prefect(self):
        """Port of the Prefect server, once it listens."""
        ports = {port for found in self.listeners.values() for name, port in found
                 if "prefect_server" in name}  # fmt: skip
        return next(iter(ports), None)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A default run, watched from its start to its end; answers of its Prefect server."""
    folder = tmp_path_factory.mktemp("ports")
    voxels = np.random.default_rng(1).integers(0, 9, (4, 300, 300), np.uint8)
    run = Run(make_image(folder, voxels, voxel_size=(1, 1, 1)), folder)
    answers = {}
    try:
        deadline = time.monotonic() + 3 * DEADLINE_SECONDS
        while run.process.poll() is None and time.monotonic() < deadline:
            run.look()
            port = run.prefect()
            if port is not None and not answers:
                answers.update(ask(port))
            time.sleep(0.2)
    finally:
        run.process.kill()
        run.process.wait()
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
    assert run.process.returncode == 0, run.log.read_text()
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
    assert run.lookups.keys() <= name_servers(), run.lookups


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
