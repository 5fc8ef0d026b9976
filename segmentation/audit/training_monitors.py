"""Monitors of callbacks: missing, read the wrong way round, or scores of the training part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from segmentation.audit.finding import Finding, Table, listed
from segmentation.audit.log_settings import VALIDATION, natural_direction
from segmentation.audit.replay import replay_stopping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.log import TrainingLog
    from segmentation.audit.log_settings import Direction


class _Watch(NamedTuple):
    callback: str
    monitor: str
    given: Direction | None
    effective: Direction
    chooses: bool


def monitor_findings(log: TrainingLog) -> Iterator[Finding]:
    """TRAIN-MONITOR-MISSING, TRAIN-MONITOR-DIRECTION and TRAIN-MONITOR-ON-TRAIN."""
    for watch in _watches(log):
        yield from _missing(log, watch)
        yield from _direction(log, watch)
        yield from _on_train(log, watch)


def _watches(log: TrainingLog) -> Iterator[_Watch]:
    """Callbacks with what they look at; one that keeps every epoch decides nothing."""
    stopping, plateau = log.settings.stopping, log.settings.plateau
    if stopping:
        yield _Watch(
            "EarlyStopping", stopping.monitor, stopping.direction, stopping.effective, True
        )
    if plateau:
        yield _Watch(
            "ReduceLROnPlateau", plateau.monitor, plateau.direction, plateau.effective, False
        )
    for one in dict.fromkeys(log.settings.checkpoints):
        if one.save_best_only:
            yield _Watch("ModelCheckpoint", one.monitor, one.direction, one.effective, True)


def _settings(log: TrainingLog, watch: _Watch) -> tuple[Table]:
    rows = (
        ("callback", watch.callback),
        ("monitor", watch.monitor),
        ("direction", watch.given or f"auto ({watch.effective})"),
        ("logged", listed(log.scored, 12) or "nothing"),
    )
    return (Table("What was looked at", ("setting", "value"), rows),)


def _missing(log: TrainingLog, watch: _Watch) -> Iterator[Finding]:
    if not log.columns or watch.monitor in log.columns:
        return
    near = [name for name in log.scored if name.lower() == watch.monitor.lower()]
    hint = f" There is {near[0]}, which is written differently." if near else ""
    yield Finding(
        code="TRAIN-MONITOR-MISSING",
        severity="error",
        statement=f"{watch.callback} looked at {watch.monitor!r}, which no epoch of "
        f"{log.epochs} logged, so it never did anything.{hint}",
        rule=f"The monitor has to be one of the {len(log.scored)} columns: "
        f"{listed(log.scored, 12)}.",
        advice="Name a score of the validation part exactly as it is logged. `maskmill train "
        "CATALOG.yaml --monitor val_macro_foreground_dice` refuses a name that no epoch will log.",
        proves_not="It does not say that the last epoch is a bad one, only that none was chosen.",
        evidence=_settings(log, watch),
    )


def _direction(log: TrainingLog, watch: _Watch) -> Iterator[Finding]:
    natural = natural_direction(watch.monitor)
    if natural is None or natural == watch.effective:
        return
    if watch.given is None and (log.settings.keras == 3 or _contradicted(log, watch)):
        return
    how = (
        f"mode={watch.given!r} was given"
        if watch.given
        else "no mode was given, and Keras 2 guesses it from the name (Keras 3 refuses to start)"
    )
    worst = "worst" if watch.chooses else "wrong"
    yield Finding(
        code="TRAIN-MONITOR-DIRECTION",
        severity="error",
        statement=f"{watch.callback} took {_more(watch.effective)} {watch.monitor} for better, "
        f"although {_more(natural)} of it is: it goes by the {worst} epoch. {_stop(log, watch)}",
        rule=f"The direction has to be {natural!r} for {watch.monitor}; it was "
        f"{watch.effective!r}: {how}.",
        advice=f"Give mode={natural!r}. `maskmill train` knows the direction of its scores and "
        "refuses the wrong one (`--direction`).",
        proves_not="It does not say that the network cannot learn: a training that stopped early "
        "for this reason tells nothing.",
        evidence=_settings(log, watch),
    )


def _more(direction: Direction) -> str:
    return "more" if direction == "max" else "less"


def _stop(log: TrainingLog, watch: _Watch) -> str:
    """What early stopping did in this direction, where its monitor was logged."""
    stopping = log.settings.stopping
    if watch.callback != "EarlyStopping" or stopping is None:
        return "The weights it goes by are not those you want."
    patience = stopping.patience
    epoch = replay_stopping(log.columns.get(watch.monitor, ()), stopping).epoch
    if epoch is None:
        return f"A score that improves from the start is stopped after epoch {1 + patience}."
    return f"With a patience of {patience} it stopped after epoch {epoch}."


def _contradicted(log: TrainingLog, watch: _Watch) -> bool:
    """Whether the training went on past the epoch at which the guess would have stopped it."""
    stopping = log.settings.stopping
    if watch.callback != "EarlyStopping" or stopping is None:
        return False
    epoch = replay_stopping(log.columns.get(watch.monitor, ()), stopping).epoch
    return epoch is not None and epoch < log.epochs


def _on_train(log: TrainingLog, watch: _Watch) -> Iterator[Finding]:
    known = {name.lower() for name in log.scored} or {watch.monitor.lower()}
    fitting = sum(name.startswith(VALIDATION) for name in log.scored)
    is_training = not watch.monitor.startswith(VALIDATION) and watch.monitor.lower() in known
    if not watch.chooses or not is_training:
        return
    yield Finding(
        code="TRAIN-MONITOR-ON-TRAIN",
        severity="warning",
        statement=f"{watch.callback} goes by {watch.monitor!r}, a score of the training images: "
        "it gets better for as long as the network learns them by heart, and is a mean over "
        "weights that were there before.",
        rule=f"A monitor that chooses the weights has to begin with {VALIDATION!r}; it is "
        f"{watch.monitor!r}, beside {fitting} columns that do.",
        advice="Choose by a score of the validation part: `maskmill train CATALOG.yaml --monitor "
        "val_macro_foreground_dice`.",
        proves_not="It does not prove over-fitting; it only could not have prevented it.",
        evidence=_settings(log, watch),
    )
