"""Contenders that take turns in one process: seconds of every round, and their medians."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def take_turns(
    contenders: Mapping[str, Callable[[], None]], rounds: int, *, clean: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    """Seconds of every contender, one after the other in every round.

    Parameters
    ----------
    contenders : mapping of str to callable
        Leaves its output where `clean` removes it.
    rounds : int
        Every second one is run in reverse order.
    clean : callable
        Called after every contender, off the clock, once the output is on the disk.

    Returns
    -------
    dict
        By contender: ``seconds`` (until it returned) and ``durable_seconds`` (until its output
        was on the disk), medians, and all ``rounds``.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)[:: -1 if number % 2 else 1]
        for name in names:
            os.sync()
            started = time.perf_counter()
            contenders[name]()
            ended = time.perf_counter()
            os.sync()
            times[name].append((ended - started, time.perf_counter() - started))
            tell(f"round {number + 1} of {rounds}: {name} {ended - started:.1f} s")
            clean()
    return {
        name: {
            "seconds": statistics.median(seconds for seconds, _ in found),
            "durable_seconds": statistics.median(seconds for _, seconds in found),
            "rounds": [round(seconds, 3) for seconds, _ in found],
        }
        for name, found in times.items()
    }


def installed(*packages: str) -> bool:
    """Whether a contender's packages are there; its absence is told."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        tell(f"{', '.join(missing)} is not installed: not measured")
    return not missing


@contextmanager
def scratch(folder: str | None) -> Iterator[Path]:
    """A folder of its own, removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="maskmill-bench-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def show(figures: dict[str, Any], *, as_json: bool) -> None:
    """Print figures: one JSON object, or a line each."""
    text = json.dumps(figures) if as_json else "\n".join(_lines(figures))
    sys.stdout.write(f"{text}\n")


def _lines(figures: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{name}: ")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{prefix}{name}: {shown}"
