"""Progress on the terminal: a bar for people, plain lines for logs. Always on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

LINE_SECONDS = 10.0
ARTIFACT_SECONDS = 5.0


class Progress:
    """Counts finished items of one stage.

    Parameters
    ----------
    label : str
        What is counted, such as ``segmenting``.
    total : int
        Items in all.
    done : int
        Items finished by an earlier attempt.
    listener : callable, optional
        Gets the percentage every few seconds (a Prefect artifact).
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int = 0,
        listener: Callable[[float], None] | None = None,
    ) -> None:
        self.label, self.total, self.done = label, total, done
        self._listener = listener
        self._told = self._lined = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.done)
        elif self.done < self.total:
            self._line()
        return self

    def advance(self) -> None:
        """One more item is finished."""
        self.done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)
        elif self.done == self.total or now - self._lined > LINE_SECONDS:
            self._lined = now
            self._line()
        if self._listener and now - self._told > ARTIFACT_SECONDS:
            self._told = now
            self._listener(self.percent)

    @property
    def percent(self) -> float:
        """Finished share, 0 to 100."""
        return 100.0 * self.done / self.total if self.total else 100.0

    def _line(self) -> None:
        sys.stderr.write(f"{self.label}: {self.done} of {self.total} shards\n")
        sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._listener:
            self._listener(self.percent)


class ProgressMaker(Protocol):
    """Opens the progress of a stage: label, items in all, items done before."""

    def __call__(self, label: str, total: int, done: int) -> AbstractContextManager[Progress]:
        """A context in which items are counted."""


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def file_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A callback that gets (done, total) of a conversion and shows it on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    bar = _bar()
    task = bar.add_task(label, total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)
