"""The report of a run: a few sections drawn from the stores, and the page around them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.report.html import render_report
from flows.report.png import Picture, draw_picture
from segmentation.region import Region
from segmentation.shard import read_block
from storage.volume import open_image

if TYPE_CHECKING:
    from flows.run import Run

SECTIONS = 3
PICTURE_EXTENT = 640


def write_report(run: Run, result: dict[str, Any], seconds: dict[str, float]) -> str:
    """Write report.html into the run folder; its URL."""
    page = render_report(
        result | {"amplification": run.plan.amplification},
        title=f"{run.job.name}: {run.prepared.image.url.rsplit('/', 1)[-1]}",
        provenance=_provenance(run),
        pictures=_pictures(run),
        colors={c.value: c.color[:3] for c in run.prepared.model.classes},
        seconds=seconds,
    )
    run.blobs.write("report.html", page.encode())
    return f"{run.url}/report.html"


def _provenance(run: Run) -> dict[str, Any]:
    card = run.prepared.model.card
    return {
        "image": run.prepared.image.url,
        "mask": run.target,
        "model": run.job.model,
        "exact tiling": "yes" if card is None or card.exact else "; ".join(card.inexact_reasons),
        "tile": run.plan.spec.tile,
        "halo": run.plan.spec.halo,
        "stride": run.plan.spec.stride,
        "shard": run.plan.shard_shape,
        "run": run.prepared.identity,
    }


def _pictures(run: Run) -> list[Picture]:
    """Evenly spaced sections, from the coarsest level that still fills the picture."""
    layout = run.prepared.layout
    level = _picture_level(layout.shapes)
    mask = open_image(run.target).volumes[level]
    truth = run.prepared.truth
    image = run.prepared.image.volumes[level]
    channel = image.axes.find("c")
    colors = {c.value: c.color[:3] for c in run.prepared.model.classes}
    pictures = []
    for region, caption in _sections(run, level):
        block = read_block(image, region, channel if channel >= 0 else None, run.job.channels)
        plane = block.reshape(*block.shape[-3:])
        pictures.append(
            draw_picture(
                caption,
                plane[..., 0] if plane.shape[-1] != 3 else plane,
                _plane(mask[region.slices]),
                _plane(truth.volumes[level][region.slices]) if truth else None,
                colors=colors,
                ignore_label=run.job.ignore_label,
            )
        )
    return pictures


def _picture_level(shapes: tuple[tuple[int, ...], ...]) -> int:
    fitting = [i for i, shape in enumerate(shapes) if min(shape[-2:]) >= PICTURE_EXTENT // 2]
    return fitting[-1] if fitting else 0


def _sections(run: Run, level: int) -> list[tuple[Region, str]]:
    """Middle crops of a few sections of the run's region, at a level."""
    fine, coarse = run.prepared.layout.shapes[0], run.prepared.layout.shapes[level]
    scale = [c / f for c, f in zip(coarse, fine, strict=True)]
    start = [
        min(int(a * s), n - 1) for a, s, n in zip(run.plan.region.start, scale, coarse, strict=True)
    ]
    stop = [
        min(max(a + 1, math.ceil(b * s)), n)
        for a, b, s, n in zip(start, run.plan.region.stop, scale, coarse, strict=True)
    ]
    for axis in (-2, -1):
        spare = max(0, stop[axis] - start[axis] - PICTURE_EXTENT) // 2
        start[axis] += spare
        stop[axis] = min(stop[axis], start[axis] + PICTURE_EXTENT)
    leading = [range(a, b) for a, b in zip(start[:-2], stop[:-2], strict=True)]
    total = math.prod(len(r) for r in leading)
    chosen = sorted({total * (2 * i + 1) // (2 * SECTIONS) for i in range(SECTIONS)})
    return [_section(run, number, leading, start, stop) for number in chosen]


def _section(
    run: Run, number: int, leading: list[range], start: list[int], stop: list[int]
) -> tuple[Region, str]:
    place = np.unravel_index(number, [len(r) for r in leading]) if leading else ()
    fixed = [r[int(i)] for r, i in zip(leading, place, strict=True)]
    region = Region((*fixed, *start[-2:]), (*(f + 1 for f in fixed), *stop[-2:]))
    axes = run.prepared.layout.axes
    caption = ", ".join(f"{axis} {index}" for axis, index in zip(axes, fixed, strict=False))
    return region, caption or "the image"


def _plane(block: np.ndarray) -> np.ndarray:
    return block.reshape(block.shape[-2:])
