"""What a device can do, and what a network asks of it: operations a second, operations a voxel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "bfloat16")
# A product shorter than this is that of a larger device: a larger one is timed.
LONG_ENOUGH = 0.05
LEAST_SIDE, MOST_SIDE = 3072, 24576
REPEATS = 4


def flops_per_voxel(model: keras.Model) -> float:
    """Multiplications and additions of all convolutions of a 2D network, counted at one size."""
    keras = import_keras()
    side = 256
    inputs = keras.Input((side, side, model.input_shape[-1]))
    fixed = keras.models.clone_model(model, input_tensors=inputs)
    total = 0.0
    for layer in fixed.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        # A transposed convolution meets every voxel of its input, any other each of its output.
        grid = layer.input if "Transpose" in type(layer).__name__ else layer.output
        height, width = grid.shape[1:3]
        taps = 1.0
        for extent in kernel.shape:
            taps *= extent
        total += 2 * taps * height * width
    return total / side**2


def peak_flops() -> dict[str, float]:
    """Floating-point operations a second of a large matrix product, best of a few, by precision."""
    return {precision: _product(precision) for precision in PRECISIONS}


def _product(precision: str) -> float:
    ops, side = import_keras().ops, LEAST_SIDE
    while True:
        values = np.random.default_rng(0).random((side, side), np.float32)
        factor = ops.cast(ops.convert_to_tensor(values), precision)
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            # One number is fetched: devices answer before they are done.
            float(ops.matmul(factor, factor)[0, 0])
            seconds.append(time.perf_counter() - started)
        if min(seconds) >= LONG_ENOUGH or side >= MOST_SIDE:
            return 2 * side**3 / min(seconds)
        side *= 2
