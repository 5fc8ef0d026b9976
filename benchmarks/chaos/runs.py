"""One run: disturb the command, give it again until it is done, compare what it leaves."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from benchmarks.chaos.command import MARK, TIMEOUT, Command, start
from benchmarks.chaos.draws import DRIVER, STARTING
from benchmarks.chaos.evidence import differences, digests, recorded, story
from benchmarks.chaos.specimen import TRUTH

if TYPE_CHECKING:
    from benchmarks.chaos.draws import Draw
    from benchmarks.chaos.specimen import Place

NAME = "cells"
MASKMILL = Path(sys.executable).with_name("maskmill")
MOST_COMMANDS = 6
COMMAND_SECONDS = 400.0
# Of the usual time; later the command has often ended.
LATEST = 0.9
HOMES, LOGS = "homes", "logs"
FRESH_HOME = "fresh"


@dataclass(frozen=True, slots=True)
class Usual:
    """How long an undisturbed command takes.

    Attributes
    ----------
    first : float
        Seconds until a shard is recorded.
    total : float
        Seconds in all.
    """

    first: float
    total: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share.

    Attributes
    ----------
    folder : Path
        Logs and Prefect's data.
    place : Place
        Where the copies of the volume lie.
    model : str
        Bundle, or ``identity``.
    scratch : Path
        Temporary files of the commands; a short path, as Ray keeps sockets there.
    stop : threading.Event
        Ends everything.
    """

    folder: Path
    place: Place
    model: str
    scratch: Path
    stop: threading.Event = field(default_factory=threading.Event)

    def command(self, name: str, turn: int, executor: str) -> Command:
        """Start the command on a copy, for the first time or again."""
        home, fresh = self.folder / HOMES / name, self.folder / HOMES / FRESH_HOME
        if not home.is_dir() and fresh.is_dir():
            shutil.copytree(fresh, home)
        arguments = [str(MASKMILL), "segment", self.place.image(name), "--name", NAME]
        arguments += ["--model", self.model, "--truth", TRUTH, "--executor", executor]
        env = {
            "PREFECT_HOME": str(home),
            "TMPDIR": str(self.scratch),
            "RAY_TMPDIR": str(self.scratch),
            MARK: uuid4().hex,
        }
        return start(arguments, self.log(name, turn), env, self.stop)

    def log(self, name: str, turn: int) -> Path:
        """Where a command's messages go."""
        return self.folder / LOGS / f"{name}-{turn}.txt"

    def remove(self, name: str) -> None:
        """Remove a copy with all that belongs to it, but for the messages."""
        self.place.remove(name)
        shutil.rmtree(self.folder / HOMES / name, ignore_errors=True)


def undisturbed(bench: Bench, executor: str) -> tuple[dict[str, str], Usual]:
    """Segment a copy without disturbance: the bytes of the result, the usual times.

    Raises
    ------
    RuntimeError
        If that fails; the log says why.
    """
    name = f"undisturbed-{executor}"
    image = bench.place.copy(name)
    command = bench.command(name, 0, executor)
    command.wait_until(lambda: recorded(image) > 0, COMMAND_SECONDS)
    first = command.seconds
    code = command.wait(COMMAND_SECONDS)
    total = command.seconds
    command.end()
    if code:
        raise RuntimeError(f"the undisturbed command: {code}; see {bench.log(name, 0)}")
    found = digests(image)
    fresh = bench.folder / HOMES / FRESH_HOME
    if not fresh.is_dir():
        # The first start makes Prefect's database; every run begins with a copy of it.
        (bench.folder / HOMES / name).rename(fresh)
    bench.remove(name)
    return found, Usual(round(first, 2), round(total, 2))


def disturbed(bench: Bench, draw: Draw, usual: Usual, expected: dict[str, str]) -> dict[str, Any]:
    """One run with one kill; what happened and whether the bytes are the undisturbed ones.

    The command is given again at once, while what the killed one has left may still write.
    """
    name = f"run-{draw.number:04d}"
    began = time.monotonic()
    image = bench.place.copy(name)
    commands: list[Command] = []
    try:
        commands.append(bench.command(name, 0, draw.executor))
        hit = _kill(commands[0], draw, usual, image)
        codes = [commands[0].wait(COMMAND_SECONDS)]
        while codes[-1] != 0 and len(codes) < MOST_COMMANDS:
            commands.append(bench.command(name, len(codes), draw.executor))
            codes.append(commands[-1].wait(COMMAND_SECONDS))
    finally:
        strays = sum(command.end() for command in commands)
    if draw.victim == DRIVER:
        # One that is about to leave by itself can be killed without effect.
        hit["hit"] = codes[0] == -signal.SIGKILL
    differing = differences(digests(image), expected) if codes[-1] == 0 else ["unfinished"]
    line = {
        **asdict(draw),
        **hit,
        "codes": codes,
        "strays": strays,
        "partials": bench.place.partials(name),
        "records": story(image),
        "differing": differing,
        "seconds": round(time.monotonic() - began, 1),
    }
    if not differing:
        bench.remove(name)
    return line


def hung(line: dict[str, Any]) -> bool:
    """Whether a command of a run took so long that it had to be killed."""
    return TIMEOUT in line["codes"]


def _kill(command: Command, draw: Draw, usual: Usual, image: str) -> dict[str, Any]:
    """Wait for the drawn moment, then for the drawn victim, and kill it."""
    if draw.phase == STARTING:
        moment = draw.fraction * usual.first
    else:
        command.wait_until(lambda: recorded(image) > 0, COMMAND_SECONDS)
        moment = command.seconds + LATEST * draw.fraction * (usual.total - usual.first)
    command.wait_until(lambda: command.seconds >= moment, COMMAND_SECONDS)
    hit = command.wait_until(lambda: command.kill(draw.victim, draw.fraction), COMMAND_SECONDS)
    return {"hit": hit, "second": round(command.seconds, 2), "recorded": recorded(image)}
