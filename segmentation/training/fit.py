"""Training a network on crops; the weights of the best epoch are kept.

A training that is given a folder leaves its whole state there after every epoch and goes on from
it: killed at any moment and started again, it ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import configure, import_keras, reading_weights
from segmentation.networks.variants import copy_weights, with_precision
from segmentation.packing import check_model, working_geometry
from segmentation.training.augment import augmentation
from segmentation.training.block_cache import BlockCache, cached
from segmentation.training.checkpoint import Checkpoint, read_state, write_state
from segmentation.training.feed import Feed
from segmentation.training.history import Epoch
from segmentation.training.losses import make_loss
from segmentation.training.optimizer import make_optimizer
from segmentation.training.running import as_keras_loss, running_counts, running_row
from segmentation.training.samples import CropSampler, fitting_crop, index_classes
from segmentation.training.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from segmentation.training.monitor import Monitor
    from segmentation.training.samples import TrainingVolume
    from segmentation.training.scorer import TrainingParts
    from segmentation.training.settings import TrainSettings


# Of chunks that are kept in memory, so that they need not be decoded for every crop.
CACHE_BYTES = 2**30


class TrainingStopped(Exception):
    """A stop was asked for; the training goes on from its last epoch when it is run again."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The course of a training.

    Attributes
    ----------
    epochs : tuple of Epoch
        All that were run.
    best : Epoch
        The one whose weights were kept.
    stopped : str
        Why it ended, in words.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped: str


