"""An evaluation that can be started: what is compared, its digest, its folder.

The folder belongs to the digest of everything that can change a number, so that a stopped
evaluation goes on and a finished one is not done again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.cases import Case, case_identity, open_cases
from flows.count_work import CaseVoxels, CountWork
from flows.errors import RequestError
from flows.executors import SerialExecutor
from flows.label_check import check_values
from flows.measures import images_along, measures_of
from flows.prepare import check_writable, runs_url
from flows.run import versions
from flows.run_document import EVALUATE, read_run
from flows.shard_stage import ShardStage
from flows.small_volumes import SMALL_VOXELS
from segmentation.evaluation import COMPONENTS, Measures
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.label_names import LABELS
from storage.label_values import label_values
from storage.stores import join_url, normalize_url

if TYPE_CHECKING:
    from flows.jobs import EvaluateJob

SCHEMA = 1


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


def prepare_evaluation(job: EvaluateJob, attempt: str = "") -> Evaluation:
    """Open and check what is compared; nothing is written.

    An evaluation that will write records needs its `attempt`, see `flows.run.new_attempt`.

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


def open_evaluation(evaluation: Evaluation) -> Evaluation:
    """Make the run's folder, or reload the plans it was begun with: items are numbered by them.

    Raises
    ------
    RequestError
        If the folder holds something else.
    """
    blobs = evaluation.blobs
    if blobs.exists("run.json"):
        document = read_run(blobs, (EVALUATE,))
        if document.get("digest") != evaluation.digest:
            raise RequestError(f"{evaluation.url} holds another run; remove that folder")
        return with_plans(evaluation, document["plans"])
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
    return evaluation


def with_plans(evaluation: Evaluation, plans: list[dict[str, Any]]) -> Evaluation:
    """The evaluation with plans as run.json keeps them, one for each volume."""
    cases = tuple(
        replace(case, plan=ShardPlan.from_dict(plan))
        for case, plan in zip(evaluation.cases, plans, strict=True)
    )
    return replace(evaluation, cases=cases)
