"""Volumes so small that this process looks at them itself: no worker is waited for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flows.executors import SerialExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.executors import Executor

# Labels of up to so many voxels are read for faults before anything is made; in larger ones the
# workers find them.
SMALL_VOXELS = 2**26


def is_small(shape: Sequence[int]) -> bool:
    """Whether a volume is small; `shape` in voxels."""
    return math.prod(shape) <= SMALL_VOXELS


def scheduler_for(executor: Executor, shape: Sequence[int]) -> Any:
    """What computes a dask graph over a volume: threads of this process, or the workers.

    Parameters
    ----------
    executor : Executor
        Has the workers; they are not started for a small volume.
    shape : sequence of int
        Of the volume, in voxels.
    """
    return (SerialExecutor() if is_small(shape) else executor).dask_scheduler()
