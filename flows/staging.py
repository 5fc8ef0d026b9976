"""The mask volume of a run before it is published: its metadata, recorded with its content.

The metadata objects follow from the run alone. They are made in a temporary folder and put in
place one by one, so that what is lost can be restored without touching a voxel: creating an array
anew would clear its cells.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.work import PROBABILITIES, channel_position
from storage.blobs import Blobs
from storage.label_names import METADATA, label_url
from storage.labels import group_document, stage
from storage.ome import Axis, ImageMetadata, Level, image_attributes
from storage.write_grid import checksum, create_array

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def metadata_keys(paths: Sequence[str], *, kept: bool) -> list[str]:
    """Keys of a run's metadata objects, in the order of their records.

    Parameters
    ----------
    paths : sequence of str
        Of the levels.
    kept : bool
        Whether probabilities are kept; their keys are relative to the run's folder.
    """
    arrays = [f"{path}/{METADATA}" for path in paths]
    probabilities = [f"{PROBABILITIES}/{METADATA}", f"{PROBABILITIES}/0/{METADATA}"]
    return [METADATA, *arrays, *(probabilities if kept else ())]


def keeps_probabilities(run: Run) -> bool:
    """Whether the run keeps probabilities, or an earlier attempt has kept some."""
    if run.prepared.model.card is None:
        return False
    return run.job.probabilities or run.blobs.exists(f"{PROBABILITIES}/{METADATA}")


def stage_mask(run: Run) -> list[str]:
    """Put the metadata objects of the unlisted label in place, and record them.

    An object that is not what its record says is restored; one without a record is made anew.

    Returns
    -------
    list of str
        Keys of the objects that were written.
    """
    paths = [volume.path for volume in run.prepared.image.volumes]
    keys = metadata_keys(paths, kept=keeps_probabilities(run))
    contents = recorded_contents(run, len(keys))
    lost = [key for key in keys if key not in contents]
    if lost:
        contents = _made(run, keys) | contents
    written = [key for key in reversed(keys) if _put(run, key, contents[key])]
    with run.writer(METADATA_STAGE, len(keys)) as writer:
        for key in lost:
            data = contents[key]
            stored = {"key": key, "size": len(data), "checksum": checksum(data)}
            fields = {"attempt": run.attempt, "objects": [stored], "content": data.decode()}
            writer.append(keys.index(key), fields)
    return written


def recorded_contents(run: Run, planned: int) -> dict[str, bytes]:
    """Bytes of the metadata objects as they were recorded, by key."""
    found = {}
    for record in run.manifest.records(METADATA_STAGE, planned):
        objects, data = record.get("objects"), str(record.get("content", "")).encode()
        if objects and objects[0].get("checksum") == checksum(data):
            found[objects[0]["key"]] = data
    return found


def _put(run: Run, key: str, data: bytes) -> bool:
    """Write an object unless it is there already; whether it was written."""
    folder = run.blobs if key.startswith(f"{PROBABILITIES}/") else Blobs(run.target)
    try:
        if folder.read(key) == data:
            return False
    except FileNotFoundError:
        pass
    folder.write(key, data)
    return True


def _made(run: Run, keys: list[str]) -> dict[str, bytes]:
    """Bytes of the metadata objects as this program makes them."""
    prepared = run.prepared
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        stage(
            prepared.image,
            folder,
            run.directory,
            name=run.job.name,
            classes=prepared.model.classes or None,
            dtype=prepared.dtype,
            itemsize=np.dtype(prepared.dtype).itemsize,
            source=prepared.source,
            provenance=_provenance(run),
        )
        label = Blobs(label_url(folder, run.directory))
        if any(key.startswith(f"{PROBABILITIES}/") for key in keys):
            _stage_probabilities(run, label.child(PROBABILITIES))
        return {key: label.read(key) for key in keys}


def _stage_probabilities(run: Run, group: Blobs) -> None:
    """An OME-Zarr image of uint8 probabilities, 255 = 1."""
    layout = run.prepared.layout
    channels = len(run.prepared.model.classes)
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
