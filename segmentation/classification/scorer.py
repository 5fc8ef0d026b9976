"""What a classifier says of some images, and what that scores; its BatchNorm recalibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.classification.history import SampleRow
from segmentation.networks.variants import copy_weights, has_batch_norm, without_chance
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import Geometry
from segmentation.training.recalibration import recalibrated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.classification.feed import SampleSet

EVALUATION_BATCH = 32
# One class for a whole image: nothing of it can be tiled.
WHOLE_IMAGE = Geometry((1, 1), (0, 0), exact=False, reasons=("one class for a whole image",))
# How much cross-entropy must fall for other BatchNorm statistics to be taken.
HELPS = 0.005
CALIBRATION_IMAGES = 512


def predict(model: Any, samples: SampleSet) -> NDArray[np.float32]:
    """Probabilities, float32, shape (samples, classes); each image for itself."""
    return _probabilities(_predictor(model), samples, np.arange(len(samples.labels)))


def recalibrate_classifier(
    model: Any, training: SampleSet, validation: SampleSet
) -> tuple[Any, dict[str, Any] | None]:
    """The network with exact BatchNorm statistics, where validation says that they help.

    Parameters
    ----------
    model : keras.Model
        It stays as it is.
    training : SampleSet
        Statistics are those of 512 of its images at most, spread evenly, as they are.
    validation : SampleSet
        Judges.

    Returns
    -------
    model : keras.Model
        The same one, or the recalibrated copy.
    dict or None
        "helped", cross-entropy "before" and "after"; None without BatchNorm.
    """
    if not has_batch_norm(model):
        return model, None
    count = len(training.labels)
    places = np.unique(np.linspace(0, count - 1, min(count, CALIBRATION_IMAGES)).astype(np.int64))
    batches = [training.images(part) for part in np.array_split(places, -(-len(places) // 32))]
    other = recalibrated(model, batches)
    before, after = (
        SampleRow.of_probabilities(predict(one, validation), validation.labels).cross_entropy
        for one in (model, other)
    )
    helped = before is not None and after is not None and before - after > HELPS
    note = {"helped": helped, "score": "cross_entropy", "before": before, "after": after}
    return (other if helped else model), note


def _predictor(model: Any, *, batch_statistics: bool = False) -> NetworkPredictor:
    return NetworkPredictor(
        model,
        head="softmax",
        geometry=WHOLE_IMAGE,
        batch_size=EVALUATION_BATCH,
        batch_statistics=batch_statistics,
    )


def _probabilities(
    predictor: NetworkPredictor, samples: SampleSet, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    starts = range(0, len(places), EVALUATION_BATCH)
    batches = (samples.images(places[start : start + EVALUATION_BATCH]) for start in starts)
    return np.concatenate([predictor.predict_probabilities(batch) for batch in batches])


@dataclass(frozen=True, slots=True)
class SampleScorer:
    """Scores the network as it is now, in float32, on the parts.

    Attributes
    ----------
    predictor : NetworkPredictor
        The network as it is used.
    calm, batch_predictor
        A copy without dropout, and that with BatchNorm in training mode; None without BatchNorm.
    training, validation : SampleSet
        What is scored after every epoch.
    """

    predictor: NetworkPredictor
    calm: Any
    batch_predictor: NetworkPredictor | None
    training: SampleSet
    validation: SampleSet

    @classmethod
    def of(cls, model: Any, training: SampleSet, validation: SampleSet) -> SampleScorer:
        """For a network and its parts."""
        calm = without_chance(model) if has_batch_norm(model) else None
        batches = None if calm is None else _predictor(calm, batch_statistics=True)
        return cls(_predictor(model), calm, batches, training, validation)

    def curves(self, model: Any) -> dict[str, SampleRow | None]:
        """Rows of the three curves on the same weights."""
        everything = np.arange(len(self.validation.labels))
        rows: dict[str, SampleRow | None] = {
            "train_eval": self._row(self.predictor, self.training, self._some_of_training()),
            "val": self._row(self.predictor, self.validation, everything),
            "val_batchstats": None,
        }
        if self.batch_predictor is not None:
            copy_weights(model, self.calm)
            # Batches of mixed classes, all of them full: statistics are those of the batch.
            mixed = np.random.default_rng(0).permutation(everything)
            full = np.resize(mixed, -(-len(mixed) // EVALUATION_BATCH) * EVALUATION_BATCH)
            rows["val_batchstats"] = self._row(self.batch_predictor, self.validation, full)
        return rows

    def _some_of_training(self) -> NDArray[np.int64]:
        """As many as in the validation part, evenly spaced."""
        count, wanted = len(self.training.labels), len(self.validation.labels)
        return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))

    @staticmethod
    def _row(
        predictor: NetworkPredictor, samples: SampleSet, places: NDArray[np.int64]
    ) -> SampleRow:
        probabilities = _probabilities(predictor, samples, places)
        return SampleRow.of_probabilities(probabilities, samples.labels[places])
