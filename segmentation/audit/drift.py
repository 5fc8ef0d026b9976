"""Finding on masks whose classes change where shards meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Curves, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.mask_scan import MaskScan
    from segmentation.audit.thresholds import InferenceThresholds


def drift_findings(
    scan: MaskScan,
    axis: int,
    borders: Sequence[int],
    names: Sequence[str],
    thresholds: InferenceThresholds,
) -> Iterator[Finding]:
    """INFER-DRIFT-Z: the share of a class jumps where shards meet, and nowhere else.

    Parameters
    ----------
    scan : MaskScan
        With sections.
    axis : int
        The axis of the sections.
    borders : sequence of int
        First section of every shard but the first.
    names : sequence of str
        Classes by value.
    thresholds : InferenceThresholds
        ``drift`` and ``drift_share``.
    """
    first = scan.start[axis]
    whole = scan.sections.sum(axis=1, keepdims=True)
    places = [border - first for border in borders]
    if len(whole) < 4 or not places or not whole.all():
        return
    shares = scan.sections[:, : len(names)] / whole
    found = [_jump(shares[:, value], places) for value in range(len(names))]
    value = max(range(len(names)), key=lambda one: found[one][1])
    place, jump, spread, elsewhere = found[value]
    far = jump / spread if spread else float("inf")
    if jump <= thresholds.drift_share or far <= thresholds.drift or jump <= elsewhere:
        return
    before, after = shares[place - 1, value], shares[place, value]
    lines = tuple(
        (name, tuple((float(first + i), float(v)) for i, v in enumerate(shares[:, number])))
        for number, name in enumerate(names)
    )
    yield Finding(
        code="INFER-DRIFT-Z",
        severity="warning",
        statement=f"From section {first + place - 1} to {first + place}, where two shards meet, "
        f"the share of {names[value]} goes from {before:.1%} to {after:.1%}; between other "
        f"sections it never changes by more than {elsewhere:.1%}.",
        rule="A class's share jumps at a border of shards by more than "
        f"{thresholds.drift_share:.0%} of the section (measured {jump:.1%}) and more than "
        f"{thresholds.drift:g} robust deviations of all its changes (measured "
        f"{min(far, 999):.1f}), and more than anywhere else.",
        advice="Segment again with `maskmill segment … --force`, which scales the intensities of "
        "the whole volume once; look for another exposure of the image at this section if it "
        "stays.",
        proves_not="The specimen itself may end or begin at this section; look at the image.",
        evidence=(Curves("Share of each class by section", "section", "share", lines),),
    )


def _jump(shares: NDArray[np.float64], places: Sequence[int]) -> tuple[int, float, float, float]:
    """Place and size of the largest jump at a border, robust spread, and the largest elsewhere."""
    steps = np.diff(shares)
    sizes = np.abs(steps)
    at = max(places, key=lambda place: float(sizes[place - 1]))
    others = np.delete(sizes, [place - 1 for place in places])
    spread = float(np.median(np.abs(steps - np.median(steps)))) / 0.6744897501960817
    return at, float(sizes[at - 1]), spread, float(others.max(initial=0.0))
