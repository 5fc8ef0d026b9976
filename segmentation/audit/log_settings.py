"""How a training was set up: its callbacks, with the defaults of Keras, and its sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["max", "min"]

VALIDATION = "val_"
_FALLING = ("loss", "entropy", "error", "mse", "mae", "hausdorff", "distance", "brier")
_RISING = (
    *("acc", "auc", "dice", "iou", "io_u", "jaccard", "precision", "recall", "f1", "score"),
    *("sensitivity", "specificity", "kappa", "mcc"),
)


def natural_direction(name: str) -> Direction | None:
    """Whether more or less of a quantity is better, by the words in its name; None: unknown."""
    lower = name.lower()
    if any(word in lower for word in _FALLING):
        return "min"
    return "max" if any(word in lower for word in _RISING) else None


def guessed_direction(name: str) -> Direction:
    """What ``mode="auto"`` of Keras 2 made of a name: less is better, but for acc and auc."""
    lower = name.lower()
    return "max" if "acc" in lower or lower.endswith("auc") else "min"


@dataclass(frozen=True, slots=True)
class Stopping:
    """EarlyStopping, with the defaults of Keras.

    Attributes
    ----------
    monitor : str
        Column that it looks at.
    patience : int
        Epochs without a better one after which it stops.
    min_delta : float
        Smaller changes count as none.
    direction : "max", "min" or None
        None: left to Keras.
    """

    monitor: str = "val_loss"
    patience: int = 0
    min_delta: float = 0.0
    direction: Direction | None = None

    @property
    def effective(self) -> Direction:
        """The direction it takes."""
        return self.direction or guessed_direction(self.monitor)


@dataclass(frozen=True, slots=True)
class Plateau:
    """ReduceLROnPlateau, with the defaults of Keras.

    Attributes
    ----------
    monitor : str
        Column that it looks at.
    factor : float
        By which the learning rate is multiplied.
    patience, cooldown : int
        Epochs without a better one before it does, and epochs of rest after.
    min_delta, min_lr : float
        Smaller changes count as none; the learning rate does not go below.
    direction : "max", "min" or None
        None: left to Keras.
    """

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    direction: Direction | None = None

    @property
    def effective(self) -> Direction:
        """The direction it takes."""
        return self.direction or guessed_direction(self.monitor)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """ModelCheckpoint, with the defaults of Keras.

    Attributes
    ----------
    monitor : str
        Column that it looks at.
    direction : "max", "min" or None
        None: left to Keras.
    save_best_only : bool
        Without it every epoch is kept, and the monitor decides nothing.
    """

    monitor: str = "val_loss"
    direction: Direction | None = None
    save_best_only: bool = False

    @property
    def effective(self) -> Direction:
        """The direction it takes."""
        return self.direction or guessed_direction(self.monitor)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the training was made, as far as the text tells; None: not known.

    Attributes
    ----------
    stopping, plateau : Stopping, Plateau or None
        Callbacks.
    checkpoints : tuple of Checkpoint
        More callbacks.
    epochs, steps, batch_size : int or None
        Planned epochs, steps of one, samples a step.
    samples, validation_samples : int or None
        Of the training and the validation part.
    validation_split, learning_rate : float or None
        As given to ``fit`` and to the optimizer.
    loss : str or None
        Its name.
    metrics : tuple of str
        As given to ``compile``.
    num_classes : int or None
        Channels of the output.
    foreground_share : float or None
        Share of voxels of the one class looked for.
    batch_norm : bool or None
        Whether the network has such layers.
    monitor : str or None
        Column by which the epoch was chosen.
    keras : int or None
        Version of the lines, 2 or 3.
    """

    stopping: Stopping | None = None
    plateau: Plateau | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    samples: int | None = None
    validation_samples: int | None = None
    validation_split: float | None = None
    learning_rate: float | None = None
    loss: str | None = None
    metrics: tuple[str, ...] = ()
    num_classes: int | None = None
    foreground_share: float | None = None
    batch_norm: bool | None = None
    monitor: str | None = None
    keras: int | None = None
