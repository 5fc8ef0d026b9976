"""What happens in which run: a seeded choice of whom to kill and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRIVER, WORKER, RAYLET, PREFECT = "driver", "worker", "raylet", "prefect"
VICTIMS = {"ray": (DRIVER, WORKER, RAYLET, PREFECT), "serial": (DRIVER, PREFECT)}
MIXED = "mixed"
# Every third of mixed runs goes through Ray, which takes the most time to start.
RAY_EVERY = 3
STARTING, WORKING = "starting", "working"
STARTING_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Draw:
    """One disturbance.

    Attributes
    ----------
    number : int
        Of the run, from 0 on.
    executor : str
        ``ray`` or ``serial``.
    victim : str
        Who is killed with signal 9.
    phase : str
        ``starting``: before the first shard is recorded; ``working``: from then to the end.
    fraction : float
        Of the usual length of the phase, in [0, 1).
    """

    number: int
    executor: str
    victim: str
    phase: str
    fraction: float


def draw(seed: int, number: int, executor: str) -> Draw:
    """The disturbance of a run; the same for the same seed, number and kind of executor.

    Parameters
    ----------
    executor : str
        ``ray``, ``serial`` or ``mixed``.
    """
    kind, turn = executor, number
    if executor == MIXED:
        kind = "serial" if number % RAY_EVERY else "ray"
        turn = number // RAY_EVERY if kind == "ray" else number - number // RAY_EVERY - 1
    generator = np.random.default_rng([seed, number])
    phase = STARTING if generator.random() < STARTING_SHARE else WORKING
    return Draw(number, kind, _victim(seed, turn, kind), phase, float(generator.random()))


def _victim(seed: int, turn: int, kind: str) -> str:
    """Dealt from shuffled decks, so that every kind of process has its turn."""
    victims = VICTIMS[kind]
    deck, place = divmod(turn, len(victims))
    order = np.random.default_rng([seed, deck, len(victims)]).permutation(len(victims))
    return victims[order[place]]
