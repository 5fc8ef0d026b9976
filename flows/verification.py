"""What a run has stored against what it has recorded, and the cells of its levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flows.run import INFER
from flows.staging import METADATA_STAGE
from flows.work import PROBABILITIES
from storage.pyramid import level_factors
from storage.verify import Problem, check_objects
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flows.executors import Executor
    from flows.run import Run

PROBLEMS_SHOWN = 3


def cells_of(run: Run, path: str) -> Iterator[tuple[int, ...]]:
    """Cells of a level that the region touches."""
    level = next(i for i, v in enumerate(run.prepared.image.volumes) if v.path == path)
    layout = run.prepared.layout
    start, stop = run.plan.region.start, run.plan.region.stop
    for fine, coarse in zip(layout.shapes[:level], layout.shapes[1 : level + 1], strict=True):
        factors = level_factors(fine, coarse)
        start = tuple(min(a // f, n - 1) for a, f, n in zip(start, factors, coarse, strict=True))
        stop = tuple(min(-(-b // f), n) for b, f, n in zip(stop, factors, coarse, strict=True))
    return WriteGrid(layout.shapes[level], layout.cells[level]).cells(start, stop)


def cell_number(grid: WriteGrid, index: Iterable[int]) -> int:
    """Position of a cell in C order: the item under which it is recorded."""
    return int(np.ravel_multi_index(tuple(index), grid.grid_shape))


def stages_of(run: Run) -> list[tuple[str, int, list[int]]]:
    """Name, size and wanted items of every recorded stage."""
    layout = run.prepared.layout
    volumes = run.prepared.image.volumes
    stages = [
        (METADATA_STAGE, len(volumes) + 1, list(range(len(volumes) + 1))),
        (INFER, len(run.plan), list(range(len(run.plan)))),
    ]
    for level, volume in enumerate(volumes[1:], start=1):
        grid = WriteGrid(layout.shapes[level], layout.cells[level])
        wanted = [cell_number(grid, c) for c in cells_of(run, volume.path)]
        stages.append((f"pyramid-{volume.path}", int(np.prod(grid.grid_shape)), wanted))
    return stages


def find_problems(run: Run, executor: Executor) -> dict[str, list[Problem]]:
    """Records that are absent and objects that are not what was recorded, by stage."""
    found: dict[str, list[Problem]] = {}
    for name, planned, wanted in stages_of(run):
        done = run.manifest.completed(name, planned)
        absent = [Problem(i, "", "no record") for i in wanted if not done[i]]
        checked = check_objects(
            run.target, _objects(run, name, planned), scheduler=executor.dask_scheduler()
        )
        problems = [*absent, *checked]
        if problems:
            found[name] = problems
    return found


def _objects(run: Run, name: str, planned: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for record in run.manifest.records(name, planned):
        yield (
            record["item"],
            [o for o in record["objects"] if not o["key"].startswith(PROBABILITIES)],
        )


def problem_message(problems: dict[str, list[Problem]]) -> str:
    """One line for what verification found."""
    total = sum(map(len, problems.values()))
    first = [
        f"{p.key or f'{name} item {p.item}'} {p.fault}" for name, ps in problems.items() for p in ps
    ]
    shown = "; ".join(first[:PROBLEMS_SHOWN])
    return f"{total} stored objects disagree with the records: {shown}"
