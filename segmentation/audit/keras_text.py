"""Keras's own words: a terminal, a notebook or a forum post, pasted whole."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from segmentation.audit.decode import smallest_whole
from segmentation.audit.keras_calls import find_calls, read_settings
from segmentation.audit.keras_output import OutputReader
from segmentation.audit.log import Column, TrainingLog
from segmentation.audit.log_settings import LogSettings, natural_direction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_EPOCH = re.compile(r"^\W*Epoch\s+(\d{1,9})\s*/\s*(\d{1,9})\b")
_PROGRESS = re.compile(r"^\s*(\d{1,12})/(\d{1,12})\s+(?:\[[=>.\s]*\]|[━╸╺─\s]+|-)")
_PAIR = re.compile(r"([A-Za-z_]\w*): ([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))(?![\w:])")
_LONGEST_LINE = 4000
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
EXAMPLES = (
    "a table such as\n    epoch,loss,val_loss\n    1,0.81,0.68\nor the lines of Keras, such as\n"
    "    Epoch 1/50\n    90/90 [=====] - 43s 478ms/step - loss: 0.8159 - val_loss: 0.6816"
)


@dataclass(slots=True)
class _Run:
    """One call of ``fit``, as it is read."""

    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    planned: int | None = None
    steps: int | None = None
    is_finished: bool = False


def parse_keras_text(text: str) -> TrainingLog:
    """Read the longest training in a text; see `keras_logs`.

    Raises
    ------
    ValueError
        If there is none.
    """
    return max(keras_logs(text), key=lambda log: log.epochs)


def keras_logs(text: str) -> tuple[TrainingLog, ...]:
    """Read every training in a text; one begins where the epochs start at 1 again.

    Parameters
    ----------
    text : str
        Progress lines of Keras 2 or 3, lines of scores, calls of ``fit``, ``compile`` and
        callbacks, what ``predict`` and ``evaluate`` printed, with anything in between.

    Returns
    -------
    tuple of TrainingLog
        What was printed after all trainings is given to the last one.

    Raises
    ------
    ValueError
        If the text holds no line of a training, no line of scores and no such call.
    """
    lines = list(_lines(text))
    runs, results = _read_runs(lines)
    output = OutputReader().read(lines)
    settings = read_settings(text)
    is_empty = not (runs or results or output.evaluations or output.predictions)
    if is_empty and replace(settings, batch_norm=None) == LogSettings():
        raise ValueError(
            "the text is no log of a training: no line of an epoch, no line of scores and no call "
            f"of fit, compile or a callback was found. Expected {EXAMPLES}"
        )
    settings = replace(settings, samples=_fitted(text, output), keras=3 if "━" in text else None)
    logs = [_log(run, settings) for run in runs] or [TrainingLog(settings=settings)]
    last = replace(
        logs[-1],
        evaluations=output.evaluations,
        predictions=output.predictions,
        results=tuple(results),
    )
    return (*logs[:-1], last)


def _fitted(text: str, output: OutputReader) -> int | None:
    """Samples given to ``fit``, where the text tells them."""
    sizes = [output.sizes.size_of_call(call) for call in find_calls(text, "fit")]
    return sizes[-1] if sizes else None


def _lines(text: str) -> Iterator[str]:
    """Lines without colours, and with those that were written over each other apart."""
    for line in _CONTROL.sub("", text).replace("\x08", "\r").splitlines():
        if line.strip():
            yield line.rstrip()[:_LONGEST_LINE]


def _read_runs(lines: Sequence[str]) -> tuple[list[_Run], list[Mapping[str, float]]]:
    runs: list[_Run] = []
    results: list[Mapping[str, float]] = []
    epoch = 0
    for line in lines:
        head, done = _EPOCH.match(line), _PROGRESS.match(line)
        pairs = _pairs(line)
        if head:
            epoch = int(head[1])
            if not runs or epoch <= max(runs[-1].epochs, default=0):
                runs.append(_Run())
            runs[-1].planned, runs[-1].is_finished = int(head[2]), False
        if runs and epoch and pairs and (done or head):
            _add(runs[-1], epoch, pairs, done)
        elif len(pairs) > 1 and not done:
            results.append(pairs)
    return [run for run in runs if run.epochs], results


def _pairs(line: str) -> dict[str, float]:
    """Scores in a line, by name; times and other words with a number are left out."""
    found = {name: float(value) for name, value in _PAIR.findall(line)}
    kept = {n: v for n, v in found.items() if natural_direction(n) or n in ("lr", "learning_rate")}
    return found if kept and _PROGRESS.match(line) and "ETA" not in found else kept


def _add(run: _Run, epoch: int, pairs: dict[str, float], done: re.Match[str] | None) -> None:
    """Take a line into an epoch, unless it is what ``evaluate`` printed after it."""
    is_whole = done is None or done[1] == done[2]
    total = int(done[2]) if done else None
    if run.is_finished and not any(name.startswith("val_") for name in pairs):
        return
    if is_whole:
        run.steps = total or run.steps
        run.is_finished = True
    run.epochs.setdefault(epoch, {}).update(pairs)


def _log(run: _Run, known: LogSettings) -> TrainingLog:
    numbers = sorted(run.epochs)
    rows = [run.epochs[number] for number in numbers]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: tuple(row.get(name) for row in rows) for name in names}
    settings = replace(known, epochs=run.planned or known.epochs)
    return TrainingLog(
        {"epoch": tuple(float(number) for number in numbers), **columns},
        len(rows),
        _with_sizes(settings, run, columns),
    )


def _with_sizes(settings: LogSettings, run: _Run, columns: Mapping[str, Column]) -> LogSettings:
    """Samples and steps; Keras before 2.4 counted samples where later ones count steps."""
    training = _samples(columns.get("accuracy", columns.get("acc", ())))
    counts_samples = training is not None and run.steps == training
    whole, share = settings.samples, settings.validation_split
    train, validation = whole, settings.validation_samples
    if whole and share:
        # Keras cuts at int(n · (1 − share)).
        train = int(whole * (1 - share))
        validation = whole - train
    elif counts_samples and share and run.steps:
        validation = round(run.steps * share / (1 - share))
    train = train or (run.steps if counts_samples else None)
    steps = run.steps
    if steps and train == steps and settings.batch_size:
        steps = -(-steps // settings.batch_size)
    return replace(settings, samples=train, validation_samples=validation, steps=steps)


def _samples(accuracies: Column) -> int | None:
    known = [value for value in accuracies if value is not None and 0 <= value <= 1]
    return smallest_whole(known, digits=4) if len(known) > 2 else None
