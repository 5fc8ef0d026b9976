"""Training a network on crops; the weights with the best validation score are kept."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.scores import scores
from segmentation.networks.runtime import configure, import_keras, reading_weights
from segmentation.packing import check_model, working_geometry
from segmentation.predictor import NetworkPredictor
from segmentation.training.augment import flip_and_turn
from segmentation.training.losses import cross_entropy_and_dice
from segmentation.training.samples import CropSampler, fitting_crop, index_classes
from segmentation.training.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras
    from numpy.typing import NDArray

    from segmentation.metrics.confusion import ConfusionMatrix
    from segmentation.training.samples import TrainingVolume

WARM_UP_STEPS = 2
TIMED_STEPS = 10
# Of the wall time; validation takes the rest.
SHARE_OF_STEPS = 0.85


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes
    ----------
    crop : tuple of int
        Extent of a crop along the network's axes; made smaller where a region is.
    batch_size, steps : int
        Crops a step, and steps in all.
    steps_per_epoch : int
        Steps between two validations.
    learning_rate : float
        At the start; a cosine takes it to 0 at the last step.
    weight_decay : float
        Of AdamW (Loshchilov & Hutter, ICLR 2019).
    class_share : float
        Share of crops laid around a voxel of a class drawn at random.
    ignore_label : int or None
        Truth that counts for nothing.
    seed : int
        Of crops and augmentation.
    seconds : float or None
        Choose the number of steps by the clock instead, after timing the first ones. Two runs
        then differ.
    """

    crop: tuple[int, ...] = (256, 256)
    batch_size: int = 4
    steps: int = 3000
    steps_per_epoch: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    class_share: float = 0.7
    ignore_label: int | None = None
    seed: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "steps_per_epoch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        if not 0 <= self.class_share <= 1:
            raise ValueError(f"class_share is {self.class_share}; expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is known after one epoch.

    Attributes
    ----------
    number, steps, planned_steps : int
        Epochs and steps done; steps planned.
    loss : float
        Mean over the epoch's steps.
    learning_rate : float
        Of the epoch's last step.
    macro_foreground_dice : float or None
        On the validation regions; None where no foreground occurs.
    dice : tuple of float or None
        The same per class, background first.
    best : bool
        Whether no earlier epoch was better.
    """

    number: int
    steps: int
    planned_steps: int
    loss: float
    learning_rate: float
    macro_foreground_dice: float | None
    dice: tuple[float | None, ...]
    best: bool


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The course of a training and the validation counts of the weights that were kept."""

    epochs: tuple[Epoch, ...]
    best: Epoch
    confusion: ConfusionMatrix

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for the card."""
        return {
            "best_epoch": self.best.number,
            "macro_foreground_dice": self.best.macro_foreground_dice,
            "dice": list(self.best.dice),
            "confusion": self.confusion.to_dict(),
            "history": [asdict(epoch) for epoch in self.epochs],
        }


def train(
    model: keras.Model,
    training: Sequence[TrainingVolume],
    validation: Sequence[TrainingVolume],
    *,
    num_classes: int,
    settings: TrainSettings,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainingResult:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    model : keras.Model
        Axes yx or zyx, with a softmax or sigmoid head.
    training, validation : sequence of TrainingVolume
        Their regions must not overlap; that is for the caller to see to.
    num_classes : int
        Classes, the background included.
    settings : TrainSettings
        The same settings and data give the same weights on one machine.
    on_epoch : callable, optional
        Told about every epoch.

    Raises
    ------
    ValueError
        If the network does not fit the classes or the regions, or labels are out of range.
    """
    configure()
    run = _Run.start(model, training, num_classes, settings)
    epochs: list[Epoch] = []
    best: tuple[Epoch, ConfusionMatrix, list[NDArray[Any]]] | None = None
    while run.done < run.planned:
        loss = run.epoch()
        matrix = validate(
            run.predictor, validation, exact=run.exact, ignore_label=settings.ignore_label
        )
        epoch = _summary(len(epochs) + 1, run, loss, matrix, best[0] if best else None)
        epochs.append(epoch)
        if epoch.best:
            best = (epoch, matrix, _weights(model))
        if on_epoch is not None:
            on_epoch(epoch)
    if best is None:
        raise ValueError("no epoch was run; plan at least one step")
    model.set_weights(best[2])
    return TrainingResult(tuple(epochs), best[0], best[1])


def _summary(
    number: int, run: _Run, loss: float, matrix: ConfusionMatrix, best: Epoch | None
) -> Epoch:
    result = scores(matrix, [str(value) for value in range(matrix.num_classes)])
    score = result["macro_foreground_dice"]
    is_best = best is None or (score or 0.0) >= (best.macro_foreground_dice or 0.0)
    dice = tuple(entry["dice"] for entry in result["classes"])
    return Epoch(number, run.done, run.planned, loss, run.rate(), score, dice, is_best)


def _weights(model: keras.Model) -> list[NDArray[Any]]:
    with reading_weights():
        return [np.array(weight) for weight in model.get_weights()]


@dataclass(slots=True)
class _Run:
    """A training on its way: the only thing here that changes."""

    model: Any
    sampler: CropSampler
    predictor: NetworkPredictor
    exact: bool
    settings: TrainSettings
    rng: np.random.Generator
    planned: int
    done: int = 0
    started: float = 0.0
    timed_from: float = 0.0

    @classmethod
    def start(
        cls,
        model: keras.Model,
        training: Sequence[TrainingVolume],
        num_classes: int,
        settings: TrainSettings,
    ) -> _Run:
        axes = "zyx"[-(len(model.inputs[0].shape) - 2) :]
        head = check_model(model, num_classes, axes)
        geometry = working_geometry(model, axes)
        crop = fitting_crop(training, settings.crop, geometry.stride)
        index = index_classes(
            training, num_classes, ignore_label=settings.ignore_label, seed=settings.seed
        )
        keras = import_keras()
        model.compile(
            keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay),
            cross_entropy_and_dice(num_classes, head, ignore_label=settings.ignore_label),
            jit_compile=False,
        )
        return cls(
            model,
            CropSampler(tuple(training), index, crop, settings.class_share),
            NetworkPredictor(model, head=head, geometry=geometry),
            geometry.exact,
            settings,
            np.random.default_rng(settings.seed),
            settings.steps,
            started=time.monotonic(),
        )

    def rate(self) -> float:
        """Learning rate of the last step taken."""
        share = max(self.done - 1, 0) / self.planned
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def step(self) -> float:
        """Train on one batch of crops; return its loss."""
        crops = [
            flip_and_turn(self.rng, *self.sampler.draw(self.rng))
            for _ in range(self.settings.batch_size)
        ]
        images, labels = (np.stack(parts) for parts in zip(*crops, strict=True))
        self.done += 1
        self.model.optimizer.learning_rate = self.rate()
        loss = self.model.train_on_batch(images, labels)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} at step {self.done}; lower the learning rate "
                f"({self.settings.learning_rate}), or look for extreme intensities"
            )
        return float(loss)

    def epoch(self) -> float:
        """Take the steps up to the next validation; return their mean loss."""
        losses = []
        last = self.done + self.settings.steps_per_epoch
        while self.done < min(last, self.planned):
            losses.append(self.step())
            if self.settings.seconds is not None:
                self.plan_by_clock(self.settings.seconds)
        return float(np.mean(losses))

    def plan_by_clock(self, seconds: float) -> None:
        """Time the first steps and plan as many as the seconds allow, validation included."""
        now = time.monotonic()
        if self.done == WARM_UP_STEPS:
            self.timed_from = now
        elif self.done == WARM_UP_STEPS + TIMED_STEPS:
            step_seconds = (now - self.timed_from) / TIMED_STEPS
            left = SHARE_OF_STEPS * (seconds - (now - self.started))
            self.planned = self.done + max(1, int(left / step_seconds))
