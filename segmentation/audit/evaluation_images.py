"""Findings on how scores spread over images and sections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import EvaluationThresholds

MOST_ROWS = 10
# Median absolute deviation of a normal distribution of standard deviation 1.
NORMAL_MAD = 0.6744897501960817
# From 0 and 1, where log-odds would be infinite.
FARTHEST = 1e-3


def image_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """Findings from the scores of images and sections.

    Parameters
    ----------
    result : mapping
        result.json with scores.
    thresholds : EvaluationThresholds
        When something is a finding.
    """
    yield from _disparity(result, thresholds)
    yield from _outliers(result, thresholds)


def _disparity(result: Mapping[str, Any], thresholds: EvaluationThresholds) -> Iterator[Finding]:
    """EVAL-AGGREGATION-DISPARITY: large images decide the score of all voxels together."""
    images = result.get("images") or []
    rows = []
    for entry in result["classes"][1:]:
        dice = [row["dice"][entry["value"]] for row in images]
        defined = [value for value in dice if value is not None]
        if len(defined) >= 2 and entry["dice"] is not None:
            mean = math.fsum(defined) / len(defined)
            rows.append((entry["name"], entry["dice"], mean, entry["dice"] - mean, len(defined)))
    far = [row for row in rows if abs(row[3]) > thresholds.disparity]
    if not far:
        return
    name, pooled, mean, gap, count = max(far, key=lambda row: abs(row[3]))
    larger = "large" if gap > 0 else "small"
    yield Finding(
        code="EVAL-AGGREGATION-DISPARITY",
        severity="warning",
        statement=f"All voxels together give {name} a Dice of {pooled:.3f}, the mean of {count} "
        f"images is {mean:.3f}: images with {larger} amounts of it are the better ones.",
        rule="The Dice of a class over all voxels and its mean over the images differ by more "
        f"than {thresholds.disparity:g} (measured {abs(gap):.3f}).",
        advice="Quote both numbers, and look at the worst images in the report. Where every image "
        "counts alike, go by the mean over images.",
        proves_not="It does not say which of the two is right: that depends on whether voxels or "
        "images are what is counted in the end.",
        evidence=(
            Table(
                "Dice over all voxels and over images",
                ("class", "all voxels", "mean of images", "difference", "images"),
                tuple(rows),
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class Outlier:
    """One image or section that is far below the others in one class."""

    place: str
    name: str
    dice: float
    centre: float
    deviations: float
    expected: float


def expected_minimum(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, robust standard deviation and expected minimum of as many normal values.

    The deviation is the median absolute deviation over 0.6745. The expected minimum of n values
    is that many deviations below the median as Blom's approximation says: the normal quantile
    of (n - 3/8) / (n + 1/4) (Blom 1958).
    """
    centre = median(values)
    spread = median(abs(value - centre) for value in values) / NORMAL_MAD
    count = len(values)
    far = NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
    return centre, spread, centre - far * spread


def _outliers(result: Mapping[str, Any], thresholds: EvaluationThresholds) -> Iterator[Finding]:
    """EVAL-OUTLIER-IMAGES: images, or sections of one, far below the others."""
    unit, rows = _rows(result, thresholds.outlier_rows)
    found = [
        outlier
        for entry in result["classes"][1:]
        for outlier in _class_outliers(entry, rows, thresholds)
    ]
    if not found:
        return
    worst = sorted(found, key=lambda one: (one.dice, one.place, one.name))
    first = worst[0]
    places = list(dict.fromkeys(one.place for one in worst))
    yield Finding(
        code="EVAL-OUTLIER-IMAGES",
        severity="warning",
        statement=f"{len(places)} of {len(rows)} {unit} are far below the others ({listed(places)})"
        f": the worst has a Dice of {first.dice:.3f} of {first.name}, where half of all reach "
        f"{first.centre:.3f}.",
        rule=f"The Dice of a class is more than {thresholds.outlier:g} robust deviations (of its "
        f"log-odds) and more than {thresholds.outlier_gap:g} below the median of the {unit} that "
        f"hold at least {thresholds.outlier_share:.0%} of the usual amount of the class, and below "
        f"the minimum expected of so many; measured {min(first.deviations, 999):.1f} deviations "
        f"and {first.centre - first.dice:.3f}, with an expected minimum of {first.expected:.3f}.",
        advice="Look at these places in the report: a fold, another stain or exposure, or wrong "
        "truth. Leave out what is damaged with --region, or add such images to the training.",
        proves_not="The worst of many is always low; it does not prove that the network fails on "
        "this kind of image.",
        evidence=(
            Table(
                f"Worst {unit}",
                ("where", "class", "Dice", "median", "deviations below", "expected minimum"),
                tuple(
                    (o.place, o.name, o.dice, o.centre, min(o.deviations, 999.0), o.expected)
                    for o in worst[:MOST_ROWS]
                ),
            ),
        ),
    )


def _rows(result: Mapping[str, Any], fewest: int) -> tuple[str, list[tuple[str, Any]]]:
    """Images where there are enough of them, else sections; each with its place in words."""
    images = result.get("images") or []
    names = [
        row["image"] if row["index"] is None else f"{row['image']} {row['index']}" for row in images
    ]
    slices = result.get("slices")
    if len(images) >= fewest or not slices:
        return "images", list(zip(names, images, strict=True))
    several = len({row["image"] for row in slices["rows"]}) > 1
    return "sections", [
        (
            f"{slices['axis']} {row['index']}"
            + (f" of {images[row['image']]['image']}" if several else ""),
            row,
        )
        for row in slices["rows"]
    ]


def _class_outliers(
    entry: Mapping[str, Any], rows: Sequence[tuple[str, Any]], thresholds: EvaluationThresholds
) -> Iterator[Outlier]:
    value = entry["value"]
    usual = median([row["support"][value] for _, row in rows if row["support"][value]] or [0])
    fewest = max(thresholds.outlier_support, thresholds.outlier_share * usual)
    scored = [
        (place, row["dice"][value])
        for place, row in rows
        if row["dice"][value] is not None and row["support"][value] >= fewest
    ]
    if len(scored) < thresholds.outlier_rows:
        return
    centre, spread, expected = expected_minimum([_log_odds(dice) for _, dice in scored])
    middle = _share(centre)
    for place, dice in scored:
        below = middle - dice
        deviations = (centre - _log_odds(dice)) / spread if spread else math.inf
        low = dice < _share(expected)
        if below > thresholds.outlier_gap and deviations > thresholds.outlier and low:
            yield Outlier(place, entry["name"], dice, middle, deviations, _share(expected))


def _log_odds(share: float) -> float:
    """Scores near 1 crowd, and lie on one side; their log-odds do not."""
    inside = min(max(share, FARTHEST), 1 - FARTHEST)
    return math.log(inside / (1 - inside))


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
