"""Daemons for the time of a test: free ports, start, wait for an answer, stop."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_SECONDS = 60.0
STOP_SECONDS = 10.0
HOST = "127.0.0.1"


class ServiceAbsentError(RuntimeError):
    """A service is not installed here."""


def need(packages: Sequence[str], binaries: Sequence[str | Path]) -> None:
    """Refuse to go on without the programs of a service.

    Raises
    ------
    ServiceAbsentError
        Says which are missing and what brings them.
    """
    missing = [str(binary) for binary in binaries if shutil.which(binary) is None]
    if missing:
        raise ServiceAbsentError(
            f"{', '.join(missing)} not found; `make test-services` installs {' '.join(packages)}"
        )


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in sockets]


@contextmanager
def daemon(
    arguments: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the foreground, without a terminal, until the context ends.

    It dies with this process too, even if that is killed: no test leaves a daemon behind.
    """
    with log.open("ab") as said:
        process = subprocess.Popen(
            [*_with_parent(), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def _with_parent() -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL"] if sys.platform == "linux" else []


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a daemon, a paused one too."""
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_port(
    port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = START_SECONDS
) -> None:
    """Wait until a daemon takes connections.

    Raises
    ------
    RuntimeError
        If it ends or does not listen in time; with what it said last.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as client:
            client.settimeout(1.0)
            if client.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}; {log} ends with {tail(log)!r}")


def tail(log: Path, length: int = 600) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-length:] if log.is_file() else ""


@contextmanager
def paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a daemon in its tracks; it goes on when the context ends."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
