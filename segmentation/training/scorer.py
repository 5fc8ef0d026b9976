"""Scores of a network after every epoch: three curves on the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.networks.memory import activation_bytes
from segmentation.networks.variants import copy_weights, has_batch_norm, without_chance
from segmentation.predictor import NetworkPredictor
from segmentation.training.validate import evaluation_part, row_of, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from segmentation.receptive_field import Geometry
    from segmentation.training.samples import TrainingVolume
    from segmentation.training.validate import Scored


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """Volumes of a training; that they do not overlap is for the caller to see to.

    Attributes
    ----------
    training, validation : tuple of TrainingVolume
        What weights are changed by, and what the epoch is chosen by.
    """

    training: tuple[TrainingVolume, ...]
    validation: tuple[TrainingVolume, ...]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores the network as it is now, in float32, on the parts.

    Attributes
    ----------
    predictor : NetworkPredictor
        The network as it is used.
    calm, batch_predictor
        A copy without dropout, and that with BatchNorm in training mode; None without BatchNorm.
    geometry : Geometry
        Of the network.
    voxel_bytes : int
        Bytes of activations per voxel.
    training, validation : tuple of TrainingVolume
        What is scored after every epoch.
    ignore_label : int or None
        Truth that counts for nothing.
    """

    predictor: NetworkPredictor
    calm: Any
    batch_predictor: NetworkPredictor | None
    geometry: Geometry
    voxel_bytes: int
    training: tuple[TrainingVolume, ...]
    validation: tuple[TrainingVolume, ...]
    ignore_label: int | None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        head: str,
        geometry: Geometry,
        parts: TrainingParts,
        ignore_label: int | None,
    ) -> Scorer:
        """For a network and its parts."""
        voxels = sum(volume.region.voxels for volume in parts.validation)
        calm = without_chance(model) if has_batch_norm(model) else None
        return cls(
            NetworkPredictor(model, head=head, geometry=geometry),
            calm,
            None
            if calm is None
            else NetworkPredictor(calm, head=head, geometry=geometry, batch_statistics=True),
            geometry,
            activation_bytes(model),
            tuple(evaluation_part(parts.training, voxels, len(geometry.stride))),
            parts.validation,
            ignore_label,
        )

    def score(
        self, volumes: Sequence[TrainingVolume], predictor: NetworkPredictor | None = None
    ) -> tuple[Scored, ...]:
        """Counts of every volume, by this network or by another."""
        return validate(
            predictor or self.predictor,
            volumes,
            exact=self.geometry.exact,
            ignore_label=self.ignore_label,
            voxel_bytes=self.voxel_bytes,
        )

    def curves(self, model: keras.Model) -> dict[str, Any]:
        """Rows of the three curves on the same weights."""
        rows: dict[str, Any] = {
            "train_eval": row_of(self.score(self.training)),
            "val": row_of(self.score(self.validation)),
            "val_batchstats": None,
        }
        if self.batch_predictor is not None:
            copy_weights(model, self.calm)
            rows["val_batchstats"] = row_of(self.score(self.validation, self.batch_predictor))
        return rows
