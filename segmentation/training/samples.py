"""Class-aware random crops, from volumes that are never held in memory.

A rare class would hardly ever be seen in crops at random places. So some crops are laid around
a voxel of a class that is drawn first, every class alike. Where the voxels of a class are, is
kept for a bounded number of them in every section.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.region import Region
from segmentation.shard import read_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.normalize import IntensityTransform
    from segmentation.shard import VoxelArray

INDEX_PLACES = 2**22
PLACES_PER_SECTION = 1000


@dataclass(frozen=True, slots=True)
class TrainingVolume:
    """An image with its truth.

    Attributes
    ----------
    image : array-like
        Intensities, with or without a channel axis.
    label : array-like
        Truth, integers; axes yx or zyx.
    region : Region
        The part to use, along the axes of the label.
    transform : IntensityTransform
        The one of the whole volume.
    channel_axis : int or None
        Where the image has its channels.
    channels : tuple of int or None
        Channels to take; None takes all.
    name, group : str
        Of the volume, and of the specimen it comes from.
    """

    image: VoxelArray
    label: VoxelArray
    region: Region
    transform: IntensityTransform
    channel_axis: int | None = None
    channels: tuple[int, ...] | None = None
    name: str = ""
    group: str = ""

    def read(self, region: Region) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Normalised voxels, channels last, and labels of a box."""
        block = read_block(self.image, region, self.channel_axis, self.channels)
        return self.transform(block), np.asarray(self.label[region.slices])

    def sections(self) -> Iterator[Region]:
        """The region, one plane of y and x after the other."""
        start, stop = self.region.start, self.region.stop
        if len(start) == 2:
            yield self.region
            return
        for z in range(start[0], stop[0]):
            yield Region((z, *start[1:]), (z + 1, *stop[1:]))


@dataclass(frozen=True, slots=True)
class ClassIndex:
    """Where the classes are.

    Attributes
    ----------
    regions : tuple
        (volume number, section) pairs.
    counts : int64, shape (sections, classes)
        Voxels of each class in each section.
    places : tuple of tuple
        Per section and class, flat positions of some of its voxels within the section.
    """

    regions: tuple[tuple[int, Region], ...]
    counts: NDArray[np.int64]
    places: tuple[tuple[NDArray[np.int64], ...], ...]

    @property
    def present(self) -> NDArray[np.int64]:
        """Classes that occur."""
        return np.flatnonzero(self.counts.sum(axis=0))


def index_classes(
    volumes: Sequence[TrainingVolume], num_classes: int, *, ignore_label: int | None, seed: int
) -> ClassIndex:
    """Read every section once and note where its classes are.

    Raises
    ------
    ValueError
        If a label is neither a class nor the ignore label, or there is nothing but ignored.
    """
    rng = np.random.default_rng(seed)
    regions = tuple((n, section) for n, v in enumerate(volumes) for section in v.sections())
    limit = max(16, min(PLACES_PER_SECTION, INDEX_PLACES // (len(regions) * num_classes)))
    counts, places = [], []
    for number, section in regions:
        labels = np.asarray(volumes[number].label[section.slices]).ravel()
        _check_labels(labels, num_classes, ignore_label, section)
        found = [np.flatnonzero(labels == value) for value in range(num_classes)]
        counts.append([len(f) for f in found])
        places.append(tuple(_some(rng, f, limit) for f in found))
    index = ClassIndex(regions, np.array(counts, np.int64), tuple(places))
    if not index.present.size:
        raise ValueError("the training regions hold no labelled voxel; choose other regions")
    return index


def _some(rng: np.random.Generator, places: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    return places if len(places) <= limit else np.sort(rng.choice(places, limit, replace=False))


def _check_labels(
    labels: NDArray[Any], num_classes: int, ignore_label: int | None, section: Region
) -> None:
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_label is not None:
        wrong &= labels != ignore_label
    if wrong.any():
        values = np.unique(labels[wrong])[:5].tolist()
        raise ValueError(
            f"the truth has the values {values} in the section from {section.start}; expected "
            f"0 to {num_classes - 1}. Name all classes, or give the value to ignore"
        )


@dataclass(frozen=True, slots=True)
class CropSampler:
    """Draws crops.

    Attributes
    ----------
    volumes : tuple of TrainingVolume
        All of one number of axes.
    index : ClassIndex
        Of these volumes.
    crop : tuple of int
        Extent along the network's axes.
    class_share : float
        Share of crops laid around a voxel of a drawn class; the others lie anywhere.
    """

    volumes: tuple[TrainingVolume, ...]
    index: ClassIndex
    crop: tuple[int, ...]
    class_share: float

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """One crop: image (*crop, channels) float32 and labels (*crop)."""
        number, place = (
            self._class_place(rng) if rng.random() < self.class_share else self._anywhere(rng)
        )
        volume = self.volumes[number]
        box = self._box_around(rng, place, volume.region)
        image, labels = volume.read(box)
        return image.reshape(*self.crop, image.shape[-1]), labels.reshape(self.crop)

    def _class_place(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """A voxel of a class; all classes alike, all voxels of a class nearly so."""
        value = int(rng.choice(self.index.present))
        share = self.index.counts[:, value] / self.index.counts[:, value].sum()
        chosen = int(rng.choice(len(share), p=share))
        number, section = self.index.regions[chosen]
        flat = int(rng.choice(self.index.places[chosen][value]))
        offset = np.unravel_index(flat, section.shape)
        return number, tuple(int(s + o) for s, o in zip(section.start, offset, strict=True))

    def _anywhere(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        number, section = self.index.regions[int(rng.integers(len(self.index.regions)))]
        return number, tuple(
            int(rng.integers(a, b)) for a, b in zip(section.start, section.stop, strict=True)
        )

    def _box_around(
        self, rng: np.random.Generator, place: tuple[int, ...], region: Region
    ) -> Region:
        """A crop that holds the voxel, anywhere in it, and stays inside the region."""
        extent = (1,) * (len(place) - len(self.crop)) + self.crop
        origin = tuple(
            min(max(p - int(rng.integers(e)), a), b - e)
            for p, e, a, b in zip(place, extent, region.start, region.stop, strict=True)
        )
        return Region(origin, tuple(o + e for o, e in zip(origin, extent, strict=True)))


def fitting_crop(
    regions: Sequence[Region], crop: Sequence[int], stride: Sequence[int]
) -> tuple[int, ...]:
    """The wanted crop, made smaller where a region is, in whole strides.

    Raises
    ------
    ValueError
        If a region is smaller than one stride.
    """
    shapes = [region.shape[-len(stride) :] for region in regions]
    smallest = [min(extents) for extents in zip(*shapes, strict=True)]
    fitting = tuple(
        min(wanted, least) // s * s for wanted, least, s in zip(crop, smallest, stride, strict=True)
    )
    if 0 in fitting:
        raise ValueError(
            f"crop {tuple(crop)} and the smallest region {tuple(smallest)} hold no whole network "
            f"stride {tuple(stride)}; use larger ones, or a network with fewer poolings"
        )
    return fitting
