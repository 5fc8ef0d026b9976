"""A Prefect server as `deploy/` runs it: a database of its own, a password, workers, the CLI."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

from tests.services.daemons import HOST, await_port, daemon, free_ports, tail
from tests.test_flows.images import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
POOL = "maskmill"
PREFECT = Path(sys.executable).with_name("prefect")
START_SECONDS = 300.0
COMMAND_SECONDS = 300.0
RUN_SECONDS = 900.0  # for a small run, on a machine that is busy with others
ENDED = frozenset({"Completed", "Failed", "Crashed", "Cancelled"})
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A running server and how to reach it.

    Attributes
    ----------
    url : str
        Of the pages; the API is below ``/api``.
    auth : str
        ``user:password``.
    home : Path
        Folder of the clients' settings and of logs.
    """

    url: str
    auth: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which clients, workers and flow runs find the server."""
        return {
            **QUIET,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_API_AUTH_STRING": self.auth,
        }

    def prefect(self, *arguments: Any, **env: str) -> Answer:
        """Run Prefect's command to its end."""
        done = subprocess.run(
            [PREFECT, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            env={**os.environ, **self.environment, **env},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def deploy(self) -> None:
        """Make the work pool, all shipped deployments, without schedules, and the automations."""
        variables = {f"MASKMILL_{name}": "later" for name in ("IMAGES", "MODEL", "NAME")}
        file = DEPLOY / "prefect.yaml"
        for arguments in (
            ("work-pool", "create", POOL, "--type", "process"),
            ("work-queue", "create", "gpu", "--pool", POOL, "--limit", "1"),
            ("deploy", "--prefect-file", file, "--all"),
            ("automation", "create", "--from-file", DEPLOY / "automations.yaml"),
        ):
            answer = self.prefect(*arguments, **variables)
            assert answer.code == 0, answer
        self.schedule("reconcile/reconcile", {})

    def call(
        self, path: str, body: Any = None, *, auth: str | None = None, method: str | None = None
    ) -> Any:
        """Answer of the API: POST where there is a body, else GET, if nothing else is said.

        Raises
        ------
        HTTPError
            With the server's status.
        """
        secret = base64.b64encode((self.auth if auth is None else auth).encode()).decode()
        request = Request(  # noqa: S310 a loopback address
            f"{self.url}/api/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Basic {secret}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310 the same
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            error.add_note(error.read().decode(errors="replace")[-600:])
            raise

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment as the server knows it; `name` is ``flow/deployment``."""
        found: dict[str, Any] = self.call(f"deployments/name/{name}")
        return found

    def start(self, name: str, job: dict[str, Any]) -> str:
        """Ask for a run of a deployment; its id."""
        body = {"parameters": {"job": job}, "state": {"type": "SCHEDULED"}}
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return str(self.call(path, body)["id"])

    def schedule(self, name: str, job: dict[str, Any], seconds: float | None = None) -> None:
        """Have a deployment run again and again with a job, or no more."""
        known = self.deployment(name)
        place = f"deployments/{known['id']}"
        for old in known["schedules"]:
            self.call(f"{place}/schedules/{old['id']}", method="DELETE")
        if job:
            self.call(place, {"parameters": {"job": job}}, method="PATCH")
        if seconds is not None:
            often = {"schedule": {"interval": seconds}, "active": True}
            self.call(f"{place}/schedules", [often])

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Runs of a deployment that have started, oldest first."""
        body = {
            "deployments": {"id": {"any_": [self.deployment(deployment)["id"]]}},
            "flow_runs": {"start_time": {"is_null_": False}},
            "sort": "START_TIME_ASC",
        }
        found: list[dict[str, Any]] = self.call("flow_runs/filter", body)
        return found

    def settle(self, seconds: float = RUN_SECONDS) -> None:
        """Wait until no run is on its way: a worker may have taken one a moment ago.

        Stopped now it would leave that run, and its turn in the queue, to nobody.
        """
        on_their_way = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
        await_event(lambda: not self.call("flow_runs/filter", on_their_way), seconds)

    def state(self, run: str) -> str:
        """Name of the state of a flow run, such as ``Running``."""
        return str(self.call(f"flow_runs/{run}")["state"]["name"])

    def ended(self, run: str, seconds: float = RUN_SECONDS) -> str:
        """Wait for the end of a flow run; the name of its last state."""
        await_event(lambda: self.state(run) in ENDED, seconds)
        return self.state(run)

    def cancel(self, run: str) -> None:
        """Ask for the end of a flow run, as the button on its page does."""
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
        self.call(f"flow_runs/{run}/set_state", body)

    def processes(self, run: str) -> list[psutil.Process]:
        """Processes of a flow run on this machine, those of its Ray among them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                    found.append(process)
        return found

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """Artifacts of a flow run by key."""
        body = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        return {artifact["key"]: artifact for artifact in self.call("artifacts/filter", body)}

    @contextmanager
    def worker(self, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process worker that takes work from the pool until the context ends."""
        command = [PREFECT, "worker", "start", "--pool", POOL, "--type", "process"]
        with daemon(command, log, env={**self.environment, **env}) as process:
            await_event(lambda: bool(self._workers()), 120)
            yield process

    def _workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(f"work_pools/{POOL}/workers/filter", {})
        return [worker for worker in found if worker["status"] == "ONLINE"]


@contextmanager
def prefect_site(database: str, home: Path, auth: str) -> Iterator[Site]:
    """Start a server on a database; loopback only, behind a password."""
    (port,) = free_ports(1)
    url = f"http://{HOST}:{port}"
    log = home / "server.txt"
    settings = {
        **QUIET,
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
    }
    command = [PREFECT, "server", "start", "--host", HOST, "--port", port]
    with daemon(command, log, env=settings) as server:
        await_port(port, server, log, START_SECONDS)
        yield Site(url, auth, home)


def await_event(event: Callable[[], bool], seconds: float, log: Path | None = None) -> float:
    """Wait until something is so; the seconds it took.

    Raises
    ------
    AssertionError
        With the end of the log, if it is not so in time.
    """
    started = time.monotonic()
    while not event():
        waited = time.monotonic() - started
        assert waited < seconds, f"not within {seconds} s: {tail(log, 4000) if log else ''}"
        time.sleep(0.5)
    return time.monotonic() - started
