"""A command in a session of its own, with everything it has started, to be watched and killed."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from benchmarks.chaos.draws import DRIVER, PREFECT, RAYLET, WORKER

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

POLL_SECONDS = 0.05
GONE_SECONDS = 30.0
TIMEOUT = "timeout"
# Stands in the environment of all that a command has started.
MARK = "MASKMILL_CHAOS"


class StoppedError(RuntimeError):
    """Somebody asked for an end."""


@dataclass(slots=True)
class Command:
    """A running command.

    Attributes
    ----------
    process : subprocess.Popen
        The driver.
    mark : str
        What its environment is recognised by.
    stop : threading.Event
        Asks for an end of everything.
    started : float
        Monotonic time.
    family : set of psutil.Process
        What it has started, as far as it was seen.
    """

    process: subprocess.Popen[bytes]
    mark: str
    stop: threading.Event
    started: float = field(default_factory=time.monotonic)
    family: set[psutil.Process] = field(default_factory=set)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def runs(self) -> bool:
        """Look at the processes again; whether the driver still runs.

        Raises
        ------
        StoppedError
            If an end was asked for.
        """
        if self.stop.is_set():
            raise StoppedError
        try:
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return False
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Whether something came to be before the command ended."""
        deadline = time.monotonic() + seconds
        while self.runs() and time.monotonic() < deadline:
            if ready():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def wait(self, seconds: float) -> int | str:
        """Exit code; a command that takes too long is killed, and ``timeout`` is its code."""
        self.wait_until(lambda: False, seconds)
        if self.process.poll() is None:
            self.end()
            return TIMEOUT
        return self.process.returncode

    def victims(self, kind: str) -> list[psutil.Process]:
        """Its processes of a kind, oldest first."""
        if kind == DRIVER:
            return [psutil.Process(self.process.pid)]
        found = [process for process in self.family if _is(kind, process)]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    def kill(self, kind: str, fraction: float) -> bool:
        """Kill one process of a kind with signal 9; False if there is none."""
        try:
            victims = self.victims(kind)
            if victims:
                victims[int(fraction * len(victims))].kill()
        except psutil.NoSuchProcess:
            return False
        return bool(victims)

    def strays(self) -> list[psutil.Process]:
        """What is left of it once the driver is gone."""
        marked = [p for p in psutil.process_iter() if _environment(p).get(MARK) == self.mark]
        return [p for p in {*self.family, *marked} if _is_alive(p) and p.pid != self.process.pid]

    def end(self) -> int:
        """Give what is left some time to leave, then kill it; how many had to be killed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        deadline = time.monotonic() + GONE_SECONDS
        while (left := self.strays()) and time.monotonic() < deadline and not self.stop.is_set():
            time.sleep(4 * POLL_SECONDS)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return len(left)


def start(
    arguments: Sequence[str], log: Path, env: Mapping[str, str], stop: threading.Event
) -> Command:
    """Start a command whose messages go to a file."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **env},
            start_new_session=True,
        )
    return Command(process, env[MARK], stop)


def _is(kind: str, process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE or not words:
            return False
    except psutil.NoSuchProcess:
        return False
    if kind == RAYLET:
        return os.path.basename(words[0]) == "raylet"
    if kind == WORKER:
        return words[0].startswith("ray::") and "Agent" not in words[0]
    return kind == PREFECT and "flows.prefect_server" in words


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
