"""Which score chooses the epoch. What could mislead is refused before the first epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.training.history import Epoch

Direction = Literal["max", "min"]
PART = "val"
MACRO = f"{PART}_macro_foreground_dice"
CROSS_ENTROPY = f"{PART}_cross_entropy"
CLASS = f"{PART}_dice_"


class MonitorError(ValueError):
    """The monitor cannot choose an epoch.

    Attributes
    ----------
    code : str
        ``TRAIN-MONITOR-MISSING``, ``TRAIN-MONITOR-ON-TRAIN`` or ``TRAIN-MONITOR-DIRECTION``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Monitor:
    """A score of the validation part, with its direction.

    Attributes
    ----------
    name : str
        ``val_macro_foreground_dice``, ``val_dice_CLASS`` or ``val_cross_entropy``.
    direction : "max" or "min"
        Whether more or less of it is better.
    value : int or None
        The class of ``val_dice_CLASS``.
    """

    name: str
    direction: Direction
    value: int | None = None

    def score(self, epoch: Epoch) -> float | None:
        """What it says about an epoch; None where it is undefined."""
        row = epoch.curves[PART]
        if row is None:
            return None
        if self.value is not None:
            return row.dice[self.value]
        return row.macro_foreground_dice if self.name == MACRO else row.cross_entropy

    def is_better(self, epoch: Epoch, best: Epoch) -> bool:
        """Whether an epoch is better; undefined is worse than anything."""
        new, old = self.score(epoch), self.score(best)
        if new is None or old is None:
            return new is not None
        return new > old if self.direction == "max" else new < old


def resolve_monitor(name: str, direction: str | None, class_names: Sequence[str]) -> Monitor:
    """Monitor of a training, checked against what every epoch will log.

    Parameters
    ----------
    name : str
        As asked for.
    direction : "max", "min" or None
        None takes the direction the score has by nature; it is never guessed from a name.
    class_names : sequence of str
        By value, background first.

    Raises
    ------
    MonitorError
        If no epoch will log the name, it is a score of the training part, or the direction is
        the wrong one.
    """
    known = [MACRO, CROSS_ENTROPY, *(f"{CLASS}{c}" for c in class_names)]
    if name not in known:
        if not name.startswith(PART):
            raise MonitorError(
                "TRAIN-MONITOR-ON-TRAIN",
                f"monitor {name!r} is no score of the validation part: it would choose the epoch "
                f"by what the network was trained on. Expected one of {', '.join(known)}",
            )
        raise MonitorError(
            "TRAIN-MONITOR-MISSING",
            f"no epoch logs {name!r}, so nothing could be chosen by it; "
            f"expected one of {', '.join(known)}",
        )
    natural: Direction = "min" if name == CROSS_ENTROPY else "max"
    if direction not in (None, natural):
        raise MonitorError(
            "TRAIN-MONITOR-DIRECTION",
            f"direction {direction!r} would keep the worst epoch by {name}; leave it out, "
            f"or give {natural!r}",
        )
    value = list(class_names).index(name.removeprefix(CLASS)) if name.startswith(CLASS) else None
    return Monitor(name, natural, value)
