"""Images to look at a network with, what it answers, and how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.networks.heads import read_classes
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

Task = Literal["segmentation", "classification"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Images as a network will be shown them.

    Attributes
    ----------
    batches : tuple of float32, shape (batch, *spatial, channels)
        Normalised images or crops; classes of images should be mixed.
    truth : tuple of integer arrays, or None
        Classes, one array a batch: of every voxel, shape (batch, *spatial), or of every image,
        shape (batch,). A value that is no class does not count.
    task : "segmentation" or "classification"
        Whether voxels or images have classes.

    Raises
    ------
    ValueError
        If there is no image, or truth and images do not fit.
    """

    batches: tuple[NDArray[np.float32], ...]
    truth: tuple[NDArray[Any], ...] | None = None
    task: Task = "segmentation"

    def __post_init__(self) -> None:
        if not self.batches:
            raise ValueError("no image was given to look at the network with; give at least one")
        wanted = [b.shape[:-1] if self.task == "segmentation" else b.shape[:1]
                  for b in self.batches]  # fmt: skip
        given = wanted if self.truth is None else [t.shape for t in self.truth]
        if given != wanted:
            raise ValueError(
                f"truth has the shapes {given}; expected {wanted}: one class for every "
                f"{self.unit}, batch by batch"
            )

    @property
    def unit(self) -> str:
        """What has a class."""
        return "voxel" if self.task == "segmentation" else "image"

    @property
    def measure(self) -> str:
        """Name of the score that `score` gives."""
        return (
            "Dice, mean of the foreground classes"
            if self.task == "segmentation"
            else "balanced accuracy"
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of a calibration, batch by batch.

    Attributes
    ----------
    outputs : tuple of float32, shape (batch, *spatial or nothing, outputs)
        As the network gives them.
    classes : tuple of uint8
        What they mean.
    """

    outputs: tuple[NDArray[np.float32], ...]
    classes: tuple[NDArray[np.uint8], ...]

    def shares(self, num_classes: int) -> NDArray[np.float64]:
        """Share of every class in the answers."""
        counts = sum(np.bincount(c.ravel(), minlength=num_classes) for c in self.classes)
        return np.asarray(counts, np.float64) / sum(c.size for c in self.classes)


def outputs_of(model: keras.Model, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network gives for a batch when it is used, float32."""
    ops = import_keras().ops
    result: NDArray[np.float32] = ops.convert_to_numpy(model(batch, training=False))
    return result


def answers(model: keras.Model, batches: Sequence[NDArray[np.float32]], head: str) -> Answers:
    """Predictions as they are made in use: moving statistics, no dropout."""
    ops = import_keras().ops
    outputs = tuple(outputs_of(model, batch) for batch in batches)
    classes = tuple(ops.convert_to_numpy(read_classes(ops, one, head)) for one in outputs)
    return Answers(outputs, classes)


def true_shares(calibration: Calibration, num_classes: int) -> NDArray[np.float64] | None:
    """Share of every class in the truth; None without truth."""
    if calibration.truth is None:
        return None
    counts = np.zeros(num_classes, np.int64)
    for truth in calibration.truth:
        known = truth[(truth >= 0) & (truth < num_classes)]
        counts += np.bincount(known.ravel(), minlength=num_classes)
    return counts / max(int(counts.sum()), 1)


def score(
    classes: Sequence[NDArray[Any]], calibration: Calibration, class_names: Sequence[str]
) -> float | None:
    """Mean Dice of the foreground classes, or balanced accuracy; None without truth.

    Parameters
    ----------
    classes : sequence of integer arrays
        Predictions, batch by batch.
    calibration : Calibration
        Whose truth they are compared with.
    class_names : sequence of str
        By value.
    """
    if calibration.truth is None:
        return None
    matrix = ConfusionMatrix.empty(len(class_names))
    for truth, predicted in zip(calibration.truth, classes, strict=True):
        matrix += ConfusionMatrix.from_labels(truth, predicted, len(class_names))
    found = scores(matrix, class_names)
    if calibration.task == "segmentation":
        dice: float | None = found["macro_foreground_dice"]
        return dice
    recalls = [c["recall"] for c in found["classes"] if c["recall"] is not None]
    return sum(recalls) / len(recalls) if recalls else None
