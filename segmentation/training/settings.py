"""How to train."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP_STEPS = 100
# Share of the steps, where these are few.
WARM_UP_SHARE = 0.1


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
        Its peak, after a short linear rise; a cosine takes it to 0 at the last step.
    weight_decay : float
        Of AdamW (Loshchilov & Hutter, ICLR 2019).
    largest_gradient : float
        Norm of all gradients together, above which they are shortened to it: without BatchNorm a
        single wild step can end a training.
    loss, class_weights : str
        See `segmentation.training.losses.make_loss`.
    class_share : float
        Share of crops laid around a voxel of a class drawn at random.
    augment : str
        See `segmentation.training.augment.augmentation`.
    precision : str
        "float32", "bfloat16" or "float16": of the steps. Scores are always those of float32.
    patience : int or None
        Epochs without a better one after which training stops; None takes all steps.
    ignore_label : int or None
        Truth that counts for nothing.
    seed : int
        Of crops and augmentation.
    """

    crop: tuple[int, ...] = (256, 256)
    batch_size: int = 4
    steps: int = 1800
    steps_per_epoch: int = 200
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    largest_gradient: float = 1.0
    loss: str = "cross-entropy+dice"
    class_weights: str = "none"
    class_share: float = 0.5
    augment: str = "standard"
    precision: str = "float32"
    patience: int | None = None
    ignore_label: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "steps_per_epoch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        if not 0 <= self.class_share <= 1:
            raise ValueError(f"class_share is {self.class_share}; expected 0 to 1")

    @property
    def warm_up_steps(self) -> int:
        """Steps of the linear rise of the learning rate."""
        return min(WARM_UP_STEPS, int(self.steps * WARM_UP_SHARE))
