"""Work whose results bring along the requests to object stores that they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.requests import Counted, Lap, counted, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.executors import Work


@dataclass(frozen=True, slots=True)
class CountedWork:
    """Any work; what it gives is `Counted`."""

    work: Work

    def open(self) -> Callable[[int], Counted]:
        """Open the work; what that asks for belongs to the first result."""
        lap, function = Lap(), self.work.open()
        return lambda item: counted(function(item), lap)


def settled(describe: Callable[[int, Any], dict[str, Any]]) -> Callable[[int, Any], dict[str, Any]]:
    """Describe the result of a `CountedWork`, once its requests are counted in this process."""
    return lambda item, found: describe(item, None if found is None else settle(found))
