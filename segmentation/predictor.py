"""Predictors: batches of tiles in, one class per voxel out."""

from __future__ import annotations

from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segmentation.bundle import BundleError, load_card, load_model
from segmentation.networks.heads import read_classes, read_probabilities
from segmentation.networks.inference import inference_network, scores_network
from segmentation.networks.runtime import configure, import_keras
from segmentation.networks.variants import is_native
from segmentation.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from segmentation.receptive_field import Geometry

MAX_CLASSES = 256
# What a program gives: one of the first two, or both.
CLASSES, PROBABILITIES, BOTH = "classes", "probabilities", "both"
Answers = tuple[Any, ...]

logger = getLogger(__name__)


class Predictor(Protocol):
    """What a shard needs to know about a network.

    Attributes
    ----------
    stride, halo : tuple of int
        Per spatial axis of the network.
    num_classes : int
        Classes with the background; 0 where the image's own integers are the classes.
    channels : int
        Channels of the input.
    batch_size : int
        Tiles computed at once; 0 where nothing is computed.
    fixed : bool
        Whether tiles of one size are taken only.
    reference : Predictor or None
        The same network in float32; None where it computes in that, or nothing.
    """

    stride: tuple[int, ...]
    halo: tuple[int, ...]
    num_classes: int
    channels: int
    batch_size: int
    fixed: bool
    reference: Predictor | None

    def predict_classes(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """Classes, shape (batch, *tile), from tiles of shape (batch, *tile, channels)."""

    def predict_probabilities(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities, float32, shape (batch, *tile, num_classes)."""

    def predict_both(self, tiles: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Classes and probabilities of the same tiles, each as by itself."""

    def classes_of(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Classes of probabilities, by the network's own rule."""


class NetworkPredictor:
    """A Keras network, compiled once for every tile shape it meets (in practice: one).

    The class is chosen inside the compiled graph, so classes leave the device and not
    probabilities. A sigmoid head has one channel for each foreground class: a voxel is
    background where no channel reaches 0.5, and the background's probability is given as
    1 - max of the others, which makes the largest probability the class.

    Parameters
    ----------
    model : keras.Model
        One input (batch, *tile, channels) and one output with probabilities.
    head : "softmax" or "sigmoid"
        How the output is read.
    geometry : Geometry
        Stride and halo of the network.
    batch_size : int
        Tiles computed at once; a short last batch is filled up with zeros, so that nothing is
        compiled twice. It is halved, for good, whenever memory runs out.
    batch_statistics : bool
        Let BatchNorm take the statistics of the tiles it is shown, as it does in training. Such
        predictions depend on what is computed together, and moving statistics may change.
    scores : bool
        The network ends in front of its head's activation (`segmentation.networks.scores`).
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        head: str,
        geometry: Geometry,
        batch_size: int = 1,
        batch_statistics: bool = False,
        scores: bool = False,
    ) -> None:
        outputs = int(model.output_shape[-1])
        self.stride = geometry.stride
        self.halo = geometry.halo
        self.num_classes = outputs + (head == "sigmoid")
        self.channels = int(model.input_shape[-1])
        self.fixed = None not in model.input_shape[1:-1]
        self.reference: Predictor | None = None
        self._model, self._head, self.batch_size = model, head, batch_size
        self._training, self._scores = batch_statistics, scores
        self._compiled: dict[tuple[str, tuple[int, ...]], Callable[[Any], Answers]] = {}
        if self.num_classes > MAX_CLASSES:
            raise ValueError(
                f"the network has {self.num_classes} classes; masks hold at most {MAX_CLASSES}"
            )

    def predict_classes(self, tiles: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Classes, uint8, shape (batch, *tile)."""
        classes: NDArray[np.uint8]
        (classes,) = self._run(tiles, CLASSES)
        return classes

    def predict_probabilities(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, float32, shape (batch, *tile, num_classes)."""
        probabilities: NDArray[np.float32]
        (probabilities,) = self._run(tiles, PROBABILITIES)
        return probabilities

    def predict_both(
        self, tiles: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Classes and probabilities of the same tiles, each as by itself."""
        classes, probabilities = self._run(tiles, BOTH)
        return classes, probabilities

    def classes_of(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class with the largest probability; a sigmoid head's 0.5 is foreground."""
        if self._head == "softmax":
            return np.asarray(probabilities.argmax(axis=-1), np.uint8)
        foreground = probabilities[..., 1:]
        best = foreground.argmax(axis=-1) + 1
        return np.where(foreground.max(axis=-1) >= 0.5, best, 0).astype(np.uint8)

    def _run(self, tiles: NDArray[np.float32], wanted: str) -> Answers:
        if tiles.shape[-1] != self.channels:
            raise ValueError(f"tiles have {tiles.shape[-1]} channels; expected {self.channels}")
        tiles = np.ascontiguousarray(tiles, np.float32)
        parts: list[Answers] = []
        start = 0
        while start < len(tiles):
            try:
                parts.append(self._run_batch(tiles[start : start + self.batch_size], wanted))
            except Exception as error:
                if self.batch_size == 1 or self._training or not is_out_of_memory(error):
                    raise
                self._halve()
            else:
                start += len(parts[-1][0])
        return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))

    def _run_batch(self, tiles: NDArray[np.float32], wanted: str) -> Answers:
        """One batch, filled up to the one size."""
        shape = (self.batch_size, *tiles.shape[1:])
        key = (wanted, shape)
        if key not in self._compiled:
            self._compiled[key] = self._compile(shape, wanted)
        filling = np.zeros((self.batch_size - len(tiles), *tiles.shape[1:]), np.float32)
        full = np.concatenate([tiles, filling]) if len(filling) else tiles
        return tuple(np.asarray(found)[: len(tiles)] for found in self._compiled[key](full))

    def _halve(self) -> None:
        """Compute half as many tiles at once from now on; what was compiled for more is let go."""
        logger.info("out of memory with %d tiles at once: halving", self.batch_size)
        self.batch_size //= 2
        self._compiled.clear()

    def _compile(self, shape: tuple[int, ...], wanted: str) -> Callable[[Any], Answers]:
        keras = import_keras()
        if keras.backend.backend() == "jax":
            return _compile_jax(self._model, partial(self._read, keras.ops, wanted), self._training)
        import tensorflow

        # By XLA: TensorFlow's own search for the largest takes longer than a convolution.
        read = tensorflow.function(
            partial(self._read, keras.ops, wanted), autograph=False, jit_compile=True
        )
        signature = [tensorflow.TensorSpec(shape, "float32")]

        @tensorflow.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]  # TF
        def compiled(tiles: Any) -> Any:
            return read(self._model(tiles, training=self._training))

        concrete = compiled.get_concrete_function()
        return lambda tiles: tuple(f.numpy() for f in concrete(tensorflow.constant(tiles)))

    def _read(self, ops: Any, wanted: str, outputs: Any) -> tuple[Any, ...]:
        """Classes, probabilities or both of what the network gives."""
        ways = {CLASSES: read_classes, PROBABILITIES: read_probabilities}
        chosen = ways.values() if wanted == BOTH else [ways[wanted]]
        return tuple(way(ops, outputs, self._head, scores=self._scores) for way in chosen)


class KerasPredictor(NetworkPredictor):
    """The network of a bundle.

    Parameters
    ----------
    folder : Path or str
        A local bundle; its digest is checked.
    batch_size : int
        Tiles computed at once.
    threads : int, optional
        Threads of the backend; kept from an earlier predictor of the process if there is one.
    precision : "float32", "bfloat16" or "float16"
        In which everything but the head is computed.
    fold : bool
        Fold BatchNorm into convolutions; see `segmentation.networks.fold`.
    scores : bool
        Choose classes by their scores where the network's end allows it; see
        `segmentation.networks.scores`.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        batch_size: int = 1,
        threads: int | None = None,
        precision: str = "float32",
        fold: bool = True,
        scores: bool = True,
    ) -> None:
        from segmentation.receptive_field import Geometry

        configure(threads)
        card = load_card(folder)
        geometry = Geometry(card.stride, card.halo, card.exact, card.inexact_reasons)
        if not is_native(precision):
            logger.info("this CPU has no instructions for %s", precision)
        loaded = load_model(folder)
        full = inference_network(loaded, card.stride, fold=fold)
        model = inference_network(full, card.stride, precision=precision, fold=False)

        def given(network: keras.Model) -> dict[str, Any]:
            ending = scores_network(network, card.head, card.stride) if scores else None
            known = {"head": card.head, "geometry": geometry, "scores": ending is not None}
            return {"model": ending or network, **known}

        super().__init__(**given(model), batch_size=batch_size)
        if model is not full:
            self.reference = NetworkPredictor(**given(full))
        if self.num_classes != card.num_classes or self.channels != card.channels:
            raise BundleError(
                f"{folder}: the network has {self.channels} channels and {self.num_classes} "
                f"classes, its card {card.channels} and {card.num_classes}; pack the model again"
            )


class IdentityPredictor:
    """The integer voxels of the image are the classes: a pipeline without a network.

    Parameters
    ----------
    dimensions : int
        Spatial axes of a tile.
    """

    num_classes = 0
    channels = 1
    batch_size = 0
    fixed = False
    reference: Predictor | None = None

    def __init__(self, dimensions: int = 2) -> None:
        self.stride = (1,) * dimensions
        self.halo = (0,) * dimensions

    def predict_classes(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """The voxels themselves, unsigned, shape (batch, *tile)."""
        if tiles.dtype.kind != "u" or tiles.shape[-1] != 1:
            raise ValueError(
                f"tiles are {tiles.dtype} with {tiles.shape[-1]} channels; the identity predictor "
                "expects unsigned integers with one channel"
            )
        return tiles[..., 0]

    def predict_probabilities(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Refuse: integers have no probabilities."""
        raise ValueError("the identity predictor has no probabilities; ask for classes only")

    def predict_both(self, tiles: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Refuse: integers have no probabilities."""
        return self.predict_classes(tiles), self.predict_probabilities(tiles)

    def classes_of(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Refuse: there are no probabilities to read."""
        raise ValueError("the identity predictor has no probabilities; ask for classes only")


def _compile_jax(
    model: keras.Model, read: Callable[[Any], Answers], training: bool
) -> Callable[[Any], Answers]:
    import jax

    @jax.jit  # type: ignore[untyped-decorator]  # jax has no types here
    def compiled(trainable: Any, fixed: Any, tiles: Any) -> Any:
        return read(model.stateless_call(trainable, fixed, tiles, training=training)[0])

    def run(tiles: Any) -> Answers:
        # Read at every call, so that a network in training is used as it is now.
        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        return tuple(np.asarray(found) for found in compiled(trainable, fixed, tiles))

    return run
