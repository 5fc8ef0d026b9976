"""Crops varied as microscopes, sections and stains vary; labels are moved and never mixed.

What moves voxels moves image and labels by one map: the image is interpolated, a label is that
of the nearest voxel, so the labels that come out are labels that went in. What changes
intensities leaves labels alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.training import intensities, sections, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUGMENTATIONS = ("none", "flips", "standard")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How likely each change is, and how large it may be; as it is, nothing is changed.

    Attributes
    ----------
    flip : float
        Probability of a flip, for each axis by itself.
    turn : float
        Probability of a turn by 90, 180 or 270 degrees in the plane of y and x; by 180 degrees
        only where the plane is not square.
    rotate, scale, elastic : float
        Probability of a rotation, a change of size and an elastic deformation in the plane of
        y and x. Sections of a block are all deformed alike.
    rotate_degrees : float
        Largest rotation, either way, in degrees.
    scale_range : tuple of float
        Factors on lengths.
    elastic_voxels, elastic_spacing : float
        Largest shift of the control points in y and x, and their distance, in voxels.
    brightness, contrast, gamma, blur, noise, poisson : float
        Probability of each change of intensities.
    brightness_shift : float
        Largest shift, either way; an intensity of 1 is about the brightest of the volume.
    contrast_range : tuple of float
        Factors on the distance from the mean of the crop.
    gamma_range : tuple of float
        Exponents, between the least and the greatest intensity of the crop.
    blur_range : tuple of float
        Standard deviations of a Gaussian in y and x, in voxels.
    noise_range : tuple of float
        Standard deviations of Gaussian noise, in intensity.
    poisson_range : tuple of float
        Particles counted in a voxel of intensity 1; the fewer, the noisier.
    missing : float
        Probability that one section of a block holds nothing but its mean. Its labels stay.
    shift : float
        Probability that one section of a block, with its labels, is shifted.
    shift_voxels : int
        Largest shift in y and x, in voxels.
    """

    flip: float = 0.0
    turn: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    elastic: float = 0.0
    rotate_degrees: float = 15.0
    scale_range: tuple[float, float] = (0.85, 1.18)
    elastic_voxels: float = 10.0
    elastic_spacing: float = 32.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    poisson: float = 0.0
    brightness_shift: float = 0.1
    contrast_range: tuple[float, float] = (0.75, 1.33)
    gamma_range: tuple[float, float] = (0.75, 1.33)
    blur_range: tuple[float, float] = (0.4, 1.0)
    noise_range: tuple[float, float] = (0.01, 0.08)
    poisson_range: tuple[float, float] = (50.0, 500.0)
    missing: float = 0.0
    shift: float = 0.0
    shift_voxels: int = 4

    def __post_init__(self) -> None:
        for name in ("flip", "turn", *warp.STEPS, *intensities.STEPS, *sections.STEPS):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")
        for name in (field.name for field in fields(self) if field.name.endswith("_range")):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is {(low, high)}; expected 0 < low <= high")
        if self.elastic_voxels >= warp.FOLD * self.elastic_spacing:
            raise ValueError(
                f"elastic_voxels {self.elastic_voxels} would fold the crop; expected less than "
                f"{warp.FOLD} of elastic_spacing {self.elastic_spacing}"
            )


def augmentation(name: str) -> Augmentation:
    """Settings by name.

    Parameters
    ----------
    name : "none", "flips" or "standard"
        Nothing; flips and right-angle turns, all positions alike; all that is sensible for
        microscopy.

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
        return Augmentation(flip=0.5, turn=0.75)
    return Augmentation(
        flip=0.5,
        turn=0.75,
        rotate=0.15,
        scale=0.15,
        elastic=0.1,
        brightness=0.3,
        contrast=0.3,
        gamma=0.3,
        blur=0.15,
        noise=0.2,
        poisson=0.1,
        missing=0.1,
        shift=0.1,
    )


@dataclass(frozen=True, slots=True)
class Augmented:
    """A crop after augmentation.

    Attributes
    ----------
    image : float32, shape (*spatial, channels)
        Intensities.
    labels : shape (*spatial)
        In the dtype they came in.
    steps : tuple of str
        What was done, in words, in its order.
    """

    image: NDArray[np.float32]
    labels: NDArray[Any]
    steps: tuple[str, ...]


def augment(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[Any],
    settings: Augmentation,
) -> Augmented:
    """Vary a crop by chance.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    image : float32, shape (*spatial, channels)
        Intensities, about 0 to 1; spatial axes are (y, x) or (z, y, x).
    labels : shape (*spatial)
        Integers of any dtype; values that are to be ignored are moved as all others.
    settings : Augmentation
        What may happen.

    Returns
    -------
    Augmented
        Of the same shapes and dtypes; the arrays given are not changed.

    Raises
    ------
    ValueError
        If image and labels do not fit each other.
    """
    _check(image, labels)
    shape = labels.shape
    steps: list[str] = []
    # One way for both: a plane is a block of one section.
    block = (1,) * (3 - len(shape)) + shape
    voxels, truth = image.reshape(*block, -1), labels.reshape(block)
    voxels, truth = _flip_and_turn(rng, voxels, truth, settings, steps)
    voxels, truth = warp.warp(rng, voxels, truth, settings, steps)
    voxels, truth = sections.shift_one(rng, voxels, truth, settings, steps)
    voxels = intensities.vary(rng, voxels, settings, steps)
    voxels = sections.lose_one(rng, voxels, settings, steps)
    return Augmented(
        np.ascontiguousarray(voxels, np.float32).reshape(image.shape),
        np.ascontiguousarray(truth).reshape(shape),
        tuple(steps),
    )


def _check(image: NDArray[Any], labels: NDArray[Any]) -> None:
    if labels.ndim not in (2, 3) or image.shape[:-1] != labels.shape:
        raise ValueError(
            f"image of shape {image.shape} and labels of shape {labels.shape}; expected "
            "(y, x, channels) and (y, x), or (z, y, x, channels) and (z, y, x)"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype}; expected integers")


def _flip_and_turn(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[Any],
    settings: Augmentation,
    steps: list[str],
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Move whole voxels: along every axis that has more than one, and in the plane."""
    flipped = tuple(
        axis for axis in range(3) if rng.random() < settings.flip and labels.shape[axis] > 1
    )
    if flipped:
        image, labels = np.flip(image, flipped), np.flip(labels, flipped)
        steps.append("flip " + " and ".join("zyx"[axis] for axis in flipped))
    if rng.random() < settings.turn:
        turns = int(rng.integers(1, 4)) if labels.shape[1] == labels.shape[2] else 2
        image, labels = np.rot90(image, turns, (1, 2)), np.rot90(labels, turns, (1, 2))
        steps.append(f"turn {90 * turns}°")
    return image, labels
