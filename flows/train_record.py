"""What a training writes down while it runs: curves, and the same slices every few epochs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.training_run import EPOCHS, HISTORY, write_whole
from segmentation.training.history import Epoch, history_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from segmentation.predictor import NetworkPredictor
    from segmentation.training.showcase import Slices

# Pictures of the same slices in one training.
LOOKS = 6
SAMPLES_FILE = "samples.npz"
SLICES_FILE = "slices.npz"


@dataclass(slots=True)
class Recorder:
    """Is told about every epoch.

    Attributes
    ----------
    folder : Path
        Records of the network.
    class_names : sequence of str
        By value.
    slices : Slices
        What is looked at.
    predictor : NetworkPredictor
        The network as it is now.
    exact : bool
        Whether it can be tiled exactly.
    voxel_bytes : int
        Bytes of activations per voxel.
    epochs : list of Epoch
        So far; those of an earlier attempt first.
    """

    folder: Path
    class_names: Sequence[str]
    slices: Slices
    predictor: NetworkPredictor
    exact: bool
    voxel_bytes: int
    epochs: list[Epoch] = field(default_factory=list)

    def __call__(self, epoch: Epoch) -> None:
        """Write curves, and now and then what the network says of the slices."""
        self.epochs = [e for e in self.epochs if e.epoch < epoch.epoch] + [epoch]
        self.write_curves()
        planned = -(-epoch.planned_steps // max(self.epochs[0].steps, 1))
        every = max(1, -(-planned // LOOKS))
        if epoch.epoch == 1 or epoch.epoch % every == 0 or epoch.steps == epoch.planned_steps:
            masks = self.slices.masks(
                self.predictor, exact=self.exact, voxel_bytes=self.voxel_bytes
            )
            save_arrays(self.folder / f"predictions-{epoch.epoch:04}.npz", {"masks": masks})

    def write_curves(self) -> None:
        """Write every epoch so far, for programs and for spreadsheets."""
        write_whole(self.folder / EPOCHS, json.dumps([e.to_dict() for e in self.epochs]))
        (self.folder / HISTORY).write_text(history_csv(self.epochs, self.class_names))


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Arrays by name, compressed."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
