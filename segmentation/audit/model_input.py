"""Findings on the intensities that reach a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.model_head import is_weighted
from segmentation.networks.graph import read_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras
    from numpy.typing import NDArray

    from segmentation.audit.thresholds import Thresholds
    from segmentation.networks.graph import Graph

# Layers that bring intensities to the size a network wants.
NORMALISING = frozenset({"Rescaling", "Normalization", "BatchNormalization", "LayerNormalization"})
QUANTILES = (0.0, 1.0, 50.0, 99.0, 100.0)
# Bits of a detector: largest intensity of 8, 10, 12, 14 and 16 bits.
FULL_RANGES = (255, 1023, 4095, 16383, 65535)
# Part of the range of a bundle that the middle 98 % of an image should at least fill.
FILLED = 0.02


@dataclass(frozen=True, slots=True)
class ImageRange:
    """What intensities an image has.

    Attributes
    ----------
    dtype : str
        Of its voxels, such as "uint8".
    quantiles : tuple of (tuple of float)
        Those of `QUANTILES`, one tuple a channel.
    outside : tuple of float
        Share of the voxels outside the low and high intensity of a bundle, one a channel.
    """

    dtype: str
    quantiles: tuple[tuple[float, ...], ...]
    outside: tuple[float, ...]

    @classmethod
    def of(
        cls, voxels: NDArray[Any], dtype: str, low: Sequence[float], high: Sequence[float]
    ) -> ImageRange:
        """Of some voxels, shape (..., channels), against the intensities of a bundle."""
        flat = voxels.reshape(-1, voxels.shape[-1]).astype(np.float64)
        beyond = (flat < np.asarray(low)) | (flat > np.asarray(high))
        quantiles = np.percentile(flat, QUANTILES, axis=0).T
        return cls(
            dtype, tuple(map(tuple, quantiles.tolist())), tuple(beyond.mean(axis=0).tolist())
        )


def intensity_findings(
    rule: Mapping[str, Any], found: ImageRange, thresholds: Thresholds
) -> list[Finding]:
    """Whether an image has the intensities a bundle was made for.

    A bundle that takes percentiles of each image fits any; one with fixed intensities does not.

    Parameters
    ----------
    rule : mapping
        ``intensity`` of the card.
    found : ImageRange
        Of the image.
    thresholds : Thresholds
        When a finding is made.
    """
    if rule["rule"] != "fixed" or _is_identity(rule):
        return []
    low, high = rule["low"], rule["high"]
    channel = int(np.argmax([_misfit(found, low, high, c) for c in range(len(low))]))
    misfit = _misfit(found, low, high, channel)
    if misfit <= thresholds.inference.outside:
        return []
    return [_range_finding(rule, found, channel, thresholds)]


def _is_identity(rule: Mapping[str, Any]) -> bool:
    """Whether intensities go to the network as they are."""
    return all(value == 0 for value in rule["low"]) and all(value == 1 for value in rule["high"])


def _misfit(found: ImageRange, low: Sequence[float], high: Sequence[float], c: int) -> float:
    """Share of voxels outside the range; or, if it is hardly filled, the part of it left empty."""
    dark, bright = found.quantiles[c][1], found.quantiles[c][3]
    filled = (bright - dark) / (high[c] - low[c])
    return 1.0 - filled if filled < FILLED else found.outside[c]


def _range_finding(
    rule: Mapping[str, Any], found: ImageRange, channel: int, thresholds: Thresholds
) -> Finding:
    low, high = rule["low"][channel], rule["high"][channel]
    quantiles = found.quantiles[channel]
    other = _depth(high) != _depth(quantiles[-1])
    why = (
        f"It looks like {_depth(high)}-bit images there and {_depth(quantiles[-1])}-bit here."
        if other
        else "The image was taken with other settings, or prepared in another way."
    )
    return Finding(
        code="INFER-DTYPE-RANGE" if other else "INFER-NORM-MISMATCH",
        severity="error",
        statement=f"The network was made for intensities from {low:g} to {high:g}, and this image "
        f"({found.dtype}) lies between {quantiles[1]:g} and {quantiles[3]:g}. {why}",
        rule=f"At most {thresholds.inference.outside:.0%} of the voxels may lie outside the "
        f"bundle's intensities, here {found.outside[channel]:.1%}; and 98 % of them must fill at "
        f"least {FILLED:.0%} of that range.",
        advice="Import the image in the units of the training images, or pack the network with "
        "the percentiles of each image: `maskmill pack MODEL.keras BUNDLE "
        "--intensity-percentiles 1,99`.",
        proves_not="That the network cannot see through it; scores against truth tell.",
        evidence=(_quantile_table(found),),
    )


def _depth(largest: float) -> int:
    """Bits of the smallest detector range that holds an intensity; 0 for fractions."""
    if largest <= 1:
        return 0
    fitting = [limit for limit in FULL_RANGES if largest <= limit]
    return int(np.log2(fitting[0] + 1)) if fitting else 32


def _quantile_table(found: ImageRange) -> Table:
    heads = ("least", "1 %", "median", "99 %", "largest")
    rows = tuple((channel, *row) for channel, row in enumerate(found.quantiles))
    return Table("ImageRange of the image", ("channel", *heads), rows)


def scale_findings(
    model: keras.Model, batches: Sequence[NDArray[np.float32]], thresholds: Thresholds
) -> list[Finding]:
    """Whether what reaches a network is of a size that networks learn from.

    Parameters
    ----------
    model : keras.Model
        One that begins with a normalising layer is left alone.
    batches : sequence of float32, shape (batch, *spatial, channels)
        As the network is shown them.
    thresholds : Thresholds
        When a finding is made.
    """
    mean, deviation, largest = _moments(batches)
    limits = thresholds.data
    steep = abs(mean) > limits.unscaled_ratio * deviation
    if not (steep or largest > limits.unscaled_most) or normalises(read_graph(model)):
        return []
    return [_unscaled(mean, deviation, largest, thresholds)]


def normalises(graph: Graph) -> bool:
    """Whether a network scales its input before it weighs it."""
    for step in graph.steps:
        if step.kind in NORMALISING or is_weighted(step):
            return step.kind in NORMALISING
    return False


def _moments(batches: Sequence[NDArray[np.float32]]) -> tuple[float, float, float]:
    """Mean, standard deviation and largest size of all values, in float64."""
    count = sum(batch.size for batch in batches)
    mean = sum(float(batch.sum(dtype=np.float64)) for batch in batches) / count
    squares = sum(float(((batch - mean) ** 2).sum(dtype=np.float64)) for batch in batches)
    return mean, (squares / count) ** 0.5, max(float(np.abs(batch).max()) for batch in batches)


def _unscaled(mean: float, deviation: float, largest: float, thresholds: Thresholds) -> Finding:
    limits = thresholds.data
    return Finding(
        code="DATA-UNSCALED",
        severity="warning",
        statement=f"ImageRange reach the network unscaled: up to {largest:,.0f}, with a mean of "
        f"{mean:,.1f} and a standard deviation of {deviation:,.2f}; it has no layer that scales "
        "them.",
        rule=f"Values above {limits.unscaled_most:g} (measured {largest:,.1f}), or a mean of more "
        f"than {limits.unscaled_ratio:g} standard deviations (measured "
        f"{abs(mean) / max(deviation, 1e-12):,.1f}).",
        advice="Train with scaled images, which `maskmill train` does by itself; a packed network "
        "needs `maskmill pack --intensity-percentiles 1,99`, or a training on what it gets.",
        proves_not="That it has not learned: a first BatchNorm layer can make up for the size.",
        evidence=(
            Table(
                "What reaches the network",
                ("measured", "value"),
                (("mean", mean), ("standard deviation", deviation), ("largest size", largest)),
            ),
        ),
    )
