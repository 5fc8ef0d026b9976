"""What a classifier is trained on: every image looked at once, and divided into parts.

Every error that table and images can tell is told here. Nothing is written, and no network is
needed.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import RequestError
from flows.sample_rows import some_names
from flows.sample_split import LOOK_ALIKE, sample_split
from flows.samples import Samples, read_samples
from flows.training_split import Likeness
from segmentation.classification.images import image_transform
from segmentation.region import Region
from segmentation.training.fingerprint import Fingerprint, fingerprint, look_alikes
from segmentation.training.split import Parts
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.jobs import TrainJob
    from storage.images import ImageSource

# Longer side of the images a network is shown, where nothing else is asked for.
LARGEST_SIDE = 256
GREY, COLOUR = 1, 3


@dataclass(frozen=True, slots=True)
class Look:
    """What one image is like.

    Attributes
    ----------
    size : tuple of int
        Extents along y and x.
    channels : int
        1 too where three channels are equal.
    print : Fingerprint
        What it looks like.
    """

    size: tuple[int, int]
    channels: int
    print: Fingerprint


@dataclass(frozen=True, slots=True, eq=False)
class SampleData:
    """Samples and split of a training.

    Attributes
    ----------
    samples : Samples
        Of the catalog.
    labels : int64, shape (samples,)
        Their classes.
    image_size : tuple of int
        Extents that images are brought to.
    channels : int
        Of the network's input.
    resized : int
        Images that have another size.
    likeness : Likeness
        Who looks like whom.
    split : dict
        Content of split.json.
    """

    samples: Samples
    labels: NDArray[np.int64]
    image_size: tuple[int, int]
    channels: int
    resized: int
    likeness: Likeness
    split: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self.samples.classes

    def parts(self, fold: int = 0) -> Parts:
        """Numbers of the samples in the parts of a fold; there is one fold without --folds."""
        numbers = self.split["folds"][fold]
        return Parts(*(tuple(numbers[part]) for part in ("train", "validation", "test")))


def prepare_samples(job: TrainJob) -> SampleData:
    """Open, look at, compare and split what a job trains a classifier on.

    Raises
    ------
    RequestError, StorageError
        One message for whatever makes the training impossible or its scores meaningless.
    """
    samples = read_samples(job.catalog)
    looks = look_at(samples.images, job.intensity_percentiles)
    likeness = compare_looks(looks)
    size = _checked_size(job.image_size) or usual_size([look.size for look in looks])
    return SampleData(
        samples=samples,
        labels=np.array([sample.label for sample in samples.samples], np.int64),
        image_size=size,
        channels=_common_channels([look.channels for look in looks]),
        resized=sum(look.size != size for look in looks),
        likeness=likeness,
        split=sample_split(job, samples, likeness),
    )


def look_at(images: ImageSource, limits: Sequence[float]) -> list[Look]:
    """Read every image once.

    Raises
    ------
    RequestError
        With the images that cannot be read, or have no contrast.
    """
    low_high = dict(zip(("low", "high"), _checked_limits(limits), strict=True))
    looks, failures = [], []
    for name in images.names:
        try:
            image = images.read(name)
            image_transform(image, {"rule": "percentiles", **low_high})
            looks.append(_look(image))
        except (StorageError, ValueError) as error:
            failures.append(f"{name} ({error})")
    if failures:
        raise RequestError(
            f"{len(failures)} of {len(images.names)} images cannot be learned from: "
            f"{some_names(failures)}; replace them, or leave their rows out of the table"
        )
    return looks


def _look(image: NDArray[Any]) -> Look:
    height, width, channels = image.shape
    grey = channels == COLOUR and bool((image == image[..., :1]).all())
    whole = Region((0, 0), (height, width))
    return Look((height, width), GREY if grey else channels, fingerprint(image, whole, 2))


def compare_looks(looks: Sequence[Look]) -> Likeness:
    """Which images are the same, or nearly so."""
    prints = tuple(look.print for look in looks)
    return Likeness(prints, look_alikes(prints, LOOK_ALIKE))


def usual_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size most images have, or the median one; made smaller to 256 a side.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Extents along y and x.
    """
    (height, width), images = Counter(sizes).most_common(1)[0]
    if 2 * images <= len(sizes):
        height, width = (int(statistics.median(extents)) for extents in zip(*sizes, strict=True))
    shrink = max(1.0, max(height, width) / LARGEST_SIDE)
    return max(1, round(height / shrink)), max(1, round(width / shrink))


def _common_channels(channels: Sequence[int]) -> int:
    """Channels of the network: grey where there is a grey image among coloured ones."""
    found = sorted(set(channels))
    if len(found) > 1 and found != [GREY, COLOUR]:
        raise RequestError(f"the images have {found} channels; expected one number")
    return found[0]


def _checked_size(size: tuple[int, ...] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) != 2 or min(size) < 1:
        raise RequestError(f"--image-size {size}: expected two extents, y,x, such as 256,256")
    return size[0], size[1]


def _checked_limits(limits: Sequence[float]) -> Sequence[float]:
    if len(limits) != 2 or not 0 <= limits[0] < limits[1] <= 100:
        raise RequestError(
            f"--intensity-percentiles {','.join(f'{value:g}' for value in limits)}: expected two "
            "numbers between 0 and 100, the lower one first"
        )
    return limits
