"""The stages of a run after it was opened: infer, pyramid, verify.

Each may be repeated; each goes on from the records that are there. No Prefect, no Ray.
"""

from __future__ import annotations

import json
from collections import Counter
from logging import getLogger
from typing import TYPE_CHECKING, Any

from flows.errors import VerificationError
from flows.mending import mend
from flows.publishing import leave_proof
from flows.pyramid_stage import build_levels
from flows.record_check import remove_bad_records
from flows.recorded_mask import mask_of
from flows.run import DAMAGE, INFER, SCHEMA, Run
from flows.scoring import run_truth, truth_key
from flows.shard_stage import Execution, complete
from flows.skipping import add_counts
from flows.small_volumes import scheduler_for
from flows.verification import inspect
from flows.work import PROBABILITIES, SegmentWork
from storage.stores import join_url

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from flows.executors import Executor
    from flows.progress import ProgressMaker

logger = getLogger(__name__)


def segment_work(run: Run, threads: int | None) -> SegmentWork:
    """What workers get."""
    prepared = run.prepared
    card = prepared.model.card
    return SegmentWork(
        image=prepared.image.volumes[0],
        target=run.target,
        path=prepared.image.volumes[0].path,
        dtype=prepared.dtype,
        model=prepared.model.source,
        plan=prepared.plan,
        transform=run.transform,
        channels=run.job.channels,
        truth=run_truth(run),
        num_classes=len(card.classes) if card else 0,
        probabilities=join_url(run.url, PROBABILITIES)
        if run.job.probabilities and card is not None
        else None,
        threads=threads,
        digest=prepared.model.digest,
        precision=prepared.precision,
        fold=prepared.folds,
        scores=prepared.by_scores,
        skipping=prepared.skipping,
    )


def infer(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    progress: ProgressMaker,
    *,
    threads: int | None = None,
    redo: frozenset[int] = frozenset(),
) -> None:
    """Segment every shard without a good record, and those to redo.

    Raises
    ------
    IncompleteRunError
        If shards failed or a stop was asked for; the run's folder says which.
    """
    key = truth_key(run)

    def describe(item: int, result: Any) -> dict[str, Any]:
        region = run.plan.write_region(item)
        fields: dict[str, Any] = {"region": {"start": region.start, "stop": region.stop}}
        return fields if result is None else fields | {"truth": key} | result.record()

    work = segment_work(run, threads)
    stage = run.stage(INFER, len(run.plan))
    execution = Execution(executor, stop, progress)
    complete(stage, work, execution, label="segmenting", describe=describe, redo=redo)


def build_pyramid(run: Run, executor: Executor) -> None:
    """Fill the coarser levels by mode, as far as the finest one can be read.

    A torn cell is not this stage's to judge: `verify` finds it, redoes it, and builds the levels
    that were left.
    """
    try:
        build_levels(run, executor)
    except (ValueError, RuntimeError) as error:
        logger.info("the levels are left to the verification: %s", error)


def verify(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    progress: ProgressMaker,
    *,
    threads: int | None = None,
) -> int:
    """Compare stored bytes with the records; redo what disagrees, once; leave the proof.

    Returns
    -------
    int
        Number of shards that were redone.

    Raises
    ------
    VerificationError
        If something still disagrees.
    """

    def redo(shards: frozenset[int]) -> None:
        infer(run, executor, stop, progress, threads=threads, redo=shards)

    mask = mask_of(run)
    remove_bad_records(mask)
    scheduler = scheduler_for(executor, run.plan.shape)
    found = inspect(mask, scheduler)
    redone = 0
    if found.problems:
        # A level may have been built in this attempt, before the finer one was looked at.
        redone = len(mend(run, executor, found, redo, proven=False).shards)
        found = inspect(mask_of(run), scheduler)
    if found.problems:
        raise VerificationError(found.message())
    leave_proof(run, found.checked)
    run.blobs.delete(DAMAGE)
    return redone


def write_timings(
    run: Run,
    seconds: dict[str, float],
    workers: int | None,
    requests: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Add this attempt to timings.json: seconds by stage, and what the shards took.

    Parameters
    ----------
    requests : mapping, optional
        Requests to object stores that this process made for the attempt; those of the workers
        are added.

    Returns
    -------
    dict
        All requests of the attempt.
    """
    before = json.loads(run.blobs.read("timings.json")) if run.blobs.exists("timings.json") else {}
    shards = {"read": 0.0, "compute": 0.0, "write": 0.0}
    skipped: list[dict[str, int]] = []
    peak, count, attempts = 0, 0, 0
    total = Counter(requests or {})
    for record in run.manifest.records(INFER, len(run.plan)):
        if record["attempt"] == run.attempt:
            for part in shards:
                shards[part] += record["seconds"].get(part, 0.0)
            peak = max(peak, record["peak_bytes"])
            count += 1
            attempts += record["attempts"]
            skipped.append(record.get("skipping", {}))
            if run.job.executor != "serial":
                total.update(record.get("requests", {}))
    attempt = {
        "attempt": run.attempt,
        "executor": run.job.executor,
        "workers": workers,
        "seconds": seconds,
        "shards": count,
        "tries": attempts,
        "shard_seconds": {part: round(value, 3) for part, value in shards.items()},
        "peak_bytes": peak,
        "projected_bytes": run.plan.projected_bytes,
        "amplification": run.plan.amplification,
        "requests": dict(total),
    }
    if run.prepared.skipping is not None:
        attempt["skipping"] = add_counts(skipped)
    document = {"schema": SCHEMA, "attempts": [*before.get("attempts", []), attempt]}
    run.blobs.write("timings.json", json.dumps(document, indent=2).encode())
    return dict(total)
