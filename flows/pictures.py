"""Sections drawn from the stores: evenly spaced ones, and the worst of every class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.report.numbers import score_number
from flows.report.png import Color, Picture, draw_picture
from segmentation.region import Region
from segmentation.shard import read_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.volume import Image

SECTIONS = 3
WORST = 2
PICTURE_EXTENT = 640
# A section with fewer voxels of a class says nothing of it.
LEAST_SUPPORT = 50


@dataclass(frozen=True, slots=True)
class Scene:
    """What pictures are drawn from.

    Attributes
    ----------
    image, mask : Image
        Of the same levels, but for the image's channels.
    truth : Image or None
        Label that the mask is compared with.
    region : Region
        Voxels of level 0 that were looked at.
    colors : mapping
        Label value to red, green, blue.
    channels : tuple of int or None
        Channels of the image that are shown; None for all.
    ignore_label : int or None
        Truth of this value is no error.
    objects : bool
        Labels hold object ids: any id is right where the truth has one.
    """

    image: Image
    mask: Image
    truth: Image | None
    region: Region
    colors: Mapping[int, Color]
    channels: tuple[int, ...] | None = None
    ignore_label: int | None = None
    objects: bool = False

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the mask, level by level."""
        return [volume.shape for volume in self.mask.volumes]

    @property
    def levels(self) -> int:
        """Levels that all labels and the image have."""
        found = [self.image, self.mask] + ([self.truth] if self.truth else [])
        return min(len(label.volumes) for label in found)


