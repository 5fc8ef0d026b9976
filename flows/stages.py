"""The stages of a run after it was opened: infer, pyramid, verify, publish.

Each may be repeated; each goes on from the records that are there. No Prefect, no Ray.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import VerificationError
from flows.run import DAMAGE, INFER, PUBLISHED, SCHEMA, Run, incomplete
from flows.scoring import run_truth, truth_key
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
    done = run.manifest.completed(INFER, len(run.plan))
    done[list(redo)] = False
    todo = (int(i) for i in np.flatnonzero(~done))
    key = truth_key(run)
    failed: list[int] = []
    with (
        run.writer(INFER, len(run.plan)) as writer,
        progress("segmenting", len(run.plan), int(done.sum())) as shown,
    ):
        for outcome in executor.map(segment_work(run, threads), todo, stop):
            if outcome.error is None:
                writer.append(outcome.item, _record(run, outcome.result, key, outcome.attempts))
                done[outcome.item] = True
                shown.advance()
            else:
                failed.append(outcome.item)
                _write_failure(run, outcome.item, outcome.error, outcome.attempts)
    if not done.all():
        raise incomplete(run, done, failed, stopped=stop.is_set() and not failed)


def _record(run: Run, result: Any, key: str | None, attempts: int) -> dict[str, Any]:
    fields = asdict(result)
    fields.pop("index")
    region = run.plan.write_region(result.index)
    return {
        "attempt": run.attempt,
        "attempts": attempts,
        "region": {"start": region.start, "stop": region.stop},
        "truth": key,
        **fields,
    }


def _write_failure(run: Run, item: int, error: str, attempts: int) -> None:
    region = run.plan.write_region(item)
    document = {
        "schema": SCHEMA,
        "shard": item,
        "region": {"start": region.start, "stop": region.stop},
        "attempt": run.attempt,
        "attempts": attempts,
        "error": error,
    }
    try:
        run.blobs.write(f"failures/{item:08d}-{run.attempt}.json", json.dumps(document).encode())
    except OSError:
        # On a full disk the message on the terminal is what is left.
        return


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
