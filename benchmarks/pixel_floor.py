"""A floor for networks: boosted trees on the filters of each voxel's neighbourhood, no context.

Run ``python -m benchmarks.pixel_floor IMAGE.zarr --label truth --train z=0:12 --test z=12:16
[--ignore-label N] [--voxels 200000] [--seed 0] [--json]``. Every section is filtered by itself
with Gaussians of several widths: the smoothed intensity, the length of its gradient, and the
eigenvalues of its Hessian. Trees learn from some voxels of the training region, drawn evenly,
and label every voxel of the test region; Dice is per class, pooled over the region. A network
that does not beat this on the same split has learned textures and no shapes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.bench import tell
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from segmentation.region import Region, parse_region
from segmentation.shard import read_block
from storage.ome_labels import parse_label_classes
from storage.volume import open_image, open_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Standard deviations of the Gaussians, in voxels.
SIGMAS = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
ITERATIONS = 200


def main() -> None:
    """Learn, label, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--label", default="truth")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--ignore-label", type=int)
    parser.add_argument("--voxels", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    result = floor(options) | {"seconds": time.perf_counter() - started}
    sys.stdout.write(json.dumps(result) + "\n" if options.json else _text(result))


def floor(options: argparse.Namespace) -> dict[str, Any]:
    """Scores of the trees on the test region."""
    image = open_image(options.image).volumes[0]
    label = open_label(options.image, options.label)
    truth = label.volumes[0]
    names = [named.name for named in parse_label_classes(label.attributes)]
    train, test = (
        parse_region(text, truth.axes, truth.shape) for text in (options.train, options.test)
    )
    ignored, rng = options.ignore_label, np.random.default_rng(options.seed)
    share = min(1.0, options.voxels / train.voxels)
    samples = [
        _drawn(rng, filtered, labels, share, ignored)
        for filtered, labels in _sections(image, truth, train)
    ]
    features, classes = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    tell(f"learning from {len(classes)} voxels")
    trees = HistGradientBoostingClassifier(max_iter=ITERATIONS, random_state=options.seed)
    trees.fit(features, classes)
    matrix = ConfusionMatrix.empty(len(names))
    for filtered, labels in _sections(image, truth, test):
        found = trees.predict(filtered).astype(labels.dtype)
        matrix += ConfusionMatrix.from_labels(labels, found, len(names), ignored)
    return scores(matrix, names) | {"train": options.train, "test": options.test}


def _sections(
    image: Any, truth: Any, region: Region
) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
    """Filters (voxels, features) and labels (voxels,) of every plane of y and x."""
    channel_axis = image.axes.index("c") if "c" in image.axes else None
    leading = region.shape[:-2]
    for index in np.ndindex(*leading):
        tell(f"section {index} of {leading}")
        first = [start + step for start, step in zip(region.start, index, strict=False)]
        section = Region((*first, *region.start[-2:]), (*(n + 1 for n in first), *region.stop[-2:]))
        voxels = read_block(image, section, channel_axis, None)
        planes = voxels.reshape(*section.shape[-2:], -1).astype(np.float32)
        filtered = np.concatenate([_filters(plane) for plane in np.moveaxis(planes, -1, 0)], 1)
        yield filtered, truth[section.slices].ravel()


def _filters(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity, and per width: smoothed, length of the gradient, eigenvalues of the Hessian."""
    found = [plane]
    for sigma in SIGMAS:

        def derived(y: int, x: int, sigma: float = sigma) -> NDArray[np.float32]:
            return np.asarray(ndimage.gaussian_filter(plane, sigma, order=(y, x)))

        yy, xx, yx = derived(2, 0), derived(0, 2), derived(1, 1)
        middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
        gradient = np.hypot(derived(1, 0), derived(0, 1))
        found += [derived(0, 0), gradient, middle + spread, middle - spread]
    return np.stack([values.ravel() for values in found], axis=1)


def _drawn(
    rng: np.random.Generator,
    features: NDArray[np.float32],
    labels: NDArray[Any],
    share: float,
    ignored: int | None,
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """A share of a section's voxels that count."""
    kept = rng.random(len(labels)) < share
    if ignored is not None:
        kept &= labels != ignored
    return features[kept], labels[kept]


def _text(result: dict[str, Any]) -> str:
    rows = [f"{c['name']}: {_score(c['dice'])}" for c in result["classes"]]
    rows.append(f"macro foreground: {_score(result['macro_foreground_dice'])}")
    rows.append(f"seconds: {result['seconds']:.0f}")
    return "\n".join(rows) + "\n"


def _score(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