def section_pictures(scene: Scene) -> list[Picture]:
    """Evenly spaced sections, from the coarsest level that still fills the picture."""
    level = _picture_level(scene, scene.shapes[: scene.levels])
    window = _window(scene, level)
    leading = [range(a, b) for a, b in zip(window.start[:-2], window.stop[:-2], strict=True)]
    total = math.prod(len(r) for r in leading)
    chosen = sorted({total * (2 * i + 1) // (2 * SECTIONS) for i in range(SECTIONS)})
    places = (_place(leading, number) for number in chosen)
    return [_draw(scene, level, Region(*_section(place, window))) for place in places]


def worst_picture(scene: Scene, result: Mapping[str, Any], volume: int = 0) -> Picture | None:
    """The section with the lowest macro-foreground Dice, if sections have scores at all."""
    slices = result.get("slices")
    if scene.truth is None or not slices or len(scene.shapes[0]) < 3:
        return None
    rows = [row for row in slices["rows"] if row["image"] == volume]
    scored = [row for row in rows if row["macro_foreground_dice"] is not None]
    if not scored:
        return None
    row = min(scored, key=lambda row: (row["macro_foreground_dice"], row["index"]))
    level = _picture_level(scene, _as_deep(scene))
    region = Region(*_section(_row_place(scene, row), _window(scene, level)))
    note = f"macro-foreground Dice {score_number(row['macro_foreground_dice'])}"
    return _draw(scene, level, region, note=note)


def worst_pictures(
    scene: Scene, result: Mapping[str, Any], volume: int = 0
) -> dict[int, list[Picture]]:
    """The sections with the lowest Dice of every foreground class.

    Parameters
    ----------
    scene : Scene
        Of one volume.
    result : mapping
        result.json.
    volume : int
        Position of the volume in the evaluation.
    """
    slices = result.get("slices")
    if scene.truth is None or not slices or len(scene.shapes[0]) < 3:
        return {}
    level = _picture_level(scene, _as_deep(scene))
    rows = [row for row in slices["rows"] if row["image"] == volume]
    window = _window(scene, level)
    found = {}
    for entry in result["classes"][1:]:
        value, name = entry["value"], entry["name"]
        found[value] = [
            _draw(
                scene,
                level,
                Region(*_section(_row_place(scene, row), window)),
                note=f"Dice of {name} {score_number(row['dice'][value])}",
                only=None if scene.objects else value,
            )
            for row in _worst(rows, value)
        ]
    return {value: pictures for value, pictures in found.items() if pictures}


def _as_deep(scene: Scene) -> list[tuple[int, ...]]:
    """Shapes of the levels that have every section of the finest."""
    return [shape for shape in scene.shapes[: scene.levels] if shape[:-2] == scene.shapes[0][:-2]]


def _worst(rows: list[dict[str, Any]], value: int) -> list[dict[str, Any]]:
    scored = [
        row
        for row in rows
        if row["dice"][value] is not None and row["support"][value] >= LEAST_SUPPORT
    ]
    return sorted(scored, key=lambda row: (row["dice"][value], row["index"]))[:WORST]


def _row_place(scene: Scene, row: Mapping[str, Any]) -> tuple[int, ...]:
    """Index along every leading axis; rows over several are numbered from the region's start."""
    extents = scene.region.shape[:-2]
    start = scene.region.start[:-2]
    if len(extents) == 1:
        return (int(row["index"]),)
    place = np.unravel_index(int(row["index"]), extents)
    return tuple(a + int(i) for a, i in zip(start, place, strict=True))


def _place(leading: list[range], number: int) -> tuple[int, ...]:
    index = np.unravel_index(number, [len(r) for r in leading]) if leading else ()
    return tuple(r[int(i)] for r, i in zip(leading, index, strict=True))


def _picture_level(scene: Scene, shapes: list[tuple[int, ...]]) -> int:
    """The coarsest level at which the region still fills the picture."""
    full, wanted = scene.shapes[0][-2:], scene.region.shape[-2:]
    fitting = [
        level
        for level, shape in enumerate(shapes)
        if min(w * n / f for w, n, f in zip(wanted, shape[-2:], full, strict=True))
        >= PICTURE_EXTENT // 2
    ]
    return fitting[-1] if fitting else 0


def _window(scene: Scene, level: int) -> Region:
    """The region at a level, its last two axes cut to the middle."""
    fine, coarse = scene.shapes[0], scene.shapes[level]
    scale = [c / f for c, f in zip(coarse, fine, strict=True)]
    start = [
        min(int(a * s), n - 1) for a, s, n in zip(scene.region.start, scale, coarse, strict=True)
    ]
    stop = [
        min(max(a + 1, math.ceil(b * s)), n)
        for a, b, s, n in zip(start, scene.region.stop, scale, coarse, strict=True)
    ]
    for axis in (-2, -1):
        start[axis] += max(0, stop[axis] - start[axis] - PICTURE_EXTENT) // 2
        stop[axis] = min(stop[axis], start[axis] + PICTURE_EXTENT)
    return Region(tuple(start), tuple(stop))


def _section(place: tuple[int, ...], window: Region) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and stop of one plane of the window."""
    return (*place, *window.start[-2:]), (*(p + 1 for p in place), *window.stop[-2:])


def _draw(
    scene: Scene, level: int, region: Region, *, note: str = "", only: int | None = None
) -> Picture:
    """One plane at a level; of one class alone if wanted."""
    image = scene.image.volumes[level]
    channel = image.axes.find("c")
    block = read_block(image, region, channel if channel >= 0 else None, scene.channels)
    plane = block.reshape(*block.shape[-3:])
    places = zip(scene.mask.volumes[0].axes[:-2], region.start, strict=False)
    where = ", ".join(f"{axis} {index}" for axis, index in places)
    mask = _plane(scene.mask.volumes[level][region.slices])
    truth = _plane(scene.truth.volumes[level][region.slices]) if scene.truth else None
    if only is not None:
        shown = [only] if scene.ignore_label is None else [only, scene.ignore_label]
        mask = np.where(mask == only, mask, 0)
        truth = None if truth is None else np.where(np.isin(truth, shown), truth, 0)
    return draw_picture(
        ": ".join(filter(None, (where or "the image", note))),
        plane[..., 0] if plane.shape[-1] != 3 else plane,
        mask,
        truth,
        colors=scene.colors,
        ignore_label=scene.ignore_label,
        objects=scene.objects,
    )


def _plane(block: np.ndarray) -> np.ndarray:
    return block.reshape(block.shape[-2:])
