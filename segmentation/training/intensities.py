"""Intensities varied as exposure, stain and detector vary them; no voxel is moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.training.augment import Augmentation

    Voxels = NDArray[np.float32]

# In the order in which they happen: the specimen, the lens, the detector.
STEPS = ("contrast", "brightness", "gamma", "blur", "poisson", "noise")
# Standard deviations after which a Gaussian is cut off.
BLUR_REACH = 3.0


def vary(
    rng: np.random.Generator, image: Voxels, settings: Augmentation, steps: list[str]
) -> Voxels:
    """Change intensities by chance; all channels alike.

    Parameters
    ----------
    image : float32, shape (z, y, x, channels)
        Intensities, about 0 to 1.
    steps : list of str
        What was done is added to it.
    """
    for name in STEPS:
        if rng.random() >= getattr(settings, name):
            continue
        if name == "brightness":
            amount = rng.uniform(-settings.brightness_shift, settings.brightness_shift)
            image = image + np.float32(amount)
            steps.append(f"brightness {amount:+.2f}")
            continue
        low, high = getattr(settings, f"{name}_range")
        # Halving is as likely as doubling.
        amount = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        image, words = _changed(name, rng, image, amount)
        steps.append(words)
    return image


def _changed(
    name: str, rng: np.random.Generator, image: Voxels, amount: float
) -> tuple[Voxels, str]:
    if name == "contrast":
        return _contrast(image, amount), f"contrast × {amount:.2f}"
    if name == "gamma":
        return _gamma(image, amount), f"gamma {amount:.2f}"
    if name == "blur":
        return _blur(image, amount), f"blur {amount:.1f} px"
    if name == "poisson":
        return _poisson(rng, image, amount), f"Poisson noise of {amount:.0f} counts"
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return image + np.float32(amount) * noise, f"noise {amount:.2f}"


def _contrast(image: Voxels, factor: float) -> Voxels:
    """Distance from each channel's mean, times a factor."""
    mean = image.mean(axis=(0, 1, 2), keepdims=True)
    return np.asarray(mean + np.float32(factor) * (image - mean))


def _gamma(image: Voxels, exponent: float) -> Voxels:
    """A power of the intensities between the least and the greatest, which stay."""
    low, high = image.min(), image.max()
    if low == high:
        return image
    return np.asarray(low + (high - low) * ((image - low) / (high - low)) ** np.float32(exponent))


def _blur(image: Voxels, deviation: float) -> Voxels:
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(
        image, (0, deviation, deviation, 0), mode="mirror", truncate=BLUR_REACH
    )
    return np.asarray(blurred, np.float32)


def _poisson(rng: np.random.Generator, image: Voxels, counts: float) -> Voxels:
    """Noise of counted particles, ``counts`` of them at intensity 1; below 0 there is none."""
    expected = np.maximum(image, 0) * np.float32(counts)
    return image + (rng.poisson(expected).astype(np.float32) - expected) / np.float32(counts)
