"""The clean pipeline that faults are planted in: specimens, catalog, network, masks, scores."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.faults import commands
from benchmarks.faults.volumes import TRUTH, Specimen, write_catalog, write_specimen
from segmentation.synthetic import CLASSES as TISSUE
from segmentation.synthetic import synthetic_stack

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

CLASSES = ("background", "membrane", "mitochondria", "vesicles")
# A synapse is a thick place of the membrane; alone it would be a rare class.
AS_CLASS = np.array([0, 1, 2, 3, 1], np.uint8)
TISSUE_CLASSES = tuple(name for _, name, _ in TISSUE)
SHAPE = (4, 128, 128)
PARTS = ("train",) * 6 + ("validation",) * 5 + ("test",) * 5
MASK = "cells"
TRAINING: dict[str, Any] = {
    **{"width": 8, "depth": 2, "crop": (64, 64), "batch_size": 8},
    **{"steps": 200, "steps_per_epoch": 40, "learning_rate": 1e-2},
    **{"class_share": 0.7, "class_weights": "sqrt", "augment": "flips"},
}


def tissue(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[NDArray[Any], NDArray[Any]]:
    """A stack of tissue and its classes."""
    voxels, labels = synthetic_stack(shape, seed=seed)
    return voxels, AS_CLASS[labels]


class Pipeline:
    """A clean pipeline, each part made when it is first needed and never changed afterwards.

    Parameters
    ----------
    folder : Path
        Empty; everything lies in it.
    seed : int
        Of the specimens.
    """

    def __init__(self, folder: Path, seed: int = 100) -> None:
        self.folder = folder
        self.seed = seed

    @cached_property
    def specimens(self) -> tuple[Specimen, ...]:
        """Sixteen stacks of different specimens: 6 to train, 5 to validate, 5 to test."""
        return tuple(
            write_specimen(
                *(self.folder, f"specimen {number}", part, *tissue(self.seed + number)),
                classes=CLASSES,
            )
            for number, part in enumerate(PARTS)
        )

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """Entries of the catalog; a new list each time."""
        return [specimen.volume for specimen in self.specimens]

    @cached_property
    def catalog(self) -> str:
        """CATALOG.yaml of all specimens."""
        return write_catalog(self.folder, self.volumes)

    @cached_property
    def training(self) -> dict[str, Any]:
        """The result of a training; half a minute."""
        return commands.train(catalog=self.catalog, out=str(self.bundle_folder), **TRAINING)

    @property
    def bundle_folder(self) -> Path:
        """Where the network goes."""
        return self.folder / "bundle"

    @cached_property
    def bundle(self) -> Path:
        """The trained network."""
        if not (self.bundle_folder / "training" / "result.json").is_file():
            # Asked for, it is made; an assertion would not be, with python -O.
            _ = self.training
        return self.bundle_folder

    @cached_property
    def unseen(self) -> Specimen:
        """A larger stack of one more specimen, which no part of the catalog holds."""
        stack = tissue(self.seed + 50, (32, 256, 256))
        return write_specimen(self.folder, "unseen", "test", *stack, classes=CLASSES)

    @cached_property
    def run(self) -> str:
        """Folder of a run that segmented the unseen stack, compared with its truth."""
        fields = {"image": str(self.unseen.image), "model": str(self.bundle), "truth": TRUTH}
        return commands.segment(name=MASK, **fields)[0].url
