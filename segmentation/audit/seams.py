"""Finding on masks that show where their tiles meet: seams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.finding import Curves, Finding, Table
from segmentation.audit.seam_pattern import AxisSeams, axis_seams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segmentation.audit.mask_scan import MaskScan
    from segmentation.audit.thresholds import InferenceThresholds

ADVICE = (
    "Segment again with `maskmill segment … --force`: tile, halo and stride are then those of the "
    "bundle. If the seams stay, pack the network again with `maskmill pack MODEL.keras BUNDLE`, "
    "which measures how far it sees, and look for layers that it names as not exact."
)


def seam_findings(
    scan: MaskScan,
    axes: str,
    faces: Sequence[Sequence[int]],
    thresholds: InferenceThresholds,
    stride: Sequence[int] | None = None,
) -> Iterator[Finding]:
    """INFER-SEAMS: near tile faces the class changes more often, or less often, than elsewhere.

    Parameters
    ----------
    scan : MaskScan
        Of the mask.
    axes : str
        Its axes.
    faces : sequence
        First voxel behind every face, for each axis, as `tile_faces` gives them.
    thresholds : InferenceThresholds
        ``seam_p``, shared among the axes (Bonferroni), and ``seam_ratio``.
    stride : sequence of int, optional
        By which the tiles were laid.
    """
    strides = stride or (1,) * len(axes)
    looked = [
        axis_seams(
            name,
            scan.changes[number],
            scan.pairs[number],
            [face - scan.start[number] for face in faces[number]],
            strides[number],
        )
        for number, name in enumerate(axes)
    ]
    known = [seams for seams in looked if seams is not None]
    level = thresholds.seam_p / max(len(known), 1)
    seamy = [s for s in known if s.p <= level and s.ratio > thresholds.seam_ratio]
    if seamy:
        worst = max(seamy, key=lambda seams: abs(seams.there - seams.overall))
        yield _finding(worst, known, level, thresholds)


def _finding(
    worst: AxisSeams, known: Sequence[AxisSeams], level: float, thresholds: InferenceThresholds
) -> Finding:
    return Finding(
        code="INFER-SEAMS",
        severity="warning",
        statement=f"Along {worst.axis} the class changes at {worst.there:.2%} of the voxel pairs "
        f"{_where(worst.offset)} the faces of tiles and at {worst.overall:.2%} of all: the mask "
        "shows where its tiles meet.",
        rule=f"Changes are more than {thresholds.seam_ratio:g} times as frequent, or as rare, near "
        f"faces (measured {min(worst.ratio, 999):.1f} times, {worst.faces} faces), and a pattern "
        f"as strong at random places has a probability of at most {level:.4f} (measured "
        f"{worst.p:.4f}).",
        advice=ADVICE,
        proves_not="It does not say which side of a face is right, and it needs no truth.",
        evidence=(
            Table(
                "Changes of class between neighbouring voxels",
                ("axis", "faces", "voxels from the face", "share there", "share of all", "p"),
                tuple((s.axis, s.faces, s.offset, s.there, s.overall, s.p) for s in known),
            ),
            Curves(
                "Changes by distance from the face",
                "voxels from the face",
                "share of pairs",
                tuple((s.axis, s.profile) for s in known),
            ),
        ),
    )


def _where(offset: int) -> str:
    if not offset:
        return "across"
    return f"{abs(offset)} {'before' if offset < 0 else 'behind'}"
