"""The mask volume of a run before it is published: created unlisted, its metadata recorded."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.work import PROBABILITIES, channel_position
from storage.blobs import Blobs
from storage.label_names import METADATA
from storage.labels import group_document, stage
from storage.ome import Axis, ImageMetadata, Level, image_attributes
from storage.write_grid import checksum, create_array

if TYPE_CHECKING:
    from flows.run import Run

SCHEMA = 1
METADATA_STAGE = "metadata"


def _provenance(run: Run) -> dict[str, Any]:
    card = run.prepared.model.card
    return {
        "schema": SCHEMA,
        "run": run.directory,
        "digest": run.prepared.digest,
        "identity": run.prepared.identity,
        "exact": card is None or card.exact,
        "inexact_reasons": list(card.inexact_reasons) if card else [],
        "tile_mismatch": card.mismatch if card else None,
        "any_voxel_size": run.job.any_voxel_size,
        "intensity": run.intensity,
        "version": version("maskmill"),
    }


def stage_mask(run: Run) -> None:
    """Create the unlisted label and record its metadata objects."""
    prepared = run.prepared
    stage(
        prepared.image,
        prepared.container,
        run.directory,
        name=run.job.name,
        classes=prepared.model.classes or None,
        dtype=prepared.dtype,
        itemsize=np.dtype(prepared.dtype).itemsize,
        source=prepared.source,
        provenance=_provenance(run),
    )
    if run.job.probabilities and prepared.model.card is not None:
        _stage_probabilities(run)
    paths = [METADATA, *(f"{v.path}/{METADATA}" for v in prepared.image.volumes)]
    if not run.manifest.completed(METADATA_STAGE, len(paths)).all():
        blobs = Blobs(run.target)
        with run.writer(METADATA_STAGE, len(paths)) as writer:
            for item, key in enumerate(paths):
                data = blobs.read(key)
                stored = {"key": key, "size": len(data), "checksum": checksum(data)}
                writer.append(item, {"attempt": run.attempt, "objects": [stored]})


def _stage_probabilities(run: Run) -> None:
    """An OME-Zarr image of uint8 probabilities in the run folder, 255 = 1."""
    card, layout = run.prepared.model.card, run.prepared.layout
    group = run.blobs.child(PROBABILITIES)
    if card is None or group.exists(METADATA):
        return
    channels = len(card.classes)
    base = run.prepared.image.metadata
    at = channel_position(len(layout.axes))
    axes = [a for a in base.axes if a.name != "c"]
    scale = [s for a, s in zip(base.axes, base.levels[0].scale, strict=True) if a.name != "c"]
    metadata = ImageMetadata(
        "0.5",
        f"{run.job.name} probabilities",
        (*axes[:at], Axis("c", "channel", None), *axes[at:]),
        (Level("0", (*scale[:at], 1.0, *scale[at:]), (0.0,) * (len(scale) + 1)),),
    )
    create_array(
        group.url,
        "0",
        shape=_insert(layout.shapes[0], at, channels),
        dtype="uint8",
        chunks=_insert(layout.chunks[0], at, 1),
        shards=_insert(layout.cells[0], at, 1),
        axes=metadata.axis_names,
    )
    group.write(METADATA, group_document(image_attributes(metadata)))


def _insert(values: tuple[int, ...], position: int, value: int) -> tuple[int, ...]:
    return (*values[:position], value, *values[position:])
