"""Findings on how a mask was made: how it was cut into tiles, and how intensities were scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.thresholds import InferenceThresholds
    from segmentation.bundle import Card
    from segmentation.tiling import TileSpec

AGAIN = "Segment again with `maskmill segment … --force`"


def plan_findings(spec: TileSpec, card: Card, axes: str) -> Iterator[Finding]:
    """INFER-GRID-MISALIGNED and INFER-HALO-SHORT: the tiles of a run against its network.

    Parameters
    ----------
    spec : TileSpec
        As the run laid them, along every axis of the mask.
    card : Card
        Of the bundle.
    axes : str
        Of the mask; the network sees the last ones.
    """
    seen = len(card.axes)
    stride, halo, tile = (tuple(part[-seen:]) for part in (spec.stride, spec.halo, spec.tile))
    rows = tuple(zip(axes[-seen:], tile, stride, card.stride, halo, card.halo, strict=True))
    heads = ("axis", "tile", "stride", "network's stride", "halo", "network's halo")
    table = Table("Tiles of this run, in voxels", heads, rows)
    off = [axis for axis, size, step, need, _, _ in rows if size % need or step % need]
    if off:
        yield _misaligned(off, table, stride, card.stride)
    short = [axis for axis, _, _, _, have, need in rows if have < need]
    if short and card.exact:
        yield _short(short, table, halo, card.halo)


def _misaligned(
    off: list[str], table: Table, stride: Sequence[int], need: Sequence[int]
) -> Finding:
    return Finding(
        code="INFER-GRID-MISALIGNED",
        severity="error",
        statement=f"Tiles begin at multiples of {_sizes(stride)} voxels, but the network pools in "
        f"steps of {_sizes(need)}: along {listed(off)} its windows fall elsewhere in every tile.",
        rule="Tile and step between tiles must be multiples of the network's stride along every "
        f"axis; measured steps of {_sizes(stride)} against {_sizes(need)}.",
        advice=f"{AGAIN}: tiles are then laid by the card of the bundle. If that names the wrong "
        "stride, pack the network again with `maskmill pack MODEL.keras BUNDLE`.",
        proves_not="It does not say how many voxels are wrong: with random weights one of six "
        "changed its class where tiles were one voxel off.",
        evidence=(table,),
    )


def _short(short: list[str], table: Table, halo: Sequence[int], need: Sequence[int]) -> Finding:
    return Finding(
        code="INFER-HALO-SHORT",
        severity="warning",
        statement=f"Tiles were read with {_sizes(halo)} voxels around what is kept, but the "
        f"network sees {_sizes(need)} voxels far: along {listed(short)} the masks depend on where "
        "tiles end.",
        rule="The halo of a run must be at least that of the bundle; measured "
        f"{_sizes(halo)} against {_sizes(need)}.",
        advice=f"{AGAIN}: the halo is then that of the bundle.",
        proves_not="It does not say that a voxel is wrong: far surroundings may matter little. "
        "INFER-SEAMS measures whether they do.",
        evidence=(table,),
    )


def mapping_findings(
    used: tuple[Sequence[float], Sequence[float]],
    measured: tuple[Sequence[float], Sequence[float]],
    thresholds: InferenceThresholds,
) -> Iterator[Finding]:
    """INFER-NORM-MISMATCH: a run that scaled intensities otherwise than the image asks for.

    Parameters
    ----------
    used : tuple
        Low and high of every channel that the run mapped to 0 and 1.
    measured : tuple
        The same by the rule of the bundle, from the image as it is now.
    thresholds : InferenceThresholds
        ``outside``: difference, as a share of the measured contrast.
    """
    rows = tuple(
        (channel, *values) for channel, values in enumerate(zip(*used, *measured, strict=True))
    )
    far = max(
        max(abs(low - right_low), abs(high - right_high)) / (right_high - right_low)
        for _, low, high, right_low, right_high in rows
    )
    if far <= thresholds.outside:
        return
    _, low, high, right_low, right_high = rows[0]
    yield Finding(
        code="INFER-NORM-MISMATCH",
        severity="error",
        statement=f"The run mapped the intensities {low:g} to {high:g} to 0 and 1, but the rule of "
        f"its bundle gives {right_low:g} to {right_high:g} for this image: the network saw it "
        "darker or brighter than in training.",
        rule=f"Low and high may differ by {thresholds.outside:.0%} of the contrast; measured "
        f"{far:.0%}.",
        advice=f"{AGAIN}; the intensities are then measured on the whole image. If the image was "
        "changed after the run, its masks belong to the image as it was.",
        proves_not="It does not say that the masks are bad; some networks bear it.",
        evidence=(
            Table(
                "Intensities mapped to 0 and 1",
                ("channel", "low used", "high used", "low by the rule", "high by the rule"),
                rows,
            ),
        ),
    )


def _sizes(values: Sequence[int]) -> str:
    return " × ".join(map(str, values))
