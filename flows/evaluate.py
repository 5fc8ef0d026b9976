"""Evaluation alone: a mask volume that is there against a truth label.

It counts shard by shard on the executors of `segment`, so the digits are those of
``segment --truth``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.errors import IncompleteRunError, RequestError
from flows.executors import stop_on_signals
from flows.pool import make_executor
from flows.prepare import open_truth
from flows.progress import Progress
from flows.scoring import check_values
from flows.work import EvaluateWork, Truth
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.plan import ShardPlan, trivial_plan
from segmentation.region import parse_region
from storage.label_values import label_values
from storage.ome_labels import parse_label_classes
from storage.volume import Image, open_image, open_label

if TYPE_CHECKING:
    from flows.executors import Executor
    from flows.jobs import EvaluateJob


def evaluate_volume(job: EvaluateJob) -> dict[str, Any]:
    """Scores of a mask volume, in the shape of result.json.

    Raises
    ------
    RequestError, StorageError, ValueError
        If mask and truth do not fit each other.
    IncompleteRunError
        If shards could not be read, or a stop was asked for.
    """
    open_image(job.image)
    mask = open_label(job.image, job.labels)
    base = mask.volumes[0]
    truth = open_truth(job.image, job.truth, base.shape)
    names = _class_names(mask, truth)
    plan = trivial_plan(
        base.shape, parse_region(job.region, base.axes, base.shape), base.shards or base.chunks
    )
    executor = make_executor(job)
    try:
        found = label_values(
            truth.volumes[0], plan.region.slices, scheduler=executor.dask_scheduler()
        )
        check_values(found, len(names), job.ignore_label)
        work = EvaluateWork(base, Truth(truth.volumes[0], len(names), job.ignore_label), plan)
        matrix = _count(work, plan, executor)
    finally:
        executor.close()
    return scores(matrix, names) | {
        "labels": job.labels,
        "truth": job.truth,
        "region": {"start": list(plan.region.start), "stop": list(plan.region.stop)},
        "shards": {"planned": len(plan), "done": len(plan), "skipped": 0, "failed": 0},
    }


def _class_names(mask: Image, truth: Image) -> list[str]:
    """Names by value: the mask's, which the truth must not contradict."""
    ours = {c.value: c.name for c in parse_label_classes(mask.attributes)}
    theirs = {c.value: c.name for c in parse_label_classes(truth.attributes)}
    if not (ours or theirs):
        raise RequestError(
            "neither mask nor truth names its classes; import the truth with --classes"
        )
    named = ours or theirs
    return [named.get(value, f"class_{value}") for value in range(max(named) + 1)]


def _count(work: EvaluateWork, plan: ShardPlan, executor: Executor) -> ConfusionMatrix:
    matrix = ConfusionMatrix.empty(work.truth.num_classes)
    done = 0
    with stop_on_signals() as stop, Progress("evaluating", len(plan)) as progress:
        for outcome in executor.map(work, range(len(plan)), stop):
            if outcome.error is not None:
                raise IncompleteRunError(
                    f"shard {outcome.item} cannot be evaluated: {outcome.error}", {}
                )
            matrix += ConfusionMatrix.from_dict(outcome.result.counts)
            done += 1
            progress.advance()
    if done < len(plan):
        raise IncompleteRunError("stopped; run the same command to evaluate again", {})
    return matrix
