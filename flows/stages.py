"""The stages of a run after it was opened: infer, pyramid, verify, publish.

Each may be repeated; each goes on from the records that are there. No Prefect, no Ray.
"""

from __future__ import annotations

import json
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import VerificationError
from flows.run import DAMAGE, INFER, PUBLISHED, SCHEMA, Run
from flows.scoring import run_truth, truth_key
from flows.shard_stage import Execution, complete
from flows.verification import cell_number, cells_of, find_problems, problem_message
from flows.work import PROBABILITIES, SegmentWork
from storage.labels import listed, publish
from storage.pyramid import build_level
from storage.stores import join_url
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    import threading

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
        model=prepared.model.folder,
        plan=prepared.plan,
        transform=run.transform,
        channels=run.job.channels,
        truth=run_truth(run),
        num_classes=len(card.classes) if card else 0,
        probabilities=join_url(run.url, PROBABILITIES)
        if run.job.probabilities and card is not None
        else None,
        threads=threads,
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
        _build_levels(run, executor)
    except (ValueError, RuntimeError) as error:
        logger.info("the levels are left to the verification: %s", error)


def _build_levels(run: Run, executor: Executor, *, redo: bool = False) -> None:
    """One task a cell, skipping recorded cells."""
    volumes = run.prepared.image.volumes
    for finer, volume, shape, cell in zip(
        volumes,
        volumes[1:],
        run.prepared.layout.shapes[1:],
        run.prepared.layout.cells[1:],
        strict=False,
    ):
        grid = WriteGrid(shape, cell)
        planned = int(np.prod(grid.grid_shape))
        name = f"pyramid-{volume.path}"
        done = run.manifest.completed(name, planned)
        if redo:
            done[:] = False
        cells = [c for c in cells_of(run, volume.path) if not done[cell_number(grid, c)]]
        records = build_level(
            run.target,
            finer.path,
            volume.path,
            reducer="mode",
            scheduler=executor.dask_scheduler(),
            cells=cells,
        )
        with run.writer(name, planned) as writer:
            for record in records:
                stored = {k: record[k] for k in ("key", "size", "checksum")}
                item = cell_number(grid, record["cell"])
                writer.append(item, {"attempt": run.attempt, "objects": [stored]})


def verify(
    run: Run,
    executor: Executor,
    stop: threading.Event,
    progress: ProgressMaker,
    *,
    threads: int | None = None,
) -> int:
    """Compare stored bytes with the records; redo what disagrees, once.

    Returns
    -------
    int
        Number of shards that were redone.

    Raises
    ------
    VerificationError
        If something still disagrees.
    """
    problems = find_problems(run, executor)
    if not problems:
        run.blobs.delete(DAMAGE)
        return 0
    shards = frozenset(p.item for p in problems.get(INFER, ()))
    if shards:
        infer(run, executor, stop, progress, threads=threads, redo=shards)
    _build_levels(run, executor, redo=True)
    left = find_problems(run, executor)
    if left:
        raise VerificationError(problem_message(left))
    run.blobs.delete(DAMAGE)
    return len(shards)


def publish_run(run: Run, clock: str) -> bool:
    """List the mask for readers; a run over a region is left unlisted.

    Returns
    -------
    bool
        Whether it is published.
    """
    if not run.prepared.is_whole:
        return False
    container = run.prepared.container
    if run.directory in listed(container) and run.blobs.exists(PUBLISHED):
        return True
    folder = run.url.rsplit("/", 1)[0]
    replaced = publish(container, run.directory, run.job.name, lock_url=folder, owner=run.attempt)
    document = {"schema": SCHEMA, "when": clock, "by": run.attempt, "replaced": replaced}
    run.blobs.write(PUBLISHED, json.dumps(document).encode())
    return True


def write_timings(run: Run, seconds: dict[str, float], workers: int | None) -> None:
    """Add this attempt to timings.json: seconds by stage, and what the shards took."""
    before = json.loads(run.blobs.read("timings.json")) if run.blobs.exists("timings.json") else {}
    shards = {"read": 0.0, "compute": 0.0, "write": 0.0}
    peak, count, attempts = 0, 0, 0
    for record in run.manifest.records(INFER, len(run.plan)):
        if record["attempt"] == run.attempt:
            for part in shards:
                shards[part] += record["seconds"].get(part, 0.0)
            peak = max(peak, record["peak_bytes"])
            count += 1
            attempts += record["attempts"]
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
    }
    document = {"schema": SCHEMA, "attempts": [*before.get("attempts", []), attempt]}
    run.blobs.write("timings.json", json.dumps(document, indent=2).encode())
