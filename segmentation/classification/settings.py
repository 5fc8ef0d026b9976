"""How to train a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from segmentation.training.augment import AUGMENTATIONS, Augmentation

# Share of the steps in which the learning rate rises.
WARM_UP_SHARE = 0.1
CLASS_WEIGHTS = ("none", "sqrt", "inverse")


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """How to train a classifier.

    Attributes
    ----------
    batch_size, steps : int
        Images a step, and steps in all.
    steps_per_epoch : int
        Steps between two validations.
    learning_rate : float
        Its peak, after a linear rise; a cosine takes it to 0 at the last step.
    weight_decay : float
        Of AdamW (Loshchilov & Hutter, ICLR 2019).
    largest_gradient : float
        Norm of all gradients together, above which they are shortened to it.
    label_smoothing : float
        Share of the truth that is spread evenly over the classes, so that no answer has to become
        certain (Szegedy et al., CVPR 2016).
    class_weights : "none", "sqrt" or "inverse"
        Weight of an image in the loss, by how rare its class is.
    augment : "none", "flips" or "standard"
        See `image_augmentation`.
    shift : float
        Largest shift of an image along y and x, as a share of its extents, where it is augmented.
    precision : "float32", "bfloat16" or "float16"
        Of the steps. Scores are always those of float32.
    patience : int or None
        Epochs without a better one after which training stops; None takes all steps.
    seed : int
        Of order and augmentation.
    """

    batch_size: int = 32
    steps: int = 1500
    steps_per_epoch: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    largest_gradient: float = 1.0
    label_smoothing: float = 0.1
    class_weights: str = "none"
    augment: str = "standard"
    shift: float = 0.08
    precision: str = "float32"
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "steps_per_epoch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("label_smoothing", "shift"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more, below 1")
        if self.class_weights not in CLASS_WEIGHTS:
            raise ValueError(
                f"class_weights is {self.class_weights!r}; "
                f"expected one of {', '.join(CLASS_WEIGHTS)}"
            )
        image_augmentation(self.augment)

    @property
    def warm_up_steps(self) -> int:
        """Steps of the linear rise of the learning rate."""
        return int(self.steps * WARM_UP_SHARE)


def image_augmentation(name: str) -> Augmentation:
    """How whole images are varied.

    Parameters
    ----------
    name : "none", "flips" or "standard"
        Nothing; left and right, top and bottom; these, and small changes of place, size and
        intensity. Images stay upright, as bodies and figures are.

    Raises
    ------
    ValueError
        If the name is another.
    """
    if name not in AUGMENTATIONS:
        raise ValueError(f"augmentation is {name!r}; expected one of {', '.join(AUGMENTATIONS)}")
    if name == "none":
        return Augmentation()
    if name == "flips":
        return Augmentation(flip=0.5)
    return Augmentation(
        flip=0.5,
        rotate=0.5,
        scale=0.5,
        rotate_degrees=12.0,
        brightness=0.3,
        contrast=0.3,
        gamma=0.3,
        blur=0.1,
        noise=0.2,
    )