def train(
    training: Training,
    monitor: Monitor,
    *,
    folder: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    training : Training
        As `prepare_training` gives it.
    monitor : Monitor
        Chooses the epoch.
    folder : Path, optional
        Where the state is kept, and gone on from if there is one.
    on_epoch : callable, optional
        Told about every epoch that is run now; the network then has the weights of that epoch.
    is_stopped : callable
        Asked after every step.

    Raises
    ------
    ValueError
        If the loss is not a number.
    CheckpointError
        If the folder's checkpoint cannot be read, or is another network's.
    TrainingStopped
        If `is_stopped` says so.
    """
    training.resume(folder)
    while not training.reason:
        epoch = training.epoch(monitor, is_stopped)
        if folder is not None:
            training.checkpoint().save(folder)
        if on_epoch is not None:
            on_epoch(epoch)
    training.model.set_weights(training.best_weights)
    return TrainingResult(tuple(training.epochs), training.best, training.reason)


def prepare_training(
    model: keras.Model, parts: TrainingParts, *, num_classes: int, settings: TrainSettings
) -> Training:
    """Everything before the first step: what is wrong with a request is found here.

    Parameters
    ----------
    model : keras.Model
        Axes yx or zyx, float32, with a softmax or sigmoid head.
    parts : TrainingParts
        Volumes to train and to validate on.
    num_classes : int
        Classes, the background included.
    settings : TrainSettings
        The same settings and data give the same weights on one machine.

    Raises
    ------
    ValueError
        If the network does not fit the classes or the regions, labels are out of range, or a
        setting is unknown.
    """
    configure()
    axes = "zyx"[-(len(model.inputs[0].shape) - 2) :]
    head = check_model(model, num_classes, axes)
    geometry = working_geometry(model, axes)
    feed = make_feed(parts.training, num_classes, geometry.stride, settings)
    loss = make_loss(
        settings.loss,
        num_classes,
        head,
        ignore_label=settings.ignore_label,
        class_weights=settings.class_weights,
    )
    scorer = Scorer.of(model, head, geometry, parts, settings.ignore_label)
    metric = running_counts(num_classes, head, settings.ignore_label)
    working = with_precision(model, settings.precision)
    working.compile(
        make_optimizer(settings), as_keras_loss(loss), metrics=[metric], jit_compile=False
    )
    return Training(model, working, metric, feed, scorer, settings)


def make_feed(
    training: Sequence[TrainingVolume],
    num_classes: int,
    stride: Sequence[int],
    settings: TrainSettings,
) -> Feed:
    """Crops of the training regions.

    Raises
    ------
    ValueError
        If a region is smaller than one stride, or labels are out of range.
    """
    crop = fitting_crop([v.region for v in training], settings.crop, stride)
    index = index_classes(
        training, num_classes, ignore_label=settings.ignore_label, seed=settings.seed
    )
    cache = BlockCache(CACHE_BYTES)
    volumes = tuple(
        replace(v, image=cached(v.image, cache), label=cached(v.label, cache)) for v in training
    )
    sampler = CropSampler(volumes, index, crop, settings.class_share)
    return Feed(sampler, augmentation(settings.augment), settings.batch_size, settings.seed)


@dataclass(slots=True)
class Training:
    """A training on its way: the only thing here that changes."""

    model: Any
    working: Any
    metric: Any
    feed: Feed
    scorer: Scorer
    settings: TrainSettings
    epochs: list[Epoch] = field(default_factory=list)
    best_weights: list[NDArray[Any]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Steps taken."""
        return self.epochs[-1].steps if self.epochs else 0

    @property
    def best(self) -> Epoch:
        """The best epoch so far."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.best)

    @property
    def reason(self) -> str:
        """Why it is done; empty if it is not."""
        if self.done >= self.settings.steps:
            return "all steps were taken"
        patience = self.settings.patience
        if patience and self.epochs and self.epochs[-1].epoch - self.best.epoch >= patience:
            return f"no better epoch for {patience} epochs"
        return ""

    def resume(self, folder: Path | None) -> None:
        """Go on from a folder's checkpoint, if there is one.

        Raises
        ------
        CheckpointError
            If it cannot be read, or is another network's.
        """
        found = Checkpoint.load(folder) if folder is not None else None
        if found is not None:
            write_state(self.working, found.state)
            self.epochs, self.best_weights = list(found.epochs), found.best

    def checkpoint(self) -> Checkpoint:
        """The state to go on from."""
        return Checkpoint(read_state(self.working), self.best_weights, tuple(self.epochs))

    def epoch(self, monitor: Monitor, is_stopped: Callable[[], bool]) -> Epoch:
        """Take the steps up to the next validation, and score the weights they lead to."""
        started = time.monotonic()
        steps = min(self.settings.steps_per_epoch, self.settings.steps - self.done)
        loss = self.take(steps, is_stopped)
        copy_weights(self.working, self.model)
        curves = {"train_running": running_row(self.metric), **self.scorer.curves(self.model)}
        before = self.epochs[-1].seconds if self.epochs else 0.0
        epoch = Epoch(
            len(self.epochs) + 1,
            self.done + steps,
            self.settings.steps,
            before + time.monotonic() - started,
            self.rate(self.done + steps - 1),
            loss,
            curves,
        )
        if not self.epochs or monitor.is_better(epoch, self.best):
            epoch = replace(epoch, best=True)
            with reading_weights():
                self.best_weights = [np.array(weight) for weight in self.model.get_weights()]
        self.epochs.append(epoch)
        return epoch

    def take(self, steps: int, is_stopped: Callable[[], bool]) -> float:
        """Take some steps; return Keras's running mean of their losses."""
        watch = _watch(self.done, self.settings.learning_rate, is_stopped)
        dataset = self.feed.dataset(self.done, steps)
        history = self.working.fit(dataset, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        return float(history.history["loss"][0])

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        optimizer = self.working.optimizer
        schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
        return float(np.asarray(schedule(step)))


def _watch(first_step: int, learning_rate: float, is_stopped: Callable[[], bool]) -> Any:
    """A Keras callback that ends a training whose loss is no number, or that is to stop."""
    base: Any = import_keras().callbacks.Callback

    class Watch(base):  # type: ignore[misc]  # Keras has no types
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            loss = float((logs or {}).get("loss", 0.0))
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss} at step {first_step + batch + 1}; lower the learning "
                    f"rate ({learning_rate}), or look for extreme intensities"
                )
            if is_stopped():
                raise TrainingStopped(f"stopped at step {first_step + batch + 1}")

    return Watch()
