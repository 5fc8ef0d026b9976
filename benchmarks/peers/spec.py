"""What every peer gets: the same image, the same weights, the same kind of mask to write."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.bundle import load_card, load_model
from segmentation.networks.runtime import configure, import_keras
from segmentation.normalize import IntensityTransform
from storage.volume import open_image
from storage.write_grid import compressor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import keras


@dataclass(frozen=True, slots=True)
class Spec:
    """One task for one peer; plain data, handed over as a file.

    Attributes
    ----------
    image : str
        OME-Zarr image (z, y, x) of one channel; y and x are multiples of the network's stride.
    bundle : str
        Folder with the network.
    target : str
        Zarr array for the mask, made by the peer.
    planes : int
        Sections to segment, from the first on.
    low, high : float
        Intensities that become 0 and 1.
    threads : int
        CPUs that a peer may use.
    quick : bool
        Try few settings.
    """

    image: str
    bundle: str
    target: str
    planes: int
    low: float
    high: float
    threads: int
    quick: bool = False

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Spec:
        """Inverse of `save`."""
        return cls(**json.loads(path.read_text()))

    @property
    def source(self) -> Any:
        """The finest level, as its Zarr array."""
        import zarr

        volume = open_image(self.image).volumes[0]
        return zarr.open_array(f"{volume.url}/{volume.path}", mode="r")

    def make_target(self) -> Any:
        """An empty array for the mask: chunks as in the image, blosc-zstd as maskmill writes."""
        import zarr

        source = self.source
        return zarr.create_array(
            self.target,
            shape=(self.planes, *source.shape[1:]),
            dtype="uint8",
            chunks=(1, *source.chunks[1:]),
            compressors=compressor("uint8"),
            overwrite=True,
        )

    @property
    def halo(self) -> tuple[int, ...]:
        """Of the network along y and x: a peer that can use it is told."""
        return load_card(self.bundle).halo

    def normalised(self, voxels: np.ndarray) -> np.ndarray:
        """Network input from voxels, with the channel last."""
        return IntensityTransform((self.low,), (self.high,))(voxels[..., np.newaxis])

    def model(self) -> keras.Model:
        """The user's float32 model, on so many threads."""
        configure(self.threads)
        return load_model(self.bundle)


def compiled_classes(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A model as one compiled call from tiles of any shape to classes, the argmax included."""
    import tensorflow

    keras = import_keras()
    signature = [tensorflow.TensorSpec((None, None, None, model.input_shape[-1]), "float32")]

    @tensorflow.function(input_signature=signature, autograph=False)
    def call(tiles: Any) -> Any:
        return keras.ops.cast(keras.ops.argmax(model(tiles, training=False), axis=-1), "uint8")

    concrete = call.get_concrete_function()
    return lambda tiles: np.asarray(concrete(tensorflow.constant(tiles)))


def tiled(shape: tuple[int, int], tile: int, halo: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Tiles of a plane: what to read, and which part of the plane it gives.

    The core of a tile is ``tile`` minus the halo on each side; at true borders there is none.
    """
    for y0, y1, top, bottom in _spans(shape[0], tile, halo[-2]):
        for x0, x1, left, right in _spans(shape[1], tile, halo[-1]):
            yield (slice(top, bottom), slice(left, right)), (slice(y0, y1), slice(x0, x1))


def _spans(size: int, tile: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """Core and window along one axis; all windows but that of a small plane have one size."""
    if tile >= size:
        yield 0, size, 0, size
        return
    start = 0
    while start < size:
        low = max(0, min(start - halo, size - tile))
        stop = size if low + tile == size else low + tile - halo
        yield start, stop, low, low + tile
        start = stop


def tile_extents(spec: Spec) -> list[int]:
    """Tiles worth trying: powers of two that have a core, and the whole plane."""
    whole = max(spec.source.shape[1:])
    least = 4 * max(spec.halo)
    wanted = [256] if spec.quick else [256, 512, 1024]
    return [*(tile for tile in wanted if least <= tile < whole), whole]
