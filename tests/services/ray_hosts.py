"""A Ray cluster over several hosts of this machine, with the settings that `deploy/` ships.

The first host is the head, with its dashboard and job server; every host has one CPU. ::

    with ray_cluster(folder, machines=3) as cluster:
        cluster.run("maskmill", "submit", "ray", "--address", cluster.dashboard, …)
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import ServiceAbsentError
from tests.services.hosts import Host, await_that, hosts, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = Path(__file__).parents[2] / "deploy" / "ray.env"
PROGRAMS = Path(sys.executable).parent
# What Ray's dashboard and job server need, beside what the rest of Ray does.
DASHBOARD = "import ray.dashboard.optional_deps"
START_SECONDS = 300.0
COMMAND_SECONDS = 900
STORE_BYTES = "80000000"
PORT, DASHBOARD_PORT = 6379, 8265


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster.

    Attributes
    ----------
    machines : list of Host
        The head and the workers.
    processes : list
        The first process of each host.
    environment : dict
        Variables of everything that speaks with the cluster.
    """

    machines: list[Host]
    processes: list[subprocess.Popen[bytes]]
    environment: dict[str, str]

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.machines[0].address}:{DASHBOARD_PORT}"

    @property
    def token(self) -> Path:
        """File with the cluster's token."""
        return Path(self.environment["RAY_AUTH_TOKEN_PATH"])

    def start(self, *arguments: object, **env: str) -> subprocess.Popen[str]:
        """Start a command of this installation in the head's network."""
        program, *rest = map(str, arguments)
        return subprocess.Popen(
            self.machines[0].inside(PROGRAMS / program, *rest),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def run(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=COMMAND_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def has_dashboard(self) -> bool:
        """Whether the dashboard takes connections."""
        listening = self.machines[0].inside("ss", "-ltnH", f"sport = {DASHBOARD_PORT}")
        done = subprocess.run(listening, capture_output=True, text=True, check=True)
        return bool(done.stdout.strip())

    def alive(self) -> int:
        """Machines that the cluster counts."""
        script = "import ray; ray.init('auto', log_to_driver=False); "
        script += "print('alive', sum(node['Alive'] for node in ray.nodes()))"
        done = self.run("python", "-c", script, **self.environment)
        return int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def settings() -> dict[str, str]:
    """The variables of ``deploy/ray.env``."""
    lines = [line.strip() for line in SETTINGS.read_text().splitlines()]
    return dict(line.partition("=")[::2] for line in lines if line and not line.startswith("#"))


@contextmanager
def ray_cluster(folder: Path, machines: int) -> Iterator[Cluster]:
    """Start a cluster whose machines all answer.

    Raises
    ------
    ServiceAbsentError
        If hosts cannot be made here, or Ray lacks its dashboard.
    """
    _need_dashboard()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    quiet = {"RAY_DISABLE_IMPORT_WARNING": "1", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    env = {**settings(), **quiet, "RAY_AUTH_TOKEN_PATH": str(token)}
    with hosts(machines) as made, ExitStack() as stack:
        head = f"{made[0].address}:{PORT}"
        running = []
        for host in made:
            place = f"--address={head}" if host.number else f"--port={PORT}"
            role = [place] if host.number else ["--head", place, "--dashboard-host=0.0.0.0"]
            log = folder / f"host{host.number}.log"
            command = _ray(host, folder, role)
            running.append(stack.enter_context(lasting(command, log, {**os.environ, **env})))
            if not host.number:
                await_that(partial(_has_started, log), "head", START_SECONDS, log)
        cluster = Cluster(made, running, {**env, "RAY_ADDRESS": head})
        await_that(cluster.has_dashboard, "dashboard", START_SECONDS, folder / "host0.log")
        await_that(lambda: cluster.alive() == machines, "machines", START_SECONDS)
        yield cluster


def _need_dashboard() -> None:
    done = subprocess.run(
        [PROGRAMS / "python", "-c", DASHBOARD], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        raise ServiceAbsentError(f"Ray's dashboard is not installed ({reason}); use ray[default]")


def _ray(host: Host, folder: Path, role: list[str]) -> list[str]:
    """Ray as the first process of a host; sockets need a short path."""
    temporary = Path("/tmp", f"{host.name}")  # noqa: S108 gone with the cluster
    amounts = ["--num-cpus=1", f"--object-store-memory={STORE_BYTES}"]
    where = [f"--node-ip-address={host.address}", f"--temp-dir={temporary}"]
    return host.first(PROGRAMS / "ray", "start", "--block", *role, *amounts, *where)


def _has_started(log: Path) -> bool:
    return log.is_file() and "Ray runtime started" in log.read_text(errors="replace")
