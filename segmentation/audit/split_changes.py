"""Two splits compared: whether scores of two trainings are of the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Finding, Table
from segmentation.audit.survey import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 8
NOWHERE = "none"


def changed_findings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Finding]:
    """Whether two trainings were scored on the same items.

    Parameters
    ----------
    first, second : mapping
        Contents of two split.json: "digest", "items" with "image", "image_digest" and
        "label_digest", and "folds".
    """
    if first["digest"] == second["digest"]:
        return []
    before, after = _parts(first), _parts(second)
    moved = [
        (name, before.get(key, (name, NOWHERE))[1], after.get(key, (name, NOWHERE))[1])
        for key, (name, _) in {**before, **after}.items()
    ]
    moved = [row for row in moved if row[1] != row[2]]
    crossed = [row for row in moved if "train" in row[1:] and NOWHERE not in row[1:]]
    return [
        Finding(
            "SPLIT-CHANGED",
            "error",
            f"The two trainings have different splits: of {len({*before, *after})} items "
            f"{len(moved)} are in another part or in one training alone, and {len(crossed)} of "
            "them were trained on in one and scored in the other. Their scores cannot be compared.",
            f"found if the digests of two splits differ; they are {first['digest'][:8]} and "
            f"{second['digest'][:8]}",
            "Train both on one catalog with the same --seed and --shares, or score both bundles on "
            "images that neither has seen: `maskmill segment` and `maskmill evaluate --against`.",
            "Which of the two networks is better.",
            (_table(moved, first, second),),
        )
    ]


def _parts(split: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """Name and part of every item, by the digests of its voxels; all parts it has in folds."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for number, item in enumerate(split["items"]):
        parts = [part for part in PARTS if any(number in fold[part] for fold in split["folds"])]
        key = (item["image_digest"], item["label_digest"])
        found[key] = (item["image"], " and ".join(parts) or NOWHERE)
    return found


def _table(
    moved: Sequence[tuple[str, str, str]], first: Mapping[str, Any], second: Mapping[str, Any]
) -> Table:
    if moved:
        return Table("Items in other parts", ("item", "first", "second"), tuple(moved[:SHOWN]))
    rows = tuple((name, str(first.get(name)), str(second.get(name))) for name in ("seed", "shares"))
    return Table("The same parts, made in other ways", ("setting", "first", "second"), rows)
