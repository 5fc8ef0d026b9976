"""An evaluation: its folder, its stages, its result. No Prefect, no Ray.

Shards are counted by workers, recorded one by one, and merged in the order of their numbers, so
that a stopped evaluation goes on and a finished one is not done again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flows.cases import Case, case_identity, open_cases
from flows.collect import Statistics
from flows.count_work import CaseVoxels, CountWork
from flows.errors import RequestError
from flows.evaluation_result import evaluation_result
from flows.executors import SerialExecutor
from flows.join_work import JoinWork
from flows.measures import images_along, measures_of
from flows.prepare import check_writable, runs_url
from flows.run import versions
from flows.scoring import SMALL_VOXELS, check_values
from flows.shard_stage import Execution, ShardStage, complete, shard_counts
from segmentation.evaluation import COMPONENTS, Measures
from storage.blobs import Blobs
from storage.label_names import LABELS
from storage.label_values import label_values
from storage.stores import join_url, normalize_url
from storage.verify import check_objects

if TYPE_CHECKING:
    from flows.executors import Executor
    from flows.jobs import EvaluateJob

SCHEMA = 1
COUNT, JOIN = "count", "join"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation that can be started.

    Attributes
    ----------
    job : EvaluateJob
        What was asked for.
    cases : tuple of Case
        Volumes.
    measures : Measures
        What is counted.
    names : list of str
        Class names by value.
    digest : str
        Of everything that can change a number.
    identity : dict
        What the digest is made of.
    url : str
        Run folder.
    attempt : str
        Sorts after every earlier attempt.
    """

    job: EvaluateJob
    cases: tuple[Case, ...]
    measures: Measures
    names: list[str]
    digest: str
    identity: dict[str, Any]
    url: str
    attempt: str

    @property
    def blobs(self) -> Blobs:
        """The run folder."""
        return Blobs(self.url)

    @property
    def work(self) -> CountWork:
        """What workers get."""
        voxels = tuple(
            CaseVoxels(
                case.truth.volumes[0],
                tuple(mask.volumes[0] for mask in case.masks),
                case.probabilities if self.job.probabilities else None,
                case.plan,
            )
            for case in self.cases
        )
        along = images_along(self.job, self.cases[0])
        return CountWork(voxels, self.measures, self.url, along)

    def stage(self, name: str) -> ShardStage:
        """A stage over all shards."""
        return ShardStage(self.url, self.digest, name, len(self.work), self.attempt)

    @property
    def is_joined(self) -> bool:
        """Whether components have to be joined across shards."""
        return COMPONENTS in self.measures.objects


def prepare_evaluation(job: EvaluateJob, attempt: str) -> Evaluation:
    """Open and check what is compared; nothing is written.

    Raises
    ------
    RequestError, StorageError, ValueError
        One message for whatever makes the evaluation meaningless.
    """
    cases = open_cases(job)
    measures, names = measures_of(job, cases)
    if job.probabilities and any(case.probabilities is None for case in cases):
        raise RequestError(
            "the run that made the mask kept no probabilities; segment with --probabilities, or "
            "leave the flag out"
        )
    identity = {
        "schema": SCHEMA,
        "cases": [case_identity(case) for case in cases],
        "measures": asdict(measures),
        "names": names,
        "images_along": job.images_along,
        "probabilities": job.probabilities,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    evaluation = Evaluation(
        job, cases, measures, names, digest, identity, _folder(job, cases, digest), attempt
    )
    check_writable(evaluation.url, "give --runs URL to keep records elsewhere")
    _check_small(evaluation)
    return evaluation


def _folder(job: EvaluateJob, cases: tuple[Case, ...], digest: str) -> str:
    """evaluate-NAME-KEY beside the runs of the image, or beside the catalog."""
    if job.truth is not None and len(cases) == 1:
        container, _, name = cases[0].masks[0].url.rstrip("/").rpartition(f"/{LABELS}/")
        folder = runs_url(job, container)
    else:
        name = job.labels
        folder = normalize_url(job.runs) if job.runs else f"{normalize_url(job.image)}.runs"
    return join_url(folder, f"evaluate-{name}-{digest[:8]}")


def _check_small(evaluation: Evaluation) -> None:
    """Read the labels of small volumes for values outside the classes before anything is made."""
    for case in evaluation.cases:
        region = case.plan.region
        if region.voxels > SMALL_VOXELS:
            continue
        for label, called in ((case.truth, "truth"), *((m, "the mask") for m in case.masks)):
            scheduler = SerialExecutor().dask_scheduler()
            found = label_values(label.volumes[0], region.slices, scheduler=scheduler)
            # Ids are no classes, and a mask may use values that are no class of the truth.
            classes = called == "truth" and not evaluation.measures.binary
            wrong = {v: n for v, n in found.items() if classes or v < 0}
            check_values(wrong, len(evaluation.names), evaluation.job.ignore_label, called)


def open_evaluation(evaluation: Evaluation) -> None:
    """Make the run's folder, or find that it is there.

    Raises
    ------
    RequestError
        If the folder holds something else.
    """
    blobs = evaluation.blobs
    if blobs.exists("run.json"):
        document = json.loads(blobs.read("run.json"))
        if document.get("digest") != evaluation.digest:
            raise RequestError(f"{evaluation.url} holds another run; remove that folder")
        return
    document = {
        "schema": SCHEMA,
        "kind": "evaluate",
        "digest": evaluation.digest,
        "identity": evaluation.identity,
        "job": evaluation.job.model_dump(mode="json"),
        "plans": [case.plan.to_dict() for case in evaluation.cases],
        "versions": versions(),
    }
    blobs.write("run.json", json.dumps(document, indent=2).encode())


def count_shards(evaluation: Evaluation, execution: Execution) -> None:
    """Count every shard that has no record yet.

    Raises
    ------
    IncompleteRunError
        If shards failed or a stop was asked for.
    """
    work = evaluation.work

    def describe(item: int, result: Any) -> dict[str, Any]:
        number, _ = work.place(item)
        region = work.region(item)
        fields = {"volume": number, "region": {"start": region.start, "stop": region.stop}}
        return fields if result is None else fields | result.record()

    stage = evaluation.stage(COUNT)
    complete(stage, work, execution, label="evaluating", describe=describe)
    damaged = _damaged(stage, execution.executor)
    if damaged:
        complete(stage, work, execution, label="evaluating again", describe=describe, redo=damaged)


def _damaged(stage: ShardStage, executor: Executor) -> frozenset[int]:
    """Shards whose statistics are not what their records say."""
    objects = ((record["item"], record["objects"]) for record in stage.records())
    kept = ((item, stored) for item, stored in objects if stored)
    problems = check_objects(stage.url, kept, scheduler=executor.dask_scheduler())
    return frozenset(problem.item for problem in problems)


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
        JoinWork(evaluation.work),
        execution,
        label="joining components",
        describe=lambda _item, result: {"joins": result or []},
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
