"""Several hosts on one machine: each has a network and processes of its own, and no way out.

A host is a network namespace on a bridge that leads nowhere, and, where programs run that are to
die together, a process namespace: killing its first process is the loss of the host.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import ServiceAbsentError, daemon, need, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGES = ("iproute2", "util-linux")
BINARIES = ("ip", "nsenter", "unshare", "setpriv")
COMMAND_SECONDS = 60
NETWORK = "10.77.0"


@dataclass(frozen=True, slots=True)
class Host:
    """One of the hosts.

    Attributes
    ----------
    name : str
        Of its network namespace.
    number : int
        Among the hosts, from 0 on.
    """

    name: str
    number: int

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"{NETWORK}.{10 + self.number}"

    def inside(self, *arguments: str | Path) -> list[str]:
        """A command that runs a program in the host's network."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, arguments)]

    def first(self, *arguments: str | Path) -> list[str]:
        """A command that runs a program as the host's first process: with it all others end."""
        own = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        return self.inside(*own, *arguments)

    def cut(self) -> None:
        """Take the link down: nothing goes in or out, and nobody is told."""
        _ip("-n", self.name, "link", "set", f"e{self.number}", "down")

    def mend(self) -> None:
        """Bring the link up again."""
        _ip("-n", self.name, "link", "set", f"e{self.number}", "up")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Hosts that see each other and nobody else.

    Raises
    ------
    ServiceAbsentError
        If the tools are missing, or the kernel or the user may not do this.
    """
    need(PACKAGES, BINARIES)
    prefix = f"mm{secrets.token_hex(3)}"
    made = [Host(f"{prefix}h{number}", number) for number in range(count)]
    try:
        _make(prefix, made)
        yield made
    finally:
        for name in (prefix, *(host.name for host in made)):
            with suppress(RuntimeError):
                _ip("netns", "delete", name)


def _make(prefix: str, made: list[Host]) -> None:
    """A bridge in a namespace of its own, and a line from it to every host."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ServiceAbsentError("hosts in namespaces need Linux and root")
    try:
        _ip("netns", "add", prefix)
    except RuntimeError as error:
        raise ServiceAbsentError(f"no network namespace can be made here ({error})") from error
    _ip("-n", prefix, "link", "add", "bridge", "type", "bridge")
    _ip("-n", prefix, "link", "set", "bridge", "up")
    for host in made:
        here, there = f"e{host.number}", f"p{host.number}"
        _ip("netns", "add", host.name)
        _ip("-n", host.name, "link", "set", "lo", "up")
        line = ("link", "add", here, "type", "veth", "peer", "name", there, "netns", prefix)
        _ip("-n", host.name, *line)
        _ip("-n", prefix, "link", "set", there, "master", "bridge", "up")
        _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", here)
        _ip("-n", host.name, "link", "set", here, "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def lasting(
    arguments: list[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon on a host that is killed at the end, with everything on the host."""
    with daemon(arguments, log, env=env) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def family(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Processes below one that was started: number and command line; no zombies."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found = {process.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: _command(pid) for pid in found - {process.pid}}


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def kill_all(processes: dict[int, str]) -> None:
    """Kill processes without a warning."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def await_that(condition: Callable[[], bool], what: str, seconds: float, *logs: Path) -> None:
    """Wait until something is so.

    Raises
    ------
    RuntimeError
        If it is not in time; with the ends of the logs.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            said = "".join(f"\n{log}: {tail(log, 3000)}" for log in logs)
            raise RuntimeError(f"{what}: not within {seconds:.0f} s{said}")
        time.sleep(0.2)


def program(name: str) -> str:
    """Full path of a program, for hosts whose PATH is not ours.

    Raises
    ------
    ServiceAbsentError
        If it is not installed.
    """
    need(PACKAGES, (name,))
    return str(shutil.which(name))
