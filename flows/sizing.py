"""What fits: the plan of a job within a worker's memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flows.precision import FLOAT32, run_precision
from segmentation.bundle import MODEL_FILE
from segmentation.networks.memory import LOW_PRECISION_SHARE
from segmentation.planner import ASSUMED_COST, Needs, make_plan

if TYPE_CHECKING:
    from flows.jobs import PlanJob
    from flows.model import Model
    from segmentation.ladder import TileCost
    from segmentation.plan import ShardPlan
    from segmentation.region import Region
    from storage.labels import LabelLayout
    from storage.volume import Image

MEBIBYTE = 2**20
# Resident memory of a worker before its first shard, on Ray as in the command itself;
# tests/test_flows/test_memory.py holds it.
RESERVED_IDENTITY = 192 * MEBIBYTE
RESERVED_KERAS = 736 * MEBIBYTE
# Numba, SciPy and the kernels that compare with a truth.
RESERVED_COUNTING = 144 * MEBIBYTE
# Of a process that trains, without what a step holds.
RESERVED_TRAINING = 1024 * MEBIBYTE
# The weights themselves, and once more while they are read.
WEIGHT_COPIES = 2
# Bytes for each of a cell that is encoded: its voxels, its chunks, its object, and their copies.
ENCODED = 4


def plan_shards(
    job: PlanJob,
    image: Image,
    model: Model,
    layout: LabelLayout,
    region: Region,
    channels: int,
    dtype: str,
    cost: TileCost | None = None,
    truth: Image | None = None,
) -> ShardPlan:
    """The plan of a job; its tiles and shards are as large as the memory of a worker allows.

    `cost` is what a ladder has found for the device, if there was one.
    """
    ones = len(layout.axes) - len(model.card.axes if model.card else layout.axes)
    card = model.card
    stride = (1,) * ones + (card.stride if card else (1,) * len(layout.axes))
    halo = (0,) * ones + (card.halo if card else (0,) * len(layout.axes))
    fixed = card is not None and card.tile is not None and not card.exact
    return make_plan(
        shape=layout.shapes[0],
        region=region,
        cell=layout.cells[0],
        stride=stride,
        halo=halo,
        network_axes=len(layout.axes) - ones,
        needs=_needs(job, image, model, channels, dtype, truth),
        memory_bytes=job.memory or default_memory(job.workers),
        tile=(1,) * ones + card.tile if fixed and card and card.tile else None,
        exact=card is None or card.exact,
        cost=cost or ASSUMED_COST,
    )


def call_voxels(job: PlanJob, image: Image, model: Model, dtype: str) -> int:
    """Voxels of the largest call of a network that a worker's memory allows."""
    channels = model.card.channels if model.card else 1
    needs = _needs(job, image, model, channels, dtype, None)
    counting = RESERVED_COUNTING if job.truth else 0
    spare = (job.memory or default_memory(job.workers)) - needs.reserved - counting
    return max(0, spare) // needs.tile_voxel


def _needs(
    job: PlanJob, image: Image, model: Model, channels: int, dtype: str, truth: Image | None
) -> Needs:
    itemsize = _itemsize(image)
    mask = np.dtype(dtype).itemsize
    # The class of a voxel, and its truth.
    labels = mask + (_itemsize(truth) if truth else 0)
    counting = RESERVED_COUNTING if truth else 0
    if model.card is None:
        return Needs(RESERVED_IDENTITY + counting, itemsize, labels, 4 * itemsize, ENCODED * mask)
    classes = len(model.card.classes)
    exact, keeps = model.card.exact, getattr(job, "probabilities", False)
    blending = 0 if exact else 4 * (classes + 1)
    # Classes alone are next to nothing; blending multiplies by weights.
    probabilities = 4 * classes * (keeps if exact else 2)
    # The probabilities of all classes, and those of one as they are stored.
    kept = classes + 1 if keeps else 0
    ends = 4 * (2 * channels + classes) + 1
    whole = model.card.activation_bytes + ends
    low = math.ceil(model.card.activation_bytes * LOW_PRECISION_SHARE) + ends
    is_low = run_precision(job.precision, model) != FLOAT32
    return Needs(
        reserved=RESERVED_KERAS + counting + WEIGHT_COPIES * _weight_bytes(model),
        read_voxel=channels * itemsize,
        write_voxel=labels + blending + kept,
        tile_voxel=low if is_low else whole,
        cell_voxel=ENCODED * mask,
        # The tile on which the precisions are compared.
        lone_voxel=whole if is_low else 0,
        # What goes in, as read and normalised; then the probabilities that come out.
        wait_voxel=max(8 * channels, probabilities),
    )


def _itemsize(image: Image) -> int:
    """Bytes of a voxel."""
    return int(np.dtype(image.volumes[0].dtype).itemsize)


def _weight_bytes(model: Model) -> int:
    """Bytes of a bundle's weights: the model file holds little else."""
    return Path(model.folder, MODEL_FILE).stat().st_size


def training_memory(wanted: int | None, workers: int) -> int:
    """Memory of one training: what was asked for, else its part of four fifths of the machine's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return wanted or total * 4 // 5 // workers


def default_memory(workers: int | None) -> int:
    """Half of the machine's memory, shared among the workers, 8 GiB at most."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(8 * 1024 * MEBIBYTE, total // 2 // (workers or default_workers()))


def default_workers() -> int:
    """One worker for every two CPUs."""
    return max(1, lent_cpus() // 2)


def lent_cpus() -> int:
    """CPUs that workers share: of this machine, or of all machines that ``MASKMILL_CPUS`` counts.

    A process in a container or in a job of Slurm counts the machine's CPUs, not those it was lent;
    a worker that asked for its share of those would wait for ever.
    """
    return int(os.environ.get("MASKMILL_CPUS") or os.cpu_count() or 1)
