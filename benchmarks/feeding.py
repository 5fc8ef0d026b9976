"""Whether data feeding limits training: steps with real samples beside steps with one kept batch.

Run ``python -m benchmarks.feeding [--rounds 5] [--steps 20] [--json]``. The default network, a
synthetic stack in OME-Zarr, default augmentation. Both kinds of steps take turns; each figure is
the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.presets import build_network
from segmentation.networks.runtime import configure
from segmentation.networks.variants import choose_precision
from segmentation.normalize import IntensityTransform
from segmentation.region import Region
from segmentation.synthetic import synthetic_stack
from segmentation.training.feed import Feed
from segmentation.training.fit import prepare_training
from segmentation.training.samples import TrainingVolume
from segmentation.training.scorer import TrainingParts
from segmentation.training.settings import TrainSettings
from storage.convert import import_image, import_labels
from storage.intensity import percentiles
from storage.volume import open_image, open_label

if TYPE_CHECKING:
    from segmentation.training.fit import Training

SHAPE = (12, 1024, 1024)
NUM_CLASSES = 5


@dataclass(frozen=True, slots=True)
class KeptBatch(Feed):
    """The first batch again and again."""

    kept: Any = None

    def batch(self, step: int) -> Any:
        """What was kept."""
        return self.kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure()
    with tempfile.TemporaryDirectory() as folder:
        training = _training(Path(folder))
        figures = measure(training, options.rounds, options.steps)
    figures |= {"cores": os.cpu_count(), "precision": training.settings.precision}
    text = "".join(f"{name}: {value}\n" for name, value in figures.items())
    sys.stdout.write(json.dumps(figures) + "\n" if options.json else text)


def _training(folder: Path) -> Training:
    """The default training on a stack that is read from the disk."""
    voxels, labels = synthetic_stack(SHAPE, seed=1)
    np.save(folder / "image.npy", voxels)
    np.save(folder / "truth.npy", labels)
    url = str(folder / "stack.zarr")
    import_image([str(folder / "image.npy")], url, axes="zyx")
    import_labels([str(folder / "truth.npy")], url, name="truth", axes="zyx")
    image, label = open_image(url).volumes[0], open_label(url, "truth").volumes[0]
    low, high, _ = percentiles(image, 1, 99, scheduler="threads")
    volume = TrainingVolume(image, label, Region.whole(label.shape), IntensityTransform(low, high))
    return prepare_training(
        build_network("default", "yx", channels=1, num_classes=NUM_CLASSES),
        TrainingParts((volume,), (volume,)),
        num_classes=NUM_CLASSES,
        settings=TrainSettings(precision=choose_precision("auto")),
    )


def measure(training: Training, rounds: int, steps: int) -> dict[str, float]:
    """Steps a second of both kinds, their ratio, and the share of CPU time that feeding takes."""
    real = training.feed
    kept = KeptBatch(
        real.sampler, real.augmentation, real.batch_size, real.seed, kept=real.batch(0)
    )
    rates: dict[str, list[float]] = {"real": [], "kept": []}
    cpu = []
    for _ in range(rounds + 1):
        for name, feed in (("real", real), ("kept", kept)):
            training.feed = feed
            wall, busy = time.perf_counter(), time.process_time()
            training.take(steps, lambda: False)
            rates[name].append(steps / (time.perf_counter() - wall))
            if name == "kept":
                cpu.append((time.process_time() - busy) / steps)
    feeding = []
    for number in range(rounds + 1):
        busy = time.process_time()
        for step in range(steps):
            real.batch(number * steps + step)
        feeding.append((time.process_time() - busy) / steps)
    # The first round compiles and fills the cache.
    ratios = [r / k for r, k in zip(rates["real"][1:], rates["kept"][1:], strict=True)]
    return {
        "steps_per_s_real": round(statistics.median(rates["real"][1:]), 3),
        "steps_per_s_kept": round(statistics.median(rates["kept"][1:]), 3),
        "ratio": round(statistics.median(ratios), 3),
        "step_cpu_s": round(statistics.median(cpu[1:]), 4),
        "feeding_cpu_s": round(statistics.median(feeding[1:]), 4),
        "feeding_share": round(statistics.median(feeding[1:]) / statistics.median(cpu[1:]), 4),
    }


if __name__ == "__main__":
    main()
