"""Watches trainings from the driver: tells about every epoch, and passes on the wish to stop."""

from __future__ import annotations

import contextvars
import json
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.training_run import EPOCHS, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flows.training_run import AnyTraining, LearningData

POLL_SECONDS = 0.5
# What is told of an epoch: of a segmentation, or of a classifier.
SCORES = {
    "macro_foreground_dice": "macro-foreground Dice",
    "balanced_accuracy": "balanced accuracy",
}


@contextmanager
def watched(
    run: AnyTraining[LearningData],
    stop: threading.Event,
    listener: Callable[[float], None] | None = None,
) -> Iterator[None]:
    """Tell about the epochs of a training while the context lasts.

    Parameters
    ----------
    run : AnyTraining
        Its records lie where this process can read them.
    stop : threading.Event
        Once it is set, every training is asked to stop after its current step.
    listener : callable, optional
        Gets the percentage of the steps that are done.
    """
    finished = threading.Event()
    watch = _Watch(run, stop, listener)
    # A thread begins with an empty context: Prefect would not know its server there, and start
    # another one.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(watch.until, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        watch.look()


class _Watch:
    """What was told so far."""

    def __init__(
        self,
        run: AnyTraining[LearningData],
        stop: threading.Event,
        listener: Callable[[float], None] | None,
    ) -> None:
        self._run, self._stop, self._listener = run, stop, listener
        self._known = {fold: _epochs(run.records_of(fold)) for fold in run.folds}

    def until(self, finished: threading.Event) -> None:
        """Look now and then."""
        while not finished.wait(POLL_SECONDS):
            self.look()

    def look(self) -> None:
        """Tell what is new; hand on the wish to stop."""
        new = False
        for fold in self._run.folds:
            epochs = _epochs(self._run.records_of(fold))
            for epoch in epochs[len(self._known[fold]) :]:
                _tell(epoch, fold if self._run.job.folds else None)
                new = True
            self._known[fold] = epochs
        if new and self._listener is not None:
            self._listener(self.percent)
        if self._stop.is_set():
            for fold in self._run.folds:
                if self._run.records_of(fold).is_dir():
                    (self._run.records_of(fold) / STOP).touch()

    @property
    def percent(self) -> float:
        """Share of all steps that are done, 0 to 100."""
        shares = [
            e[-1]["steps"] / e[-1]["planned_steps"] if e else 0.0 for e in self._known.values()
        ]
        return 100.0 * sum(shares) / len(shares)


def _epochs(records: Path) -> list[dict[str, Any]]:
    path = records / EPOCHS
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def _tell(epoch: dict[str, Any], fold: int | None) -> None:
    rows = epoch["curves"]
    score = next(name for name in SCORES if name in rows["val"])
    shown = ", ".join(
        f"{name} {_number(rows[name][score])}"
        for name in ("train_running", "train_eval", "val", "val_batchstats")
        if rows[name] is not None
    )
    start = "" if fold is None else f"fold {fold}, "
    sys.stderr.write(
        f"{start}epoch {epoch['epoch']}: step {epoch['steps']} of {epoch['planned_steps']}, "
        f"loss {epoch['loss']:.3f}; {SCORES[score]} {shown}"
        f"{' (best)' if epoch['best'] else ''}\n"
    )
    sys.stderr.flush()


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
