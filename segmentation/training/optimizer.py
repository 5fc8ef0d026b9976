"""The optimizer of every training: AdamW, whose learning rate rises and then falls to 0."""

from __future__ import annotations

from typing import Any, Protocol

from segmentation.networks.runtime import import_keras


class Course(Protocol):
    """What the optimizer takes from the settings of a training."""

    @property
    def steps(self) -> int:
        """In all."""

    @property
    def warm_up_steps(self) -> int:
        """Of the linear rise."""

    @property
    def learning_rate(self) -> float:
        """Its peak."""

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""

    @property
    def largest_gradient(self) -> float:
        """Norm to which gradients are shortened."""

    @property
    def precision(self) -> str:
        """Of the steps."""


def make_optimizer(settings: Course) -> Any:
    """AdamW (Loshchilov & Hutter, ICLR 2019); a linear rise of the rate, then a cosine to 0."""
    keras = import_keras()
    warm_up = settings.warm_up_steps
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else settings.learning_rate,
        settings.steps - warm_up,
        warmup_target=settings.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=settings.weight_decay, global_clipnorm=settings.largest_gradient
    )
    if settings.precision == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
