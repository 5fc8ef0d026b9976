"""Ways in which masks and network outputs are handed to a metric.

::

    masks            array                          output     array
    plane            (n, y, x, 1) of 0 and 1        plane      (n, y, x, 1) sigmoid
    one-hot          (n, y, x, C) of 0 and 1        channels   (n, y, x, C) softmax
    integer          (n, y, x) of 0..C-1            labels     (n, y, x) of 0..C-1
    integer plane    (n, y, x, 1) of 0..C-1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Masks = Literal["plane", "one-hot", "integer", "integer plane"]
Output = Literal["plane", "channels", "labels"]
# Beyond it a softmax or sigmoid in float32 is exactly 0 or, in the end, 1.
LARGEST_LOGIT = 30.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How masks and outputs look.

    Attributes
    ----------
    masks : str
        "plane", "one-hot", "integer" or "integer plane".
    output : str
        "plane", "channels" or "labels".
    num_classes : int
        Classes, the background included; 2 where the output is one plane.
    logits : bool
        Whether the output is logits and not probabilities.
    rows : bool
        Whether samples and voxels are joined into rows, as they are of a classifier.
    """

    masks: Masks
    output: Output
    num_classes: int
    logits: bool = False
    rows: bool = False

    @property
    def words(self) -> str:
        """For a sentence: what the metric is handed."""
        masks = {
            "plane": "masks of 0 and 1",
            "one-hot": "one-hot masks",
            "integer": "integer masks",
            "integer plane": "integer masks with a channel axis",
        }[self.masks]
        numbers = "logits" if self.logits else "probabilities"
        output = {
            "plane": f"one channel of {numbers}",
            "channels": f"{self.num_classes} channels of {numbers}",
            "labels": "label maps",
        }[self.output]
        return f"{masks} and {output}" + (", a voxel a row" if self.rows else "")

    def truth(self, labels: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Masks of integer labels (n, y, x); a one-hot row of no class is all zero."""
        if self.masks == "one-hot":
            one_hot = labels[..., np.newaxis] == np.arange(self.num_classes)
            return np.asarray(one_hot, np.float32)
        if self.masks == "plane":
            return labels[..., np.newaxis].astype(np.float32)
        integer = labels.astype(np.int32)
        return integer if self.masks == "integer" else integer[..., np.newaxis]

    def prediction(self, probabilities: NDArray[np.float64]) -> NDArray[Any]:
        """Output that stands for probabilities (n, y, x, C) of the classes."""
        if self.output == "labels":
            return np.asarray(probabilities.argmax(axis=-1), np.int32)
        values = self._logits(probabilities) if self.logits else probabilities
        chosen = values[..., 1:2] if self.output == "plane" else values
        return np.asarray(chosen, np.float32)

    def _logits(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            values = np.log(probabilities)
            if self.output == "plane":
                values = values - np.log1p(-probabilities)
        return np.asarray(np.clip(values, -LARGEST_LOGIT, LARGEST_LOGIT))

    def batch(self, array: NDArray[Any], samples: tuple[int, ...]) -> NDArray[Any]:
        """Return some samples of masks or of an output, as they are handed over."""
        chosen = array[list(samples)]
        return chosen.reshape(-1, chosen.shape[-1]) if self.rows else chosen
