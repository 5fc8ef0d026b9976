"""Images and networks for the benchmarks: made here, from seeds."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench import watch
from segmentation.bundle import ClassInfo, save_bundle
from segmentation.networks.unet import build_unet
from segmentation.normalize import IntensityTransform
from segmentation.packing import make_card
from segmentation.synthetic import CLASSES, synthetic_stack
from storage.convert import import_image, import_labels

if TYPE_CHECKING:
    from pathlib import Path

VOXEL_SIZE = (0.05, 0.01, 0.01)
TRAINED, VALIDATED = 6, 8
COMMAND = (sys.executable, "-c", "from flows.entry import main; main()")


def make_image(folder: Path, planes: int, side: int) -> str:
    """A synthetic stack with its truth as OME-Zarr; one section is made and varied.

    Parameters
    ----------
    folder : Path
        Gets ``image.zarr``.
    planes, side : int
        Sections, and voxels along y and x.

    Returns
    -------
    str
        Place of the image.
    """
    voxels, labels = synthetic_stack((min(planes, 4), side, side), seed=1)
    repeats = -(-planes // len(voxels))
    rng = np.random.default_rng(0)
    stack = np.tile(voxels, (repeats, 1, 1))[:planes]
    # No two sections are alike, as a codec or a cache would notice.
    stack = np.clip(stack + rng.integers(-3, 4, stack.shape, np.int16), 0, 255).astype(np.uint8)
    return _imported(folder, stack, np.tile(labels, (repeats, 1, 1))[:planes])


def _imported(folder: Path, voxels: np.ndarray, labels: np.ndarray) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    image = str(folder / "image.zarr")
    sources = {"voxels": voxels, "truth": labels}
    for name, array in sources.items():
        np.save(folder / f"{name}.npy", array)
    import_image(
        [str(folder / "voxels.npy")], image, axes="zyx", voxel_size=VOXEL_SIZE, unit="micrometer"
    )
    classes = tuple(name for _, name, _ in CLASSES)
    import_labels([str(folder / "truth.npy")], image, name="truth", classes=classes, axes="zyx")
    for name in sources:
        (folder / f"{name}.npy").unlink()
    return image


def seeded_bundle(folder: Path, width: int, depth: int) -> str:
    """A network that has learned nothing: as fast as any other of its size.

    Its classes are balanced, so that masks are as hard to store as those of a trained one.
    """
    model = build_unet("yx", channels=1, num_classes=len(CLASSES), width=width, depth=depth)
    voxels, _ = synthetic_stack((1, 256, 256), seed=3)
    tile = IntensityTransform((0.0,), (255.0,))(voxels[..., np.newaxis])
    logits = np.log(np.asarray(model(tile, training=False)) + 1e-9)
    model.get_layer("head").bias.assign(-logits.mean(axis=(0, 1, 2)))
    classes = [ClassInfo(value, name, (*color, 255)) for value, name, color in CLASSES]
    intensity: dict[str, Any] = {"rule": "fixed", "low": [0.0], "high": [255.0]}
    save_bundle(folder, model, make_card(model, classes, axes="yx", intensity=intensity))
    return str(folder)


def trained_bundle(folder: Path, width: int, depth: int, steps: int) -> str:
    """A network that `maskmill train` has trained for a little while on a synthetic stack."""
    stack = folder / "training"
    voxels, labels = synthetic_stack((VALIDATED, 512, 512), seed=2)
    image = _imported(stack, voxels, labels)
    parts = ((0, TRAINED, "train"), (TRAINED, VALIDATED, "validation"))
    volumes = [
        {"image": image, "label": "truth", "group": "synthetic", "region": f"z={a}:{b}", "split": s}
        for a, b, s in parts
    ]
    catalog = stack / "catalog.yaml"
    # JSON is YAML too.
    catalog.write_text(json.dumps({"volumes": volumes}))
    bundle = str(folder / "bundle")
    options = {
        "out": bundle,
        "width": width,
        "depth": depth,
        "crop": "128,128",
        "batch-size": 8,
        "steps": steps,
        "steps-per-epoch": max(1, steps // 3),
        "learning-rate": 5e-3,
        "class-share": 0.7,
        "class-weights": "sqrt",
        "augment": "flips",
        "seed": 0,
        "executor": "serial",
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    watch([*COMMAND, "train", str(catalog), *flags, "--json"])
    return bundle
