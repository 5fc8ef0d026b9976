"""Stages one after the other, each with its seconds, with or without Prefect around them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# Gets the name of a stage and its function; the function it gives back is called.
Wrap: TypeAlias = Callable[[str, Callable[..., Any]], Callable[..., Any]]


def plain(_name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    """The stage as it is."""
    return stage


@dataclass(frozen=True, slots=True)
class StageClock:
    """Runs stages and keeps what they took.

    Attributes
    ----------
    wrap : callable
        See `Wrap`.
    seconds : dict of str to float
        By stage, in the order in which they ended.
    """

    wrap: Wrap = plain
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, stage: Callable[..., Any], *arguments: Any) -> Any:
        """Result of a stage."""
        started = time.perf_counter()
        result = self.wrap(name, stage)(*arguments)
        self.seconds[name] = round(time.perf_counter() - started, 3)
        return result
