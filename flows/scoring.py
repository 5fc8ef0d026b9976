"""Scores of a run: truth that fits, counts that add up, result.json."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import IncompleteRunError, RequestError
from flows.executors import SerialExecutor
from flows.prepare import Prepared, image_digest
from flows.run import INFER, SCHEMA, Run, incomplete, intensity_of
from flows.work import EvaluateWork, Truth
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from storage.label_values import label_values
from storage.ome_labels import parse_label_classes
from storage.volume import open_image

if TYPE_CHECKING:
    import threading

    from flows.executors import Executor
    from flows.progress import ProgressMaker

SMALL_VOXELS = 2**26


def check_truth_values(prepared: Prepared, ignore_label: int | None, executor: Executor) -> None:
    """Refuse truth that holds values outside the classes.

    Raises
    ------
    RequestError
        With the values, their counts and the classes.
    """
    if prepared.truth is None:
        return
    num_classes = truth_classes(prepared)
    found = label_values(
        prepared.truth.volumes[0],
        prepared.plan.region.slices,
        scheduler=executor.dask_scheduler(),
    )
    check_values(found, num_classes, ignore_label)


def check_small_volume(prepared: Prepared, ignore_label: int | None) -> None:
    """Read the voxels of a small volume for faults before any server starts.

    A larger one is checked by the workers.

    Raises
    ------
    RequestError, StorageError
        For truth outside the classes, and for NaN and Inf voxels.
    """
    if math.prod(prepared.image.volumes[0].shape) <= SMALL_VOXELS:
        check_truth_values(prepared, ignore_label, SerialExecutor())
        intensity_of(prepared, SerialExecutor())


def check_values(found: dict[int, int], num_classes: int, ignore_label: int | None) -> None:
    """Refuse values outside 0..num_classes - 1, but for the ignore label.

    Raises
    ------
    RequestError
        With up to five of the values and their counts.
    """
    outside = {v: n for v, n in found.items() if not 0 <= v < num_classes and v != ignore_label}
    if outside:
        shown = ", ".join(f"{v} ({n:,} voxels)" for v, n in list(outside.items())[:5])
        raise RequestError(
            f"truth has values outside the classes 0 to {num_classes - 1}: {shown}; "
            "import it with those classes, or leave one value out with --ignore-label"
        )


def truth_classes(prepared: Prepared) -> int:
    """Number of classes that truth and mask are compared over."""
    if prepared.model.card is not None:
        return len(prepared.model.card.classes)
    named = parse_label_classes(prepared.truth.attributes) if prepared.truth else ()
    return max((c.value for c in named), default=255) + 1


def class_names(run: Run) -> list[str]:
    """Names by value, of the bundle, else of the truth."""
    classes = run.prepared.model.classes
    if not classes and run.prepared.truth is not None:
        classes = parse_label_classes(run.prepared.truth.attributes)
    names = {c.value: c.name for c in classes}
    return [names.get(v, f"class_{v}") for v in range(truth_classes(run.prepared))]


def run_truth(run: Run) -> Truth | None:
    """What the mask is compared with, if anything."""
    if run.prepared.truth is None:
        return None
    return Truth(run.prepared.truth.volumes[0], truth_classes(run.prepared), run.job.ignore_label)


def truth_key(run: Run) -> str | None:
    """What the counts of a record were counted against."""
    if run.prepared.truth is None:
        return None
    text = (
        f"{image_digest(run.prepared.truth)} {truth_classes(run.prepared)} {run.job.ignore_label}"
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def aggregate(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    progress: ProgressMaker,
) -> dict[str, Any]:
    """Sum the counts of all shards and write result.json.

    Counts made against other truth are made anew from the mask that is stored.
    """
    key = truth_key(run)
    planned = len(run.plan)
    size = truth_classes(run.prepared)
    matrix = ConfusionMatrix.empty(size)
    shares = np.zeros(size, np.int64)
    counted = np.zeros(planned, bool)
    stages = (INFER, f"evaluate-{key}")
    for name in stages:
        for record in run.manifest.records(name, planned):
            item = record["item"]
            if name == INFER and record["shares"]:
                shares[: len(record["shares"])] += record["shares"]
            if key is not None and record["truth"] == key and not counted[item]:
                matrix += ConfusionMatrix.from_dict(record["counts"])
                counted[item] = True
    if key is not None and not counted.all():
        matrix += _count_again(run, executor, stop, progress, counted, key)
    result = _result(run, matrix if key is not None else None, shares.tolist())
    run.blobs.write("result.json", json.dumps(result, indent=2, allow_nan=False).encode())
    return result


def _count_again(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    progress: ProgressMaker,
    counted: np.ndarray,
    key: str,
) -> ConfusionMatrix:
    truth = run_truth(run)
    matrix = ConfusionMatrix.empty(truth_classes(run.prepared))
    if truth is None:
        return matrix
    work = EvaluateWork(open_image(run.target).volumes[0], truth, run.plan)
    todo = (int(i) for i in np.flatnonzero(~counted))
    with (
        run.writer(f"evaluate-{key}", len(run.plan)) as writer,
        progress("evaluating", len(run.plan), int(counted.sum())) as shown,
    ):
        for outcome in executor.map(work, todo, stop):
            if outcome.error is not None:
                raise IncompleteRunError(f"evaluation failed: {outcome.error}", {"run": run.url})
            record = {"attempt": run.attempt, "truth": key, "objects": []}
            writer.append(outcome.item, record | {"counts": outcome.result.counts, "shares": []})
            matrix += ConfusionMatrix.from_dict(outcome.result.counts)
            counted[outcome.item] = True
            shown.advance()
    if not counted.all():
        raise incomplete(run, counted, [], stopped=True)
    return matrix


def _result(run: Run, matrix: ConfusionMatrix | None, shares: list[int]) -> dict[str, Any]:
    planned = len(run.plan)
    result: dict[str, Any] = {"schema": SCHEMA, "name": run.job.name, "digest": run.prepared.digest}
    names = class_names(run)
    if matrix is not None:
        result |= scores(matrix, names)
        result["intervals"] = None
    else:
        result["voxels"] = run.plan.region.voxels
    total = sum(shares)
    result["shares"] = [
        {"value": v, "name": names[v], "voxels": n, "share": n / total}
        for v, n in enumerate(shares)
        if total
    ]
    result["truth"] = truth_key(run)
    result["findings"] = []
    result["shards"] = {"planned": planned, "done": planned, "skipped": 0, "failed": 0}
    return result
