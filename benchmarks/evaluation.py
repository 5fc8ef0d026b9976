"""What evaluation costs: the count of two label volumes beside a plain read of the same arrays.

Run ``python -m benchmarks.evaluation [--voxels 2e9] [--rounds 5] [--json]``. The labels are the
real ones of a sheet of neuropil where they are there (see the data folder), tiled, else a
synthetic stack. Reads and counts take turns; each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import tell
from flows.count_work import CaseVoxels, CountWork
from flows.evaluation_run import run_evaluation
from flows.executors import SerialExecutor
from flows.jobs import EvaluateJob
from flows.pool import make_executor
from segmentation.evaluation import Measures
from segmentation.metrics.counting import count_planes
from segmentation.plan import trivial_plan
from segmentation.region import Region
from segmentation.synthetic import synthetic_stack
from storage.convert import import_image, import_labels
from storage.volume import open_label

DATA = Path(__file__).parents[2] / "shared" / "data" / "vnc_sstem" / "labels.tif"
CLASSES = ("background", "membrane", "glia", "mitochondria", "synapse")
GIGA = 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voxels", type=float, default=2e9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    labels, source = _labels()
    figures = _machine() | {"labels": source} | _kernel(labels, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        tell("writing the label pair")
        image = _write_pair(Path(folder), labels, int(options.voxels))
        figures |= _volume(image, options.rounds, options.workers)
    sys.stdout.write(json.dumps(figures) + "\n" if options.json else _text(figures))


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__}


def _labels() -> tuple[np.ndarray, str]:
    if DATA.is_file():
        import tifffile

        return tifffile.imread(DATA).astype(np.uint8), "VNC"
    _, labels = synthetic_stack((16, 1024, 1024), seed=1)
    return labels.astype(np.uint8), "synthetic"


def _disturbed(labels: np.ndarray) -> np.ndarray:
    """A mask that is wrong as masks are: shifted, and with noise in one voxel of 200."""
    mask = np.roll(labels, (3, 5), (1, 2))
    random = np.random.default_rng(0)
    places = tuple(random.integers(0, n, labels.size // 200) for n in labels.shape)
    mask[places] = random.integers(0, len(CLASSES), len(places[0]))
    return mask


def _kernel(labels: np.ndarray, rounds: int) -> dict[str, Any]:
    """Voxels per second of the kernel in one thread, beside scikit-learn's confusion matrix."""
    from sklearn.metrics import confusion_matrix

    mask = _disturbed(labels)
    count_planes(labels, mask, len(CLASSES))
    part = (labels[:2].ravel(), mask[:2].ravel())
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(labels.size / _seconds(lambda: count_planes(labels, mask, len(CLASSES))))
        theirs.append(part[0].size / _seconds(lambda: confusion_matrix(*part)))
    return {
        "kernel_gvoxel_per_s": statistics.median(ours) / GIGA,
        "sklearn_gvoxel_per_s": statistics.median(theirs) / GIGA,
    }


def _write_pair(folder: Path, labels: np.ndarray, voxels: int) -> str:
    """An image with the labels `truth` and `mask`, of about this many voxels."""
    depth, height, width = labels.shape
    side = 4
    repeats = max(1, voxels // (labels.size * side * side))
    shape = (repeats * depth, side * height, side * width)
    image = str(folder / "stack.zarr")
    for name, source in (("truth", labels), ("mask", _disturbed(labels))):
        plane = np.tile(source, (1, side, side))
        path = folder / f"{name}.npy"
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for number in range(repeats):
            stored[number * depth : (number + 1) * depth] = plane
        del stored
        if name == "truth":
            import_image(
                [str(path)],
                image,
                axes="zyx",
                voxel_size=(0.045, 0.0046, 0.0046),
                unit="micrometer",
            )
        import_labels([str(path)], image, name=name, classes=CLASSES, axes="zyx")
        path.unlink()
    return image


def _volume(image: str, rounds: int, workers: int) -> dict[str, Any]:
    truth, mask = (open_label(image, name).volumes[0] for name in ("truth", "mask"))
    plan = trivial_plan(truth.shape, Region.whole(truth.shape), truth.shards or truth.chunks)
    regions = [plan.write_region(index).slices for index in range(len(plan))]
    work = CountWork((CaseVoxels(truth, (mask,), None, plan),), Measures(len(CLASSES)))
    job = EvaluateJob(image=image, labels="mask", truth="truth", workers=workers)
    executor = make_executor(job)
    read, counted, serial = [], [], []
    try:
        _count(work, executor)
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            read.append(_seconds(lambda: [(truth[r], mask[r]) for r in regions]))
            counted.append(_seconds(lambda: _count(work, executor)))
            serial.append(_seconds(lambda: _count(work, SerialExecutor())))
    finally:
        executor.close()
    started = time.perf_counter()
    run_evaluation(EvaluateJob(image=image, labels="mask", truth="truth", executor="serial"))
    whole = time.perf_counter() - started
    voxels, cores = float(np.prod(truth.shape)), os.cpu_count() or 1
    bound = statistics.median(read) + voxels / (GIGA * cores)
    return {
        "voxels": voxels,
        "shards": len(plan),
        "plain_read_s": statistics.median(read),
        "bound_s": bound,
        "evaluate_s": statistics.median(counted),
        "evaluate_workers": workers,
        "evaluate_serial_s": statistics.median(serial),
        "evaluate_over_bound": statistics.median(counted) / bound,
        "whole_command_serial_s": whole,
    }


def _count(work: CountWork, executor: Any) -> None:
    import threading

    outcomes = list(executor.map(work, range(len(work)), threading.Event()))
    assert not any(outcome.error for outcome in outcomes), outcomes  # noqa: S101 a benchmark


def _seconds(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _text(figures: dict[str, Any]) -> str:
    return "".join(
        f"{name}: {value:.4g}\n" if isinstance(value, float) else f"{name}: {value}\n"
        for name, value in figures.items()
    )


if __name__ == "__main__":
    main()
