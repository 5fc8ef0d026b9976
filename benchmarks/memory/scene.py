"""Volumes of noise, which does not compress, and networks with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.labels import group_document, listed, publish, stage
from storage.ome import Axis, ImageMetadata, Level, image_attributes, make_axes
from storage.ome_labels import label_classes
from storage.volume import open_image
from storage.write_grid import WriteGrid, choose_chunks, create_array

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.memory.plans import Plan

# How much longer than its noise a volume is along every axis: cells are those of a big one.
VOID = 8


def make_image(
    folder: Path, plan: Plan, shape: tuple[int, ...], *, void: int = VOID, planar: bool = False
) -> str:
    """An image with noise at its start and nothing stored beyond; its URL.

    Parameters
    ----------
    folder : Path
        Where it is made.
    plan : Plan
        Says type and channels.
    shape : tuple of int
        Of the noise.
    void : int
        How much longer the volume is along every axis.
    planar : bool
        Chunks of one section.
    """
    url = str(folder / "image.zarr")
    whole = tuple(size * void for size in shape)
    dtype = np.dtype(plan.dtype)
    chunks, cell = choose_chunks(whole, "zyx", dtype.itemsize, planar=planar)
    axes = make_axes("zyx", "micrometer")
    scale = (1.0,) * 3
    names = "zyx"
    if plan.channels > 1:
        whole, chunks, cell = (
            (first, *rest)
            for first, rest in zip((plan.channels, 1, 1), (whole, chunks, cell), strict=True)
        )
        axes, scale, names = (Axis("c", "channel", None), *axes), (1.0, *scale), "czyx"
    create_array(url, "0", shape=whole, dtype=plan.dtype, chunks=chunks, shards=cell, axes=names)
    metadata = ImageMetadata("0.5", "noise", axes, (Level("0", scale, (0.0,) * len(scale)),))
    Blobs(url).write("zarr.json", group_document(image_attributes(metadata)))
    stop = (plan.channels, *shape) if plan.channels > 1 else shape
    _fill(url, stop, lambda random, extent: _noise(random, extent, dtype))
    return url


def _noise(random: np.random.Generator, extent: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return random.random(extent, np.float32).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, extent, dtype)


def make_truth(url: str, classes: int, shape: tuple[int, ...]) -> None:
    """A published label of random classes over the noise."""
    named = label_classes({value: f"class{value}" for value in range(classes)})
    image = open_image(url)
    stage(
        image, url, "truth", name="truth", classes=named, dtype="uint8", itemsize=1, provenance={}
    )
    _fill(
        f"{url}/labels/truth",
        shape,
        lambda random, extent: random.integers(0, classes, extent, np.uint8),
    )
    publish(url, "truth", "truth", lock_url=f"{url}.runs", owner="benchmark")
    assert "truth" in listed(url)  # noqa: S101 a benchmark


def _fill(url: str, stop: tuple[int, ...], draw: Any) -> None:
    """Write every cell that [0, stop) touches."""
    cells = open_cells(url, "0")
    random = np.random.default_rng(0)
    grid = WriteGrid(cells.shape, cells.cell)
    for index in grid.cells((0,) * len(stop), stop):
        start, end = grid.bounds(index)
        extent = tuple(b - a for a, b in zip(start, end, strict=True))
        cells.write(index, draw(random, extent))


def make_bundle(folder: Path, plan: Plan) -> str:
    """A bundle with random weights and an intensity rule of its own; its folder."""
    from segmentation.bundle import ClassInfo, save_bundle
    from segmentation.packing import make_card

    axes = "yx" if plan.network == "blended" else str(plan.network)
    classes = [
        ClassInfo(value, f"class{value}", (40 * value, 90, 160, 255))
        for value in range(plan.classes)
    ]
    top = 1.0 if plan.dtype == "float32" else float(np.iinfo(plan.dtype).max)
    intensity = {"rule": "fixed", "low": [0.0] * plan.channels, "high": [top] * plan.channels}
    model = _blended(plan) if plan.network == "blended" else _unet(plan, axes)
    place = folder / "bundle"
    save_bundle(place, model, make_card(model, classes, axes=axes, intensity=intensity))
    return str(place)


def _unet(plan: Plan, axes: str) -> Any:
    from segmentation.networks.unet import build_unet

    return build_unet(
        axes,
        channels=plan.channels,
        num_classes=plan.classes,
        width=plan.width,
        depth=plan.depth,
        seed=1,
    )


def _blended(plan: Plan) -> Any:
    """Two convolutions with a normalisation over the whole tile between them."""
    from segmentation.networks.runtime import import_keras

    keras = import_keras()
    inputs = keras.Input((None, None, plan.channels))
    features = keras.layers.Conv2D(plan.width, 3, padding="same", use_bias=False)(inputs)
    features = keras.layers.GroupNormalization(groups=2)(features)
    features = keras.layers.ReLU()(features)
    outputs = keras.layers.Conv2D(plan.classes, 1, activation="softmax")(features)
    return keras.Model(inputs, outputs)
