"""Faults between image, network and mask: what was stored, and how tiles and intensities were."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.faults import commands
from benchmarks.faults.bundles import altered, same
from benchmarks.faults.fault import Fault
from benchmarks.faults.model import normalised_by_tile, shown
from benchmarks.faults.pipeline import CLASSES, MASK
from benchmarks.faults.volumes import TRUTH, write_specimen
from flows.jobs import AuditJob
from flows.sizing import MEBIBYTE, RESERVED_KERAS
from segmentation.bundle import load_card
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.faults.pipeline import Pipeline

# Little memory beside the program's own: tiles are then small, and there are many of them.
LITTLE = RESERVED_KERAS + 22 * MEBIBYTE
WHOLE_RANGE = {"rule": "fixed", "low": [0.0], "high": [65535.0]}
LITTLE_HALO = (8, 8)
RANGE = {"rule": "fixed", "low": [20.0], "high": [200.0]}


def copied(pipeline: Pipeline, folder: Path) -> Path:
    """The unseen stack without any mask but its truth."""
    image = folder / "unseen.zarr"
    shutil.copytree(pipeline.unseen.image, image)
    return image


def segmented(image: Path, bundle: Path, name: str = MASK, **fields: Any) -> str:
    """Folder of a run."""
    run, _ = commands.segment(image=str(image), model=str(bundle), name=name, **fields)
    return run.url


def mask_objects(image: Path, name: str) -> list[Path]:
    """Stored pieces of the finest level of a mask, in order."""
    folder = next(p for p in sorted((image / "labels").iterdir()) if p.name.startswith(f"{name}-"))
    return [path for path in sorted((folder / "0" / "c").rglob("*")) if path.is_file()]


def chunk_deleted(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A piece of the mask was lost after the run."""
    image = copied(pipeline, folder)
    run = segmented(image, pipeline.bundle, "lost")
    mask_objects(image, "lost")[0].unlink()
    return AuditJob(target=run)


def other_staining(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A bundle with the fixed intensities of its training, on an image that is far brighter."""
    bundle, _ = altered(pipeline, folder, same, intensity=RANGE)
    old = next(s for s in pipeline.specimens if s.part == "test")
    bright = (130 + 0.48 * old.voxels).astype(np.uint8)
    new = write_specimen(folder, old.name, "test", bright, old.labels, classes=CLASSES)
    return AuditJob(target=str(bundle), on=str(new.image), truth=TRUTH)


def sixteen_bits(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The same bundle in a run over an image of 16 bits."""
    bundle, _ = altered(pipeline, folder, same, intensity=RANGE)
    old = next(s for s in pipeline.specimens if s.part == "test")
    voxels = old.voxels.astype(np.uint16) * 257
    new = write_specimen(folder, old.name, "test", voxels, old.labels, classes=CLASSES)
    return AuditJob(target=segmented(new.image, bundle))


def short_halo(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A card whose halo is one stride short."""
    card = load_card(pipeline.bundle)
    halo = tuple(h - s for h, s in zip(card.halo, card.stride, strict=True))
    return AuditJob(target=str(altered(pipeline, folder, same, halo=halo)[0]))


def wrong_stride(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A card that lets tiles begin anywhere."""
    return AuditJob(target=str(altered(pipeline, folder, same, stride=(1, 1))[0]))


def no_halo(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A run without surroundings: its tiles touch."""
    bundle, _ = altered(pipeline, folder, same, halo=(0, 0))
    return AuditJob(target=segmented(copied(pipeline, folder), bundle, memory=LITTLE))


def tiles_normalised(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A run in tiles that overlap little, each of which the network normalises by itself."""
    bundle, _ = altered(pipeline, folder, normalised_by_tile, halo=LITTLE_HALO)
    return AuditJob(target=segmented(copied(pipeline, folder), bundle, memory=LITTLE))


def later_plan(pipeline: Pipeline, folder: Path) -> AuditJob:
    """Records of a run that say that tiles were laid with half the halo."""
    image = copied(pipeline, folder)
    run = segmented(image, pipeline.bundle, "halved")
    place = next((folder / "unseen.zarr.runs").glob("halved-*")) / "run.json"
    document = json.loads(place.read_text())
    spec = document["plan"]["tiling"]
    spec["halo"] = [h // 8 * 4 for h in spec["halo"]]
    place.write_text(json.dumps(document))
    return AuditJob(target=run)


def other_version(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The later sections were written by a worker that takes them for 16 bits."""
    image = copied(pipeline, folder)
    run = segmented(image, pipeline.bundle, "first")
    segmented(image, altered(pipeline, folder, same, intensity=WHOLE_RANGE)[0], "second")
    first, second = (mask_objects(image, name) for name in ("first", "second"))
    for old, new in list(zip(first, second, strict=True))[len(first) // 2 :]:
        shutil.copyfile(new, old)
    return AuditJob(target=run)


def normalised_by_batch(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A network that brings the images of a batch to the same mean and contrast, together."""

    def change(model: Any) -> Any:
        keras = import_keras()
        source = keras.Input(model.input_shape[1:])
        mean, deviation = keras.ops.mean(source), keras.ops.std(source)
        return keras.Model(source, model((source - mean) / (4 * deviation) + 0.5))

    return shown(pipeline, altered(pipeline, folder, change)[0])


FAULTS = tuple(
    Fault(name, "inference", code, severity, plant, quick=False)
    for name, code, severity, plant in (
        ("a piece of the mask deleted", "INFER-COVERAGE", "error", chunk_deleted),
        ("intensities of another staining", "INFER-NORM-MISMATCH", "error", other_staining),
        ("16 bits for a network of 8", "INFER-DTYPE-RANGE", "error", sixteen_bits),
        ("halo one stride short", "INFER-HALO-SHORT", "warning", short_halo),
        ("run with half the halo", "INFER-HALO-SHORT", "warning", later_plan),
        ("card with the wrong stride", "INFER-GRID-MISALIGNED", "error", wrong_stride),
        ("tiles without a halo", "INFER-SEAMS", "warning", no_halo),
        ("tiles normalised one by one", "INFER-TILE-NORM", "warning", tiles_normalised),
        ("half a mask of other intensities", "INFER-DRIFT-Z", "warning", other_version),
        (
            "answers depend on the batch",
            "INFER-BATCH-DEPENDENT",
            "error",
            normalised_by_batch,
        ),
    )
)
