"""What a training shows of itself: augmented samples, and the same slices epoch after epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.region import Region
from segmentation.shard import read_block, segment_shard
from segmentation.training.augment import augment
from segmentation.training.validate import region_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.predictor import Predictor
    from segmentation.training.feed import Feed
    from segmentation.training.samples import TrainingVolume

SAMPLES = 3
VERSIONS = 4
SLICES = 3
SLICE_EXTENT = 512
MEASURED_CROPS = 64


def augmented_samples(feed: Feed) -> dict[str, NDArray[Any]]:
    """Some crops, each with some versions of it, as planes of y and x.

    Returns
    -------
    dict
        image (n, y, x) float32, label (n, y, x), augmented_image and augmented_label
        (n, m, y, x), steps (n, m): what was done, in words.
    """
    crops = [feed.sampler.draw(np.random.default_rng((feed.seed, n))) for n in range(SAMPLES)]
    versions = [
        [
            augment(np.random.default_rng((feed.seed, n, m)), *crop, feed.augmentation)
            for m in range(VERSIONS)
        ]
        for n, crop in enumerate(crops)
    ]
    return {
        "image": np.stack([_plane(image[..., 0]) for image, _ in crops]),
        "label": np.stack([_plane(label) for _, label in crops]),
        "augmented_image": np.stack([[_plane(v.image[..., 0]) for v in row] for row in versions]),
        "augmented_label": np.stack([[_plane(v.labels) for v in row] for row in versions]),
        "steps": np.array([["; ".join(v.steps) or "nothing" for v in row] for row in versions]),
    }


def crop_shares(feed: Feed, num_classes: int, ignore_label: int | None) -> list[float]:
    """Share of each class in the crops that are drawn, measured on some of them."""
    counts = np.zeros(num_classes, np.int64)
    for number in range(MEASURED_CROPS):
        _, labels = feed.sampler.draw(np.random.default_rng((feed.seed, 0, number)))
        counted = labels if ignore_label is None else labels[labels != ignore_label]
        counts += np.bincount(counted.ravel(), minlength=num_classes)[:num_classes]
    return [float(share) for share in counts / max(int(counts.sum()), 1)]


@dataclass(frozen=True, slots=True)
class Slices:
    """The same places of the validation part, to be looked at again and again.

    Attributes
    ----------
    volumes : tuple of TrainingVolume
        Each with a region of one plane.
    """

    volumes: tuple[TrainingVolume, ...]

    @classmethod
    def of(cls, validation: Sequence[TrainingVolume]) -> Slices:
        """Evenly spaced sections, cut to their middle."""
        sections = [replace(v, region=section) for v in validation for section in v.sections()]
        count = min(SLICES, len(sections))
        chosen = [sections[len(sections) * (2 * i + 1) // (2 * count)] for i in range(count)]
        return cls(tuple(replace(v, region=_middle(v.region)) for v in chosen))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays image (k, y, x) float32 and truth (k, y, x), padded to one size; names (k,)."""
        read = [volume.read(volume.region) for volume in self.volumes]
        return {
            "image": _stacked([_plane(image[..., 0]) for image, _ in read]),
            "truth": _stacked([_plane(label) for _, label in read]),
            "names": np.array([_name(volume) for volume in self.volumes]),
        }

    def masks(self, predictor: Predictor, *, exact: bool, voxel_bytes: int) -> NDArray[np.uint8]:
        """What a network says of them, uint8 (k, y, x), padded to one size."""
        masks = []
        for volume in self.volumes:
            plan = region_plan(predictor, volume, exact=exact, voxel_bytes=voxel_bytes)
            mask = np.zeros(volume.region.shape, np.uint8)
            for shard in plan:
                block = read_block(volume.image, shard.read, volume.channel_axis, volume.channels)
                output = segment_shard(block, shard, plan, predictor, volume.transform)
                mask[shard.write.relative_to(volume.region.start).slices] = output.classes
            masks.append(_plane(mask))
        return np.asarray(_stacked(masks), np.uint8)


def _plane(array: NDArray[Any]) -> NDArray[Any]:
    """The middle plane of y and x."""
    while array.ndim > 2:
        array = array[len(array) // 2]
    return array


def _middle(region: Region) -> Region:
    start, stop = list(region.start), list(region.stop)
    for axis in (-2, -1):
        start[axis] += max(0, stop[axis] - start[axis] - SLICE_EXTENT) // 2
        stop[axis] = min(stop[axis], start[axis] + SLICE_EXTENT)
    return Region(tuple(start), tuple(stop))


def _name(volume: TrainingVolume) -> str:
    leading = volume.region.start[:-2]
    return " ".join([volume.name, *(f"z {index}" for index in leading)]).strip()


def _stacked(planes: list[NDArray[Any]]) -> NDArray[Any]:
    """Planes of several sizes as one array, filled up with zeros at their ends."""
    extent = [max(plane.shape[axis] for plane in planes) for axis in (0, 1)]
    return np.stack(
        [np.pad(p, [(0, e - n) for e, n in zip(extent, p.shape, strict=True)]) for p in planes]
    )
