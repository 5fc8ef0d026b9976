"""What is known after every epoch: four curves, per class, three of them on the same weights."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from segmentation.metrics.scores import scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segmentation.metrics.confusion import ConfusionMatrix

CURVES = ("train_running", "train_eval", "val", "val_batchstats")


class Scored(Protocol):
    """Scores of one part after one epoch, whatever was learned."""

    def named(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """Every score by its name."""


RowType = TypeVar("RowType", bound=Scored)


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one part after one epoch.

    Attributes
    ----------
    macro_foreground_dice : float or None
        None where no foreground occurs.
    dice : tuple of float or None
        Per class, background first.
    cross_entropy : float or None
        Mean over the voxels, in nats.
    """

    macro_foreground_dice: float | None
    dice: tuple[float | None, ...]
    cross_entropy: float | None

    @classmethod
    def of(cls, matrix: ConfusionMatrix, cross_entropy: float | None) -> Row:
        """Scores of counts."""
        result = scores(matrix, [str(value) for value in range(matrix.num_classes)])
        dice = tuple(entry["dice"] for entry in result["classes"])
        return cls(result["macro_foreground_dice"], dice, cross_entropy)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Inverse of `asdict`, after JSON."""
        return cls(data["macro_foreground_dice"], tuple(data["dice"]), data["cross_entropy"])

    def named(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """Every score by its name."""
        return {
            "macro_foreground_dice": self.macro_foreground_dice,
            "cross_entropy": self.cross_entropy,
            **{f"dice_{c}": dice for c, dice in zip(class_names, self.dice, strict=True)},
        }


# Without slots: with them, Python 3.11 fails when a frozen generic is made under an alias.
@dataclass(frozen=True)
class AnyEpoch(Generic[RowType]):
    """One epoch of a training, whatever is learned.

    Attributes
    ----------
    epoch, steps, planned_steps : int
        Epochs and steps done; steps planned.
    seconds : float
        Since the training was begun, interruptions left out.
    learning_rate : float
        Of the epoch's last step.
    loss : float
        Keras's running mean: of every step's loss, before its update, in training mode.
    curves : dict
        Scores or None of ``train_running`` (as the loss: changing weights, training mode),
        ``train_eval`` (part of the training regions), ``val`` (both with the weights at the end
        of the epoch, as they will be used) and ``val_batchstats`` (the same weights, but
        BatchNorm takes the statistics of what it is shown; None without BatchNorm).
    best : bool
        Whether no earlier epoch was better by the monitor.
    """

    epoch: int
    steps: int
    planned_steps: int
    seconds: float
    learning_rate: float
    loss: float
    curves: Mapping[str, RowType | None]
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return asdict(self)


Epoch: TypeAlias = AnyEpoch[Row]


def read_epoch(data: Mapping[str, Any]) -> Epoch:
    """Inverse of `AnyEpoch.to_dict`, after JSON."""
    curves = {
        name: None if row is None else Row.from_dict(row) for name, row in data["curves"].items()
    }
    return AnyEpoch(**{**data, "curves": curves})


def history_csv(epochs: Sequence[AnyEpoch[RowType]], class_names: Sequence[str]) -> str:
    """The epochs as Keras's CSVLogger would write them; what is undefined is left empty."""
    heads = ["epoch", "steps", "seconds", "learning_rate", "loss", "best"]
    rows = [row for epoch in epochs for row in epoch.curves.values() if row is not None]
    names = list(rows[0].named(class_names)) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*heads, *(f"{curve}_{name}" for curve in CURVES for name in names)])
    for epoch in epochs:
        plain = [getattr(epoch, head) for head in heads[:-1]]
        found = [row.named(class_names) if row else {} for row in map(epoch.curves.get, CURVES)]
        writer.writerow(
            [*plain, int(epoch.best), *(row.get(name) for row in found for name in names)]
        )
    return text.getvalue()
