"""Findings on how a network can be tiled: what its card says against what its graph shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import ModelThresholds
    from segmentation.receptive_field import Geometry

PACK_AGAIN = (
    "Pack the network again with `maskmill pack MODEL.keras BUNDLE`, which measures both, and "
    "segment again with `maskmill segment --force`."
)


def geometry_findings(
    card: Geometry,
    found: Geometry,
    *,
    mismatch: Mapping[str, Any],
    axes: str,
    thresholds: ModelThresholds,
) -> list[Finding]:
    """Whether tiles can give what the untiled network would.

    Parameters
    ----------
    card : Geometry
        Stride, halo and exactness that the card names.
    found : Geometry
        The same, from the network itself: `segmentation.packing.settled_geometry`.
    mismatch : mapping
        ``max_difference`` of probabilities and ``argmax_fraction`` of voxels, tiled against
        untiled, as the card holds them.
    axes : str
        Spatial axes of the network.
    thresholds : ModelThresholds
        When a finding is made.
    """
    return [
        *_grid(card, found, axes),
        *_halo(card, found, axes),
        *_exactness(card, found, mismatch, thresholds),
    ]


def _by_axis(axes: str, card: Sequence[int], found: Sequence[int], what: str) -> Table:
    rows = tuple(zip(axes, card, found, strict=True))
    return Table(f"{what}, in voxels", ("axis", "card", "network"), rows)


def _grid(card: Geometry, found: Geometry, axes: str) -> Iterator[Finding]:
    if all(mine % need == 0 for mine, need in zip(card.stride, found.stride, strict=True)):
        return
    yield Finding(
        code="INFER-GRID-MISALIGNED",
        severity="error",
        statement=f"The card names the stride {_sizes(card.stride)}, but the network pools in "
        f"steps of {_sizes(found.stride)}: tiles laid by the card begin between its steps.",
        rule="Tiles must begin at multiples of the network's stride along every axis; the card's "
        f"{_sizes(card.stride)} are no multiples of {_sizes(found.stride)}.",
        advice=PACK_AGAIN,
        proves_not="Which voxels are wrong: in a test with random weights one voxel of six "
        "changed its class when tiles were one voxel off.",
        evidence=(_by_axis(axes, card.stride, found.stride, "Stride"),),
    )


def _halo(card: Geometry, found: Geometry, axes: str) -> Iterator[Finding]:
    short = [axis for axis, mine, need in zip(axes, card.halo, found.halo, strict=True)
             if mine < need]  # fmt: skip
    if not short or not (card.exact and found.exact):
        return
    yield Finding(
        code="INFER-HALO-SHORT",
        severity="warning",
        statement=f"Tiles are read with {_sizes(card.halo)} voxels of surroundings, but the "
        f"network looks {_sizes(found.halo)} voxels far: masks change at the borders of tiles.",
        rule=f"The halo must be as large as what the network sees beyond a tile's core; along "
        f"{listed(short)} it is smaller.",
        advice=PACK_AGAIN,
        proves_not="How many voxels are wrong; INFER-SEAMS measures it on a mask.",
        evidence=(_by_axis(axes, card.halo, found.halo, "Halo"),),
    )


def _exactness(
    card: Geometry, found: Geometry, mismatch: Mapping[str, Any], thresholds: ModelThresholds
) -> Iterator[Finding]:
    if found.exact and card.exact:
        return
    changed = mismatch.get("argmax_fraction")
    reasons = found.reasons or card.reasons
    hidden = card.exact and not found.exact
    measured = "was not measured" if changed is None else f"was {changed:.2%} of the voxels"
    grave = changed is not None and changed > thresholds.tiled_change
    yield Finding(
        code="MODEL-NOT-EXACT",
        severity="error" if hidden else "warning" if grave else "info",
        statement="The mask of a large image depends on how it is cut into tiles: "
        f"{listed(reasons, 2)}. The class that changes with the cut {measured}.",
        rule="A network is exact if every voxel depends on a window of the image; "
        + ("the card says that it is. " if hidden else "")
        + f"Above {thresholds.tiled_change:.0%} of changed voxels this is a warning.",
        advice="Leave these layers out (BatchNormalization instead of GroupNormalization, no "
        "pooling over the whole image), or keep image and tile size as they were in training."
        + (f" {PACK_AGAIN}" if hidden else ""),
        proves_not="That the masks are bad: tiles are blended, and scores say how good they are.",
        evidence=(
            Table(
                "Tiled against untiled",
                ("measured", "value"),
                tuple((key, mismatch.get(key)) for key in ("argmax_fraction", "max_difference")),
            ),
            Table("Layers that see more than a window", ("why",), tuple((r,) for r in reasons)),
        ),
    )


def _sizes(values: Sequence[int]) -> str:
    return " × ".join(map(str, values))
