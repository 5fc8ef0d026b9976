"""A Prefect server for the time of one command, where none is configured.

Prefect would start one by itself. Ours leaves Ctrl-C to the run, which stops at a shard border
and still has to tell the server; it is gone soon after the run is, even if that was killed; and
it may take its time to start on a busy machine. It listens on this machine alone, asks for a
password that is made for it, and tells nobody outside that it runs. In a job of a cluster it
keeps its database in a folder of its own: home folders are shared there, and a shared file system
locks a database for many jobs, or for none.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from logging import getLogger
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from flows.errors import IncompleteRunError, VerificationError
from flows.prefect_profile import may_be_configured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_SECONDS = 180.0
STOP_SECONDS = 10.0
PARENT_SECONDS = 1.0
# Prefect's own five last a minute, twice: too long to wait for a server that will not come back.
RETRIES = 2
APPLICATION = "prefect.server.api.server:create_app"
EMBEDDED = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
AUTH = "PREFECT_SERVER_API_AUTH_STRING"
# One of these is set in a job of Slurm, PBS, LSF or Kubernetes.
CLUSTER_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "KUBERNETES_SERVICE_HOST")
DATABASE = (
    "PREFECT_HOME",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
)

logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """A server of our own that has been started, and may not answer yet.

    Attributes
    ----------
    process : subprocess.Popen
        The server.
    url : str
        Of its API.
    password : str
        User and password that it asks for.
    said : file
        What it writes.
    """

    process: subprocess.Popen[bytes]
    url: str
    password: str
    said: Any


@contextmanager
def early_server() -> Iterator[Server | None]:
    """Start a server of our own where surely none is configured; Prefect need not be imported.

    It starts while the caller goes on; `prefect_server` waits for it. None where one may be
    configured.
    """
    if may_be_configured(os.environ):
        yield None
        return
    with _server() as server:
        yield server


@contextmanager
def _server() -> Iterator[Server]:
    """A server of our own until the context ends."""
    port = _free_port()
    # Others on this machine, and pages in its browsers, reach a loopback port as well.
    password = f"maskmill:{secrets.token_urlsafe(32)}"
    with TemporaryFile() as said, _own_home(os.environ) as home:
        process = subprocess.Popen(  # noqa: S603 our own interpreter and module
            [sys.executable, "-m", "flows.prefect_server", str(port), str(os.getpid())],
            env=os.environ | EMBEDDED | home | {AUTH: password},
            stdout=said,
            stderr=said,
        )
        try:
            yield Server(process, f"http://127.0.0.1:{port}/api", password, said)
        finally:
            _stop(process)


@contextmanager
def prefect_server(early: Server | None = None) -> Iterator[None]:
    """Have a Prefect server: the configured one, else our own until the context ends.

    Parameters
    ----------
    early : Server, optional
        What `early_server` has started, whose context goes on.

    Raises
    ------
    RuntimeError
        If ours does not start; the message ends with what it said last.
    IncompleteRunError
        If ours is killed, or takes too long to start.
    """
    from prefect.settings import (  # noqa: TID251 no flow here
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    if PREFECT_API_URL.value():
        yield
        return
    with nullcontext(early) if early else _server() as server:
        _await(server.process, f"{server.url}/health", server.said)
        logger.info("the server answers", extra={"event": "server-ready"})
        ours = {
            PREFECT_API_URL: server.url,
            PREFECT_API_AUTH_STRING: server.password,
            PREFECT_CLIENT_MAX_RETRIES: RETRIES,
        }
        with temporary_settings(ours), _while_alive(server.process):
            yield


@contextmanager
def _own_home(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Settings that keep our server's database off a shared home folder, in a cluster's job."""
    chosen = any(name in environment for name in DATABASE)
    if chosen or not any(name in environment for name in CLUSTER_JOB):
        yield {}
        return
    with TemporaryDirectory(prefix="maskmill-prefect-", ignore_cleanup_errors=True) as folder:
        yield {"PREFECT_HOME": folder}


@contextmanager
def _while_alive(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Tell what a dead server breaks from an error of the run."""
    try:
        yield
    except (IncompleteRunError, VerificationError, ValueError):
        raise
    except Exception as error:
        if server.poll() is None:
            raise
        raise IncompleteRunError(
            "the embedded Prefect server ended during the run; what is finished is recorded, run "
            "the same command to go on",
            {},
        ) from error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(server: subprocess.Popen[bytes], url: str, said: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=START_SECONDS):  # noqa: S310 a loopback address
                return
        except OSError:
            time.sleep(0.1)
    if server.poll() is None:
        raise IncompleteRunError(
            f"the embedded Prefect server did not answer within {START_SECONDS:g} s; the machine "
            "may be too busy: run the same command again",
            {},
        )
    if server.returncode < 0:
        raise IncompleteRunError(
            f"the embedded Prefect server was killed by signal {-server.returncode} while it "
            "started; run the same command again",
            {},
        )
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines() or ["it said nothing"]
    raise RuntimeError(f"the embedded Prefect server did not start: {lines[-1]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def serve(port: int, parent: int) -> None:
    """Be the server of a process; runs in one of its own."""
    import uvicorn

    # Blocked, not ignored: uvicorn would put its own answer in the place of any other.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    uvicorn.run(APPLICATION, factory=True, host="127.0.0.1", port=port, log_level="error")


def _leave_with(parent: int) -> None:
    """End this process once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
