"""Images as a network in training takes them: read once, kept as far as memory is set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.classification.images import prepare_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segmentation.classification.feed import SampleSet
    from storage.images import ImageSource

# Of images that are kept, so that they need not be read for every step.
CACHE_BYTES = 2**30


@dataclass(slots=True, eq=False)
class PreparedImages:
    """Images as the network takes them; the first ones that were read stay in memory.

    Attributes
    ----------
    images : ImageSource
        Where they are.
    channels : int
        Of the network's input.
    intensity : mapping
        Rule of the card.
    size : tuple of int
        Extents along y and x.
    """

    images: ImageSource
    channels: int
    intensity: Mapping[str, Any]
    size: tuple[int, int]
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    _free: int = CACHE_BYTES

    def __call__(self, number: int) -> NDArray[np.float32]:
        """One image by its number."""
        found = self._kept.get(number)
        if found is None:
            voxels = self.images.read(self.images.names[number])
            found = prepare_image(voxels, self.channels, self.intensity, self.size)
            found.setflags(write=False)
            if found.nbytes <= self._free:
                self._kept[number] = found
                self._free -= found.nbytes
        return found

    def part(self, numbers: Sequence[int], labels: NDArray[np.int64]) -> SampleSet:
        """The images of a part, by their place in it."""
        from segmentation.classification.feed import SampleSet

        chosen = np.array(numbers, np.int64)
        return SampleSet(lambda place: self(int(chosen[place])), labels[chosen])
