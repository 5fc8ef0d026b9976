"""Scores of a run: truth that fits, counts that add up, result.json."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.executors import SerialExecutor
from flows.label_check import check_values
from flows.learned import learned_voxels
from flows.precision import FLOAT32, precision_result
from flows.prepare import Prepared, image_digest
from flows.report.contents import result_definitions
from flows.run import INFER, SCHEMA, Run, intensity_of
from flows.shard_stage import Execution, complete
from flows.skipping import add_counts, skipping_result
from flows.small_volumes import is_small, scheduler_for
from flows.tally import shard_counts
from flows.voxel_result import found_in, voxel_result
from flows.work import Truth
from storage.label_values import label_values
from storage.ome_labels import parse_label_classes
from storage.volume import open_image

if TYPE_CHECKING:
    import threading

    from flows.collect import Statistics
    from flows.count_work import CountWork
    from flows.executors import Executor
    from flows.progress import ProgressMaker


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
        scheduler=scheduler_for(executor, prepared.truth.volumes[0].shape),
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
    if is_small(prepared.image.volumes[0].shape):
        check_truth_values(prepared, ignore_label, SerialExecutor())
        intensity_of(prepared, SerialExecutor())


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
    """Merge the statistics of all shards and write result.json.

    Shards counted against other truth are counted anew from the mask that is stored.
    """
    key, work = truth_key(run), _count_work(run)
    if work is not None and key is not None:
        _count_again(run, work, key, Execution(executor, stop, progress))
    return collect_run(run)


def collect_run(run: Run) -> dict[str, Any]:
    """Merge the records of a run that has all of them; write result.json."""
    key, work = truth_key(run), _count_work(run)
    statistics = _no_statistics(work) if work is not None else None
    shares = np.zeros(truth_classes(run.prepared), np.int64)
    counted = np.zeros(len(run.plan), bool)
    compared = np.zeros(2, np.int64)
    skipped: list[dict[str, int]] = []
    for stage in (INFER, f"evaluate-{key}"):
        for record in run.manifest.records(stage, len(run.plan)):
            if stage == INFER and record["shares"]:
                shares[: len(record["shares"])] += record["shares"]
            if stage == INFER:
                compared += record.get("agreement") or (0, 0)
                skipped += filter(None, [record.get("skipping")])
            item = record["item"]
            if statistics is not None and record["truth"] == key and not counted[item]:
                statistics.add(item, record["statistics"])
                counted[item] = True
    result = _result(run, statistics, shares.tolist(), compared.tolist(), skipped)
    run.blobs.write("result.json", json.dumps(result, indent=2, allow_nan=False).encode())
    return result


def _count_work(run: Run) -> CountWork | None:
    """How the shards of a run are counted, if there is truth."""
    truth = run_truth(run)
    if truth is None:
        return None
    # Numba and SciPy, which a run without truth does without.
    from flows.count_work import CaseVoxels, CountWork
    from segmentation.evaluation import Measures

    base = run.prepared.layout
    dimensions = len(base.shapes[0])
    measures = Measures(truth.num_classes, truth.ignore_label, image_axes=min(3, dimensions))
    case = CaseVoxels(truth.volume, (open_image(run.target).volumes[0],), None, run.plan)
    return CountWork((case,), measures)


def _no_statistics(work: CountWork) -> Statistics:
    from flows.collect import Statistics

    return Statistics.empty(work)


def _count_again(run: Run, work: CountWork, key: str, execution: Execution) -> None:
    """Count the shards whose record belongs to other truth, or to none, and record them."""
    counted = np.zeros(len(run.plan), bool)
    for record in run.manifest.records(INFER, len(run.plan)):
        counted[record["item"]] = record["truth"] == key
    if counted.all():
        return
    stage = run.stage(f"evaluate-{key}", len(run.plan))
    complete(
        stage,
        work,
        execution,
        label="evaluating",
        describe=lambda _item, result: {"truth": key} | (result.record() if result else {}),
        skip=counted,
    )


def _result(
    run: Run,
    statistics: Statistics | None,
    shares: list[int],
    compared: list[int],
    skipped: list[dict[str, int]],
) -> dict[str, Any]:
    image = run.prepared.image
    base = image.volumes[0]
    name = image.url.rstrip("/").rsplit("/", 1)[-1]
    result: dict[str, Any] = {"schema": SCHEMA, "name": run.job.name, "digest": run.prepared.digest}
    names = class_names(run)
    if statistics is not None:
        result |= voxel_result(statistics, [(name, name)], names)
        if run.prepared.model.card is not None:
            result["learned"] = learned_voxels(run.prepared.model.card, name, run.plan.region)
    else:
        result["voxels"] = run.plan.region.voxels
    total = sum(shares)
    result["shares"] = [
        {"value": v, "name": names[v], "voxels": n, "share": n / total}
        for v, n in enumerate(shares)
        if total
    ]
    sizes = [s for s, axis in zip(base.voxel_size, base.axes, strict=True) if axis != "c"]
    result |= {"axes": run.prepared.layout.axes, "voxel_size": sizes, "unit": base.unit}
    result |= {"ignore_label": run.job.ignore_label, "truth": truth_key(run)}
    if run.prepared.precision != FLOAT32:
        result["precision"] = precision_result(run.prepared.precision, *compared)
    result |= _skipping(run, skipped)
    result["findings"] = found_in(result)
    return result | {"definitions": result_definitions(result)}


def _skipping(run: Run, skipped: list[dict[str, int]]) -> dict[str, Any]:
    """``shards`` of result.json, and ``skipping`` where empty blocks were skipped."""
    whole = sum(counts["computed_tiles"] == 0 for counts in skipped)
    shards = {"shards": shard_counts(len(run.plan), len(run.plan) - whole, skipped=whole)}
    if run.prepared.skipping is None:
        return shards
    return shards | {"skipping": skipping_result(run.prepared, add_counts(skipped))}
