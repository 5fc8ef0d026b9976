"""The report of a classifier's training: the page of a classification, of the part to judge by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.report.classification import render_classification
from flows.train_classifier_result import ROWS, predictions_of
from flows.training_report import REPORT
from segmentation.classification.images import RESIZE
from segmentation.classification.ranking import roc_points
from storage.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMED = {
    "out_of_fold": "every sample by the network that has not seen its group",
    "test": "the test part, which nothing was chosen by",
    "validation": "the validation part, by which the epoch was chosen",
}


def write_classifier_report(folder: str, result: Mapping[str, Any], *, name: str) -> str:
    """Write report.html into the folder of a training, or of its folds.

    Parameters
    ----------
    folder : str
        Local.
    result : mapping
        The document of a training of a classifier, or of its folds.
    name : str
        Of what was trained; in the title.

    Returns
    -------
    str
        Path of the page.
    """
    part = next(key for key in NAMED if result.get(key) is not None)
    scores, images = result[part], result["images"]
    folds = result.get("folds") or [result]
    rows = [row for fold in folds for row in fold[ROWS]]
    known = predictions_of(rows).known() if rows and len(result["classes"]) == 2 else None
    page = render_classification(
        {
            **scores,
            "task": result["task"],
            "samples": scores["scored"],
            "without_truth": 0,
            "unreadable": [],
            "resize": {
                "samples": images["resized"],
                "image_size": images["image_size"],
                "rule": RESIZE,
            },
            "findings": result["findings"],
        },
        title=f"Training of {name}",
        provenance=_provenance(result, part),
        roc=roc_points(known) if known else (),
    )
    Blobs(folder).write(REPORT, page.encode())
    return str(Path(folder) / REPORT)


def _provenance(result: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What the page is about, and what the network was made from."""
    images = result["images"]
    about = {
        "scored": NAMED[part],
        "bundle": {"name": result["bundle"], "digest": result["digest"]},
        "network": result["network"],
        "settings": result["settings"],
        "split": {"rule": result["split"]["rule"], "digest": result["split"]["digest"]},
        "images": {
            "samples": images["samples"],
            "groups": images["groups"],
            "pairs that look alike": images["look_alikes"],
            "of them in different groups": len(images["look_alikes_across_groups"]),
        },
    }
    if "tuned_on" in result:
        about["chosen"] = result["tuned_on"]
    if result.get("spread"):
        about["folds"] = result["spread"]
    return about
