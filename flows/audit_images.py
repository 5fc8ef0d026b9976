"""Crops of an image to look at a network with: few, and spread by a rule without chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.audit_sample_images import read_calibration
from flows.errors import RequestError
from flows.model import check_network_axes
from flows.prepare import open_truth
from segmentation.normalize import IntensityTransform
from segmentation.region import Region, parse_region
from segmentation.shard import read_block
from segmentation.training.samples import fitting_crop
from storage.intensity import percentiles
from storage.volume import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.jobs import AuditJob
    from flows.model import Model
    from segmentation.audit.model_calibration import Calibration
    from segmentation.bundle import Card
    from storage.volume import Image

CROP = {"yx": (256, 256), "zyx": (32, 96, 96)}
MOST_CROPS = 8
GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Shown:
    """What a network is shown.

    Attributes
    ----------
    calibration : Calibration
        Normalised, with truth if there is any.
    raw : tuple of numpy.ndarray
        The same voxels as they are stored, channels last.
    dtype : str
        Of the stored voxels.
    source : dict
        Where they come from, for the provenance of a bundle.
    """

    calibration: Calibration
    raw: tuple[NDArray[Any], ...]
    dtype: str
    source: dict[str, Any]


def open_shown(job: AuditJob, model: Model, input_shape: Sequence[int | None]) -> Shown:
    """Crops or images of ``--on``, as the network of a bundle is shown them.

    Parameters
    ----------
    job : AuditJob
        Its ``on``, ``truth`` and ``region`` count.
    model : Model
        The bundle.
    input_shape : sequence of int or None
        Spatial extents of the network's input; None where they are free.

    Raises
    ------
    RequestError, StorageError
        If image, truth or region do not suit the bundle.
    """
    card = model.card
    if card is None or job.on is None:
        raise RequestError("give --on IMAGE.zarr, to look at the bundle's network with")
    if card.task == "classification":
        return Shown(*read_calibration(job, job.on, card))
    return _crops(job, job.on, model, card, input_shape)


def _crops(
    job: AuditJob, url: str, model: Model, card: Card, input_shape: Sequence[int | None]
) -> Shown:
    from segmentation.audit.model_calibration import Calibration

    image = open_image(url)
    base = image.volumes[0]
    axes = base.axes.replace("c", "")
    shape = tuple(n for axis, n in zip(base.axes, base.shape, strict=True) if axis != "c")
    check_network_axes(axes, model)
    _check_channels(image, card)
    region = parse_region(job.region, axes, shape)
    truth = open_truth(image.url, job.truth, shape).volumes[0] if job.truth else None
    places = crop_regions(region, _extents(card, region, input_shape), MOST_CROPS)
    transform, channel = _transform(image, card), base.axes.find("c")
    raw = [read_block(base, place, None if channel < 0 else channel, None) for place in places]
    size = places[0].shape[-len(card.axes) :]
    calibration = Calibration(
        tuple(transform(block).reshape(1, *size, card.channels) for block in raw),
        None if truth is None else tuple(truth[p.slices].reshape(1, *size) for p in places),
    )
    source = {"image": url, "region": job.region, "crops": len(places), "crop": list(size)}
    return Shown(calibration, tuple(raw), base.dtype, source)


def _check_channels(image: Image, card: Card) -> None:
    base = image.volumes[0]
    have = base.shape[base.axes.index("c")] if "c" in base.axes else 1
    if have != card.channels:
        raise RequestError(
            f"the image has {have} channels and the network takes {card.channels}; give --on an "
            "image with the channels it was trained on"
        )


def _extents(card: Card, region: Region, input_shape: Sequence[int | None]) -> tuple[int, ...]:
    """Extents of a crop: the network's own if they are fixed, else usual ones that fit."""
    fixed = [extent for extent in input_shape if extent is not None]
    if not fixed:
        return fitting_crop([region], CROP[card.axes], card.stride)
    have = region.shape[-len(fixed) :]
    if len(fixed) < len(input_shape) or any(a < b for a, b in zip(have, fixed, strict=True)):
        raise RequestError(
            f"the network takes tiles of {tuple(input_shape)} voxels and the region has {have}; "
            "give a larger image or --region"
        )
    return tuple(fixed)


def crop_regions(region: Region, crop: Sequence[int], most: int) -> list[Region]:
    """Crops spread evenly over a region.

    Parameters
    ----------
    region : Region
        Along all axes.
    crop : sequence of int
        Extents along the last axes, not larger than the region's; along the others it is 1.
    most : int
        Crops at most.

    Returns
    -------
    list of Region
        Different ones; the whole region is covered where `most` allows.
    """
    extents = (1,) * (len(region.shape) - len(crop)) + tuple(crop)
    counts = [-(-size // extent) for size, extent in zip(region.shape, extents, strict=True)]
    total = math.prod(counts)
    chosen = min(most, total)
    found = []
    for number in range(chosen):
        first, stop = number * total // chosen, (number + 1) * total // chosen
        # The place within the run moves on, or a run of a row's length would read one column.
        index = first + int((number * GOLDEN_RATIO) % 1.0 * (stop - first))
        cell = np.unravel_index(index, counts)
        start = tuple(
            low + min(int(i) * extent, size - extent)
            for low, i, extent, size in zip(region.start, cell, extents, region.shape, strict=True)
        )
        found.append(Region(start, tuple(a + n for a, n in zip(start, extents, strict=True))))
    return found


def _transform(image: Image, card: Card) -> IntensityTransform:
    rule = card.intensity
    if rule["rule"] == "fixed":
        return IntensityTransform(tuple(rule["low"]), tuple(rule["high"]))
    low, high, _ = percentiles(image.volumes[0], rule["low"], rule["high"], scheduler="threads")
    return IntensityTransform(low, high)
