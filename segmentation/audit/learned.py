"""Finding on scores of what the network has learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def learned_findings(result: Mapping[str, Any]) -> Iterator[Finding]:
    """EVAL-ON-TRAINING: part of what was scored is in the training part of the bundle.

    Parameters
    ----------
    result : mapping
        result.json of `segment` or `classify`; "learned" is read: the "unit", how many of it were
        "learned" from and "scored", and the "items" of the training part that are the same by
        name and place.
    """
    known = result.get("learned") or {}
    if not known.get("learned"):
        return
    unit, learned, scored = known["unit"], known["learned"], known["scored"]
    yield Finding(
        code="EVAL-ON-TRAINING",
        severity="warning",
        statement=f"{learned:,} of the {scored:,} {unit} that were scored ({learned / scored:.0%}) "
        f"stand in the training part of the bundle ({listed(known['items'])}): these scores "
        "flatter.",
        rule=f"Found if {unit} of the training part, by name of the image and place in it, are "
        f"scored; measured {learned:,}.",
        advice="Score what the network has not seen: `maskmill evaluate IMAGE.zarr --labels NAME "
        "--truth LABEL --region z=START:STOP`, or the predictions out of fold that `maskmill train "
        "--folds 5` leaves.",
        proves_not="That the images are the same: names and places are compared, not voxels. "
        "Copies under other names are not found here, but by `maskmill audit CATALOG.yaml`.",
        evidence=(
            Table(
                "What was scored",
                ("what", unit),
                (("learned from", learned), ("not learned from", scored - learned)),
            ),
        ),
    )
