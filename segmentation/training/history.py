"""What is known after every epoch: four curves, per class, three of them on the same weights."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from segmentation.metrics.scores import scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segmentation.metrics.confusion import ConfusionMatrix

CURVES = ("train_running", "train_eval", "val", "val_batchstats")


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


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch.

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
        Row or None of ``train_running`` (as the loss: changing weights, training mode),
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
    curves: Mapping[str, Row | None]
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Epoch:
        """Inverse of `to_dict`, after JSON."""
        curves = {
            name: None if row is None else Row.from_dict(row)
            for name, row in data["curves"].items()
        }
        return cls(**{**data, "curves": curves})


def history_csv(epochs: Sequence[Epoch], class_names: Sequence[str]) -> str:
    """The epochs as Keras's CSVLogger would write them; what is undefined is left empty."""
    heads = ["epoch", "steps", "seconds", "learning_rate", "loss", "best"]
    scores_of = ["macro_foreground_dice", "cross_entropy", *(f"dice_{c}" for c in class_names)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*heads, *(f"{curve}_{score}" for curve in CURVES for score in scores_of)])
    for epoch in epochs:
        plain = [getattr(epoch, head) for head in heads[:-1]]
        cells = [cell for curve in CURVES for cell in _cells(epoch.curves[curve], len(scores_of))]
        writer.writerow([*plain, int(epoch.best), *cells])
    return text.getvalue()


def _cells(row: Row | None, columns: int) -> list[float | None]:
    if row is None:
        return [None] * columns
    return [row.macro_foreground_dice, row.cross_entropy, *row.dice]
