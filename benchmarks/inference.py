"""CPU time of a voxel in the default network, in the forms that were tried for inference.

By hand::

    python -m benchmarks.inference
    python -m benchmarks.inference --rounds 1 --extent 64 --json

The forms take turns, round after round, and the least time of each counts: what disturbs one
disturbs all. CPU seconds are compared with wall seconds on one thread (the default here), where
the two are the same on a quiet machine. docs/decisions/inference.md says what was chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import tell
from segmentation.mismatch import smooth_noise
from segmentation.networks.fold import fold_batch_norm
from segmentation.networks.presets import build_network
from segmentation.networks.runtime import configure, import_keras
from segmentation.networks.variants import computed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

NUM_CLASSES = 5
EXTENTS = {"yx": 512, "zyx": 64}
PRECISIONS = ("float32", "bfloat16", "float16")
# How a network is compiled: name, weights as constants, by XLA.
WAYS = (("", False, False), (", constants", True, False), (", XLA", False, True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--axes", choices=list(EXTENTS), default="yx")
    parser.add_argument("--extent", type=int, help="of the tile along every axis")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="forms whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure(options.threads)
    extent = options.extent or EXTENTS[options.axes]
    shape = (options.batch_size, *(extent,) * len(options.axes), 1)
    figures = measure(options.axes, shape, options.rounds, options.only)
    if options.json:
        shown = {"cores": os.cpu_count(), "shape": shape, "forms": figures}
        sys.stdout.write(json.dumps(shown) + "\n")
        return
    for name, found in figures.items():
        sys.stdout.write(
            f"{name:28s} cpu {found['cpu_ns_a_voxel']:8.1f} ns/voxel  wall "
            f"{found['wall_ns_a_voxel']:8.1f}  agreement {found['agreement']:.5f}\n"
        )


def trained_like(axes: str) -> Any:
    """The default network with moving statistics as after a training."""
    model = build_network("default", axes, channels=1, num_classes=NUM_CLASSES)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            count = int(layer.moving_mean.shape[0])
            layer.gamma.assign(rng.uniform(0.5, 1.5, count))
            layer.beta.assign(rng.normal(0, 0.2, count))
            layer.moving_mean.assign(rng.normal(0, 0.3, count))
            layer.moving_variance.assign(rng.uniform(0.3, 2, count))
    return model


def forms(axes: str, shape: tuple[int, ...], only: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Name and compiled program of every form."""
    model = trained_like(axes)
    folded = fold_batch_norm(model)
    networks = {"as trained": model}
    networks |= {f"folded {name}": computed_in(folded, name) for name in PRECISIONS}
    for name, network in networks.items():
        for way, constants, xla in WAYS:
            if only in name + way:
                yield name + way, compiled(network, shape, constants=constants, xla=xla)


def compiled(model: Any, shape: tuple[int, ...], *, constants: bool, xla: bool) -> Any:
    """Program from tiles to classes, uint8."""
    import tensorflow

    keras = import_keras()
    weights = [
        [np.asarray(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec(shape, "float32")], autograph=False, jit_compile=xla
    )  # type: ignore[untyped-decorator]  # TensorFlow has no types here
    def program(tiles: Any) -> Any:
        if constants:
            outputs = model.stateless_call(*weights, tiles, training=False)[0]
        else:
            outputs = model(tiles, training=False)
        return keras.ops.cast(keras.ops.argmax(outputs, axis=-1), "uint8")

    concrete = program.get_concrete_function()
    return lambda tiles: np.asarray(concrete(tensorflow.constant(tiles)).numpy())


def measure(
    axes: str, shape: tuple[int, ...], rounds: int, only: str
) -> dict[str, dict[str, float]]:
    """Least seconds of every form, and the share of voxels of the class of the first one."""
    tiles = smooth_noise(shape[1:], seed=0)[np.newaxis].repeat(shape[0], axis=0)
    programs: dict[str, Callable[..., Any]] = {}
    classes: dict[str, NDArray[Any]] = {}
    for name, run in forms(axes, shape, only):
        try:
            classes[name] = run(tiles)
        except Exception as error:
            # Backends have errors of their own for what a device has no program for.
            tell(f"{name} cannot be computed here: {str(error).partition(':')[0][:120]}")
        else:
            programs[name] = run
    cpu: dict[str, list[float]] = {name: [] for name in programs}
    wall: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            busy, started = time.process_time(), time.perf_counter()
            run(tiles)
            cpu[name].append(time.process_time() - busy)
            wall[name].append(time.perf_counter() - started)
    voxels, first = tiles[..., 0].size, next(iter(classes.values()))
    return {
        name: {
            "cpu_ns_a_voxel": round(min(cpu[name]) / voxels * 1e9, 1),
            "wall_ns_a_voxel": round(min(wall[name]) / voxels * 1e9, 1),
            "agreement": round(float(np.mean(classes[name] == first)), 6),
        }
        for name in programs
    }


if __name__ == "__main__":
    main()
