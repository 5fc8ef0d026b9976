"""The stages of an evaluation: count the shards, join components, merge. No Prefect, no Ray.

Each goes on from the records that are there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.collect import Statistics
from flows.counted_work import CountedWork, settled
from flows.evaluation_result import evaluation_result
from flows.join_work import JoinWork
from flows.label_check import check_values
from flows.shard_stage import Execution, ShardStage, complete
from flows.tally import shard_counts
from storage.verify import check_objects

if TYPE_CHECKING:
    from flows.evaluation import Evaluation
    from flows.executors import Executor

COUNT, JOIN = "count", "join"


def count_shards(evaluation: Evaluation, execution: Execution) -> None:
    """Count every shard that has no record yet.

    Raises
    ------
    IncompleteRunError
        If shards failed or a stop was asked for.
    """
    work = evaluation.work
    counted = CountedWork(work)

    @settled
    def describe(item: int, result: Any) -> dict[str, Any]:
        number, _ = work.place(item)
        region = work.region(item)
        fields = {"volume": number, "region": {"start": region.start, "stop": region.stop}}
        return fields if result is None else fields | result.record()

    stage = evaluation.stage(COUNT)
    complete(stage, counted, execution, label="evaluating", describe=describe)
    damaged = _damaged(stage, execution.executor)
    if damaged:
        again = "evaluating again"
        complete(stage, counted, execution, label=again, describe=describe, redo=damaged)


def _damaged(stage: ShardStage, executor: Executor) -> frozenset[int]:
    """Shards whose statistics are not what their records say."""
    objects = ((record["item"], record["objects"]) for record in stage.records())
    kept = ((item, stored) for item, stored in objects if stored)
    problems = check_objects(stage.url, kept, scheduler=executor.dask_scheduler())
    return frozenset(problem.item for problem in problems if problem.item is not None)


def join_components(evaluation: Evaluation, execution: Execution) -> None:
    """Find which components hang together across the borders of shards.

    Raises
    ------
    IncompleteRunError
        If shards failed or a stop was asked for.
    """
    if not evaluation.is_joined:
        return
    complete(
        evaluation.stage(JOIN),
        CountedWork(JoinWork(evaluation.work)),
        execution,
        label="joining components",
        describe=settled(lambda _item, result: {"joins": result or []}),
    )


def collect(evaluation: Evaluation) -> dict[str, Any]:
    """Merge the records of all shards into result.json.

    Raises
    ------
    IncompleteRunError
        If a shard has no record.
    RequestError
        If the truth has values outside the classes.
    ValueError
        If statistics that were stored apart are damaged.
    """
    work, stage = evaluation.work, evaluation.stage(COUNT)
    stage.check_complete()
    statistics = Statistics.empty(work)
    for record in stage.records():
        statistics.add(record["item"], record["statistics"])
        statistics.add_heavy(record["item"], evaluation.blobs, record["objects"])
    check_values(statistics.strays, len(evaluation.names), evaluation.job.ignore_label)
    if evaluation.is_joined:
        evaluation.stage(JOIN).check_complete()
        for record in evaluation.stage(JOIN).records():
            statistics.joins += [(record["item"], join) for join in record["joins"]]
    result = evaluation_result(evaluation, statistics)
    result["shards"] = shard_counts(len(work), len(work))
    evaluation.blobs.write("result.json", json.dumps(result, indent=2, allow_nan=False).encode())
    return result
