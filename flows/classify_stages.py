"""The stages of a classification: predict, merge into table and result. No Prefect, no Ray."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.classification import SCHEMA
from flows.classify_table import FILES, encode_table
from flows.counted_work import CountedWork, settled
from flows.learned import learned_images
from flows.shard_stage import Execution, complete
from segmentation.audit.evaluation_samples import classification_findings
from segmentation.classification.predictions import TOP, UNKNOWN, Predictions
from segmentation.classification.scores import classification_scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.classification import Classification
    from flows.classify_work import Row

RESULT, RUN = "result.json", "run.json"


def predict(run: Classification, execution: Execution) -> None:
    """Classify every image that has no record yet.

    Raises
    ------
    IncompleteRunError
        If batches failed or a stop was asked for.
    """

    @settled
    def describe(_item: int, rows: Any) -> dict[str, Any]:
        return {} if rows is None else {"rows": rows}

    work = CountedWork(run.work)
    complete(run.stage, work, execution, label="classifying", describe=describe)


def collect(run: Classification) -> dict[str, Any]:
    """Merge the records; write the table of predictions and result.json.

    Raises
    ------
    IncompleteRunError
        If images have no record.
    """
    run.stage.check_complete()
    rows = sample_rows(run)
    predictions = read_predictions(run, rows)
    table = encode_table(
        predictions, run.class_names, kind=run.job.format, with_truth=run.truth is not None
    )
    result = classification_result(run, rows, predictions)
    forget_others(run)
    run.blobs.write(FILES[run.job.format], table)
    run.blobs.write(RESULT, json.dumps(result, indent=2, allow_nan=False).encode())
    return result


def forget_others(run: Classification) -> None:
    """Remove the tables of another job from the folder: they would look like those of this one."""
    if is_ours(run):
        return
    for name in (RUN, *FILES.values()):
        run.blobs.delete(name)


def is_ours(run: Classification) -> bool:
    """Whether what is in the folder belongs to this very job, and is whole."""
    if not run.blobs.exists(RUN):
        return False
    digest: str | None = json.loads(run.blobs.read(RUN)).get("digest")
    return digest == run.digest


def sample_rows(run: Classification) -> dict[str, Row]:
    """What became of every image, in their order."""
    found = {record["item"]: record["rows"] for record in run.stage.records()}
    work = run.work
    return {
        name: row
        for item in range(len(work))
        for name, row in zip(work.names(item), found[item], strict=True)
    }


def read_predictions(run: Classification, rows: Mapping[str, Row]) -> Predictions:
    """Predictions of the images that could be read, in their order."""
    places = [at for at, name in enumerate(run.images.names) if "error" not in rows[name]]
    names = tuple(run.images.names[at] for at in places)
    levels = np.array([rows[name]["levels"] for name in names], np.float64)
    shaped = levels.reshape(len(names), len(run.class_names))
    groups = tuple(run.groups[at] for at in places)
    return Predictions(names, shaped / TOP, run.labels[places], groups)


def classification_result(
    run: Classification, rows: Mapping[str, Row], predictions: Predictions
) -> dict[str, Any]:
    """The content of result.json; nothing in it depends on how the images were divided."""
    scored = bool((predictions.labels != UNKNOWN).any())
    names = run.class_names
    card = run.card
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": "classification",
        "digest": run.digest,
        "samples": len(predictions.names),
        "without_truth": int((predictions.labels == UNKNOWN).sum()) if run.truth else None,
        "unreadable": [
            {"id": name, "reason": row["error"]} for name, row in rows.items() if "error" in row
        ],
        "resize": {
            "image_size": list(card.image_size or ()),
            "rule": card.resize,
            "samples": sum(bool(row.get("resized")) for row in rows.values()),
        },
        **(classification_scores(predictions, names) if scored else _counts(predictions, names)),
    }
    if scored:
        known = [
            name
            for name, label in zip(predictions.names, predictions.labels, strict=True)
            if label != UNKNOWN
        ]
        result["learned"] = learned_images(card, known)
    result["findings"] = [one.to_dict() for one in classification_findings(result)]
    return result


def _counts(predictions: Predictions, names: tuple[str, ...]) -> dict[str, Any]:
    """Predictions of every class, where nothing can be scored."""
    counts = np.bincount(predictions.classes, minlength=len(names)).tolist()
    return {
        "classes": [
            {"value": value, "name": name, "predicted": count}
            for value, (name, count) in enumerate(zip(names, counts, strict=True))
        ]
    }
