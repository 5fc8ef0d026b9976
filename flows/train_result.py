"""What came of a training, as documents: of one network, and of several folds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.evaluation import evaluation_findings
from segmentation.audit.finding import documents_in_order
from segmentation.audit.thresholds import EvaluationThresholds
from segmentation.metrics.intervals import mean_and_error
from segmentation.metrics.summary import VolumeCounts, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.training_data import TrainingData
    from segmentation.training.samples import TrainingVolume
    from segmentation.training.validate import Scored

SCHEMA = 1
ITEMS = "test_items"


def class_rows(data: TrainingData) -> list[dict[str, Any]]:
    """Classes of the network, for documents."""
    return [{"value": c.value, "name": c.name, "color": list(c.color)} for c in data.classes]


def class_names(data: TrainingData) -> list[str]:
    """Names of the classes, background first."""
    return [c.name for c in data.classes]


def scores_of(
    volumes: Sequence[TrainingVolume], scored: Sequence[Scored], names: Sequence[str]
) -> dict[str, Any] | None:
    """Scores at every level, with intervals over groups; None where there is no volume."""
    return summarise(_counts(volumes, scored), names) if volumes else None


def _counts(volumes: Sequence[TrainingVolume], scored: Sequence[Scored]) -> list[VolumeCounts]:
    return [
        VolumeCounts(volume.name, volume.group, one.confusion.plane[np.newaxis])
        for volume, one in zip(volumes, scored, strict=True)
    ]


def item_rows(volumes: Sequence[TrainingVolume], scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Counts of every volume, so that folds can be added up."""
    return [
        {"name": v.name, "group": v.group, "counts": s.confusion.plane.tolist()}
        for v, s in zip(volumes, scored, strict=True)
    ]


def tuned_on(document: dict[str, Any]) -> str:
    """What was chosen by what, in one sentence."""
    monitor, epochs = document["monitor"], document["epochs"]
    chosen = (
        f"Epoch {document['best_epoch']} of {len(epochs)} was chosen by {monitor['name']} "
        f"({monitor['direction']}) on the validation part; its scores there are therefore somewhat "
        "too good."
    )
    if document["test"] is None:
        return f"{chosen} There is no test part, so no score of this training is an unbiased one."
    return f"{chosen} The test part was scored once, after that choice."


def folds_document(
    data: TrainingData, folds: Sequence[dict[str, Any]], bundle: str, digest: str
) -> dict[str, Any]:
    """All folds: every group scored by the network that has neither seen it nor been chosen by it.

    Parameters
    ----------
    folds : sequence of dict
        Document of every fold, in order.
    bundle, digest : str
        Name and digest of the ensemble.
    """
    counts = [
        VolumeCounts(row["name"], row["group"], np.array([row["counts"]], np.int64))
        for fold in folds
        for row in fold[ITEMS]
    ]
    per_fold = [fold["test"]["macro_foreground_dice"] for fold in folds]
    out_of_fold = summarise(counts, class_names(data))
    return {
        "schema": SCHEMA,
        "classes": class_rows(data),
        "bundle": bundle,
        "digest": digest,
        "settings": folds[0]["settings"],
        "split": data.split,
        "folds": list(folds),
        "out_of_fold": out_of_fold,
        "spread": _spread(per_fold),
        "findings": findings_of_folds(data.findings, folds, out_of_fold),
    }


def findings_of_folds(
    shared: Sequence[dict[str, Any]],
    folds: Sequence[dict[str, Any]],
    out_of_fold: dict[str, Any],
) -> list[dict[str, Any]]:
    """What was found in the data, in the scores of all folds, and in single networks.

    Parameters
    ----------
    shared : sequence of dict
        Findings on the data, which every fold has too.
    folds : sequence of dict
        Document of every fold; scores of single folds say less than those of all.
    out_of_fold : dict
        Scores of all items.
    """
    told = {finding["code"] for finding in shared}
    scored = evaluation_findings(out_of_fold, EvaluationThresholds())
    found = [*shared, *(one.to_dict() for one in scored if one.code not in told)]
    by_code: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, fold in enumerate(folds):
        for finding in fold["findings"]:
            if finding["code"] not in told and not finding["code"].startswith("EVAL-"):
                by_code.setdefault(finding["code"], []).append((number, finding))
    for several in by_code.values():
        number, first = several[0]
        where = f"Fold {number}" + (f" ({len(several)} folds are alike)" * (len(several) > 1))
        found.append({**first, "statement": f"{where}: {first['statement']}"})
    return [dict(one) for one in documents_in_order(found)]


def _spread(scores: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation over the folds; their networks share most of their data."""
    defined = [score for score in scores if score is not None]
    mean = math.fsum(defined) / len(defined) if defined else None
    deviation = None
    if len(defined) > 1:
        deviation = mean_and_error(defined)[1] * math.sqrt(len(defined))
    return {"mean": mean, "sd": deviation, "per_fold": list(scores)}


def headline(document: dict[str, Any]) -> dict[str, Any]:
    """The scores to show first, and what part they are of."""
    for part in ("out_of_fold", "test", "validation"):
        if document.get(part) is not None:
            return {
                "scored_on": part.replace("_", "-"),
                "macro_foreground_dice": document[part]["macro_foreground_dice"],
                "dice": {c["name"]: c["dice"] for c in document[part]["classes"]},
            }
    raise ValueError("the training has no scores; expected those of the validation part at least")


def provenance(document: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the training: no times, so that the same training gives the same."""

    def short(scores: dict[str, Any] | None) -> dict[str, Any] | None:
        if scores is None:
            return None
        return {
            "macro_foreground_dice": scores["macro_foreground_dice"],
            "dice": [entry["dice"] for entry in scores["classes"]],
            "voxels": scores["voxels"],
        }

    kept = ("fold", "settings", "augmentation", "network", "monitor", "best_epoch", "tuned_on")
    return {
        **{name: document[name] for name in kept},
        "split": document["split"],
        "validation": short(document["validation"]),
        "test": short(document["test"]),
    }
