"""Training a classifier; the weights of the best epoch are kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.classification.feed import SampleFeed
from segmentation.classification.history import SampleEpoch, SampleRow
from segmentation.classification.objective import classifier_loss
from segmentation.classification.scorer import SampleScorer
from segmentation.classification.settings import image_augmentation
from segmentation.networks.runtime import configure, reading_weights
from segmentation.networks.variants import copy_weights, with_precision
from segmentation.training.fit import TrainingStopped
from segmentation.training.optimizer import make_optimizer
from segmentation.training.running import as_keras_loss, running_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from segmentation.classification.feed import SampleSet
    from segmentation.classification.history import SampleMonitor
    from segmentation.classification.settings import ClassifierSettings


@dataclass(frozen=True, slots=True)
class ClassifierResult:
    """The course of a training.

    Attributes
    ----------
    epochs : tuple of SampleEpoch
        All that were run.
    best : SampleEpoch
        The one whose weights were kept.
    stopped : str
        Why it ended, in words.
    """

    epochs: tuple[SampleEpoch, ...]
    best: SampleEpoch
    stopped: str


def train_classifier(
    model: Any,
    training: SampleSet,
    validation: SampleSet,
    monitor: SampleMonitor,
    settings: ClassifierSettings,
    *,
    on_epoch: Callable[[Sequence[SampleEpoch]], None] = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> ClassifierResult:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    model : keras.Model
        As `segmentation.networks.classifier.build_classifier` gives it.
    training, validation : SampleSet
        What weights are changed by, and what the epoch is chosen by.
    monitor : SampleMonitor
        Chooses the epoch.
    settings : ClassifierSettings
        The same settings and data give the same weights on one machine.
    on_epoch : callable
        Told all epochs so far after every one.
    is_stopped : callable
        Asked after every epoch.

    Raises
    ------
    ValueError
        If the loss is not a number.
    TrainingStopped
        If `is_stopped` says so.
    """
    course = _Course.of(model, training, validation, settings)
    while not course.reason:
        course.take(monitor)
        on_epoch(course.epochs)
        if is_stopped() and not course.reason:
            raise TrainingStopped(f"stopped at step {course.done}")
    model.set_weights(course.best_weights)
    return ClassifierResult(tuple(course.epochs), course.best, course.reason)


@dataclass(slots=True)
class _Course:
    """A training on its way: the only thing here that changes."""

    model: Any
    working: Any
    metric: Any
    feed: SampleFeed
    scorer: SampleScorer
    settings: ClassifierSettings
    epochs: list[SampleEpoch] = field(default_factory=list)
    best_weights: list[NDArray[Any]] = field(default_factory=list)

    @classmethod
    def of(
        cls, model: Any, training: SampleSet, validation: SampleSet, settings: ClassifierSettings
    ) -> _Course:
        configure()
        classes = int(model.output_shape[-1])
        metric = running_counts(classes, "softmax", None)
        working = with_precision(model, settings.precision)
        loss = classifier_loss(training.labels, classes, settings)
        working.compile(
            make_optimizer(settings), as_keras_loss(loss), metrics=[metric], jit_compile=False
        )
        feed = SampleFeed(
            training,
            image_augmentation(settings.augment),
            settings.shift,
            settings.batch_size,
            settings.seed,
        )
        scorer = SampleScorer.of(model, training, validation)
        return cls(model, working, metric, feed, scorer, settings)

    @property
    def done(self) -> int:
        return self.epochs[-1].steps if self.epochs else 0

    @property
    def best(self) -> SampleEpoch:
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

    def take(self, monitor: SampleMonitor) -> None:
        """Take the steps up to the next validation, and score the weights they lead to."""
        started, before = time.monotonic(), self.epochs[-1].seconds if self.epochs else 0.0
        steps = min(self.settings.steps_per_epoch, self.settings.steps - self.done)
        dataset = self.feed.dataset(self.done, steps)
        logs = self.working.fit(dataset, epochs=1, verbose=0, shuffle=False).history
        loss = float(logs["loss"][0])
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} before step {self.done + steps}; lower the learning rate "
                f"({self.settings.learning_rate}), or look for extreme intensities"
            )
        copy_weights(self.working, self.model)
        epoch = SampleEpoch(
            len(self.epochs) + 1,
            self.done + steps,
            self.settings.steps,
            before + time.monotonic() - started,
            self._rate(self.done + steps - 1),
            loss,
            {"train_running": self._running(), **self.scorer.curves(self.model)},
        )
        self._keep(epoch, monitor)

    def _keep(self, epoch: SampleEpoch, monitor: SampleMonitor) -> None:
        if not self.epochs or monitor.is_better(epoch, self.best):
            epoch = replace(epoch, best=True)
            with reading_weights():
                self.best_weights = [np.array(weight) for weight in self.model.get_weights()]
        self.epochs.append(epoch)

    def _rate(self, step: int) -> float:
        optimizer = self.working.optimizer
        schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
        return float(np.asarray(schedule(step)))

    def _running(self) -> SampleRow:
        counts = np.asarray(self.metric.matrix.numpy(), np.int64)
        return SampleRow.of(counts, float(self.metric.surprise.numpy()))
