"""Findings on the mask of a run, without truth: tiles, intensities, seams, drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.audit_images import MOST_CROPS, crop_regions
from flows.model import open_model
from flows.work import IDENTITY
from segmentation.audit.coverage import gone_finding
from segmentation.audit.drift import drift_findings
from segmentation.audit.faces import shard_faces, tile_faces
from segmentation.audit.inference import mapping_findings, plan_findings
from segmentation.audit.mask_scan import scan_mask
from segmentation.audit.seams import seam_findings
from segmentation.audit.tile_norm import tile_jumps, tile_norm_findings
from segmentation.bundle import BundleError
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import read_block
from storage.errors import StorageError
from storage.intensity import percentiles
from storage.ome_labels import parse_label_classes
from storage.volume import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.audit.finding import Finding
    from segmentation.audit.thresholds import Thresholds
    from segmentation.bundle import Card
    from storage.volume import Image, Volume

SECTION_AXES = "zt"
CROP = 256


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a run, as far as it can be opened."""

    document: dict[str, Any]
    plan: ShardPlan
    image: Image | None
    mask: Image | None
    card: Card | None


def mask_findings(document: dict[str, Any], thresholds: Thresholds) -> list[Finding]:
    """Findings on a segmentation from its run.json, its image, its bundle and its mask.

    Parameters
    ----------
    document : dict
        run.json.
    thresholds : Thresholds
        When a finding is made.
    """
    if document["job"]["model"] == IDENTITY:
        return []
    job = document["job"]
    left = _Left(
        document,
        ShardPlan.from_dict(document["plan"]),
        _opened(job["image"]),
        _opened(document["target"]),
        _card(document),
    )
    parts = (
        ("image", job["image"], left.image),
        ("mask", document["target"], left.mask),
        ("bundle", job["model"], left.card),
    )
    found = [gone_finding(what, place) for what, place, part in parts if part is None]
    return [*found, *_network(left, thresholds), *_voxels(left, thresholds)]


def _opened(url: str) -> Image | None:
    try:
        return open_image(url)
    except (StorageError, OSError):
        # Scores outlive images; what cannot be looked at is said in the findings.
        return None


def _card(document: dict[str, Any]) -> Card | None:
    """The card of the bundle that the run used; None if it is gone or is another one now."""
    try:
        model = open_model(document["job"]["model"])
    except (BundleError, OSError):
        return None
    return model.card if model.digest == document["identity"]["bundle"] else None


def _network(left: _Left, thresholds: Thresholds) -> Iterator[Finding]:
    """The run against its bundle: how tiles were laid, how intensities were scaled."""
    if left.card is None:
        return
    axes = left.mask.volumes[0].axes if left.mask else "tzyx"[-len(left.plan.shape) :]
    yield from plan_findings(left.plan.spec, left.card, axes)
    if left.image is not None and left.document["intensity"]:
        yield from _intensities(left, left.image, left.card, thresholds)


def _intensities(
    left: _Left, image: Image, card: Card, thresholds: Thresholds
) -> Iterator[Finding]:
    used, rule = left.document["intensity"], card.intensity
    base, channels = image.volumes[0], left.document["job"].get("channels")
    if rule["rule"] == "fixed":
        yield from _fixed(left, base, card, thresholds)
        measured = list(rule["low"]), list(rule["high"])
    else:
        low, high, _ = percentiles(base, rule["low"], rule["high"], scheduler="threads")
        chosen = channels or range(len(low))
        measured = [low[c] for c in chosen], [high[c] for c in chosen]
    yield from mapping_findings((used["low"], used["high"]), measured, thresholds.inference)


def _fixed(left: _Left, base: Volume, card: Card, thresholds: Thresholds) -> list[Finding]:
    """Voxels of a few crops against the intensities that the network was made for."""
    from segmentation.audit.model_input import ImageRange, intensity_findings

    region = left.plan.region
    crop = [min(CROP, extent) for extent in region.shape[-2:]]
    channel, chosen = base.axes.find("c"), left.document["job"].get("channels")
    blocks = [
        read_block(base, place, channel if channel >= 0 else None, chosen)
        for place in crop_regions(region, crop, MOST_CROPS)
    ]
    voxels = np.concatenate([block.reshape(-1, block.shape[-1]) for block in blocks])
    found = ImageRange.of(voxels, base.dtype, card.intensity["low"], card.intensity["high"])
    return intensity_findings(card.intensity, found, thresholds)


def _voxels(left: _Left, thresholds: Thresholds) -> Iterator[Finding]:
    """Seams and drift of the mask."""
    names = [c.name for c in parse_label_classes(left.mask.attributes)] if left.mask else []
    if left.mask is None or not names:
        return
    mask, plan = left.mask.volumes[0], left.plan
    section = next((mask.axes.find(axis) for axis in SECTION_AXES if axis in mask.axes), None)
    scan = scan_mask(mask, plan.region, mask.chunks, num_classes=len(names), section_axis=section)
    faces = tile_faces(plan)
    seams = list(seam_findings(scan, mask.axes, faces, thresholds.inference, plan.spec.stride))
    if seams and left.image is not None:
        shades = _Channel(left.image.volumes[0], left.document["job"].get("channels"))
        jumps = tile_jumps(shades, mask, plan.region, faces)
        yield from tile_norm_findings(jumps, mask.axes, thresholds.inference)
    yield from seams
    if section is not None:
        borders = shard_faces(plan, section)
        yield from drift_findings(scan, section, borders, names, thresholds.inference)


@dataclass(frozen=True, slots=True)
class _Channel:
    """The first channel of an image that the network saw."""

    volume: Volume
    channels: list[int] | None

    def __getitem__(self, slices: tuple[slice, ...]) -> np.ndarray:
        region = Region(tuple(s.start for s in slices), tuple(s.stop for s in slices))
        channel = self.volume.axes.find("c")
        chosen = (self.channels or [0])[:1]
        block = read_block(
            self.volume, region, channel if channel >= 0 else None, chosen if channel >= 0 else None
        )
        return block[..., 0]
