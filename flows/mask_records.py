"""The recorded mask of a run that is not open: read from its folder, without image and bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError, VerificationError
from flows.recorded_mask import RecordedMask, is_kept, is_object, probability_cells
from flows.run_document import MALFORMED, RUN, SEGMENT, read_run
from flows.staging import METADATA_STAGE
from flows.work import PROBABILITIES, channel_position
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.label_names import METADATA, label_url
from storage.level_cells import level_cells
from storage.manifest import RunManifest
from storage.ome import parse_image
from storage.write_grid import WriteGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.level_cells import LevelCells


def read_document(run: Blobs) -> dict[str, Any]:
    """``run.json`` of a mask's run.

    Raises
    ------
    RequestError
        If there is none, or it is not that of a segmentation.
    """
    if not run.exists(RUN):
        raise RequestError(
            f"{run.url.rpartition('/')[2]} has no run records at {run.url}; give --runs URL, or it "
            "was imported and has none"
        )
    return read_run(run, (SEGMENT,))


def recorded_mask(container: str, directory: str, run_url: str) -> RecordedMask:
    """The mask that the records of a run tell of.

    Parameters
    ----------
    container : str
        Where ``labels/`` is.
    directory : str
        Folder of the version.
    run_url : str
        Folder of its run.

    Raises
    ------
    RequestError
        If there are no records.
    VerificationError
        If the layout of the mask is in neither the records nor the store.
    """
    run, url = Blobs(run_url), label_url(container, directory)
    document = read_document(run)
    plan = ShardPlan.from_dict(document["plan"])
    manifest = RunManifest(run, document["digest"])
    find = _Documents(_recorded(manifest), Blobs(url), run).find
    try:
        levels = _levels(find, plan)
        channels = _channels(find(f"{PROBABILITIES}/0/{METADATA}"), len(plan.shape))
    except MALFORMED as error:
        raise VerificationError(
            f"{url} has lost metadata in the store and in the records ({error}); "
            "`maskmill repair` makes it anew"
        ) from error
    kept = probability_cells(levels[0], channels)
    return RecordedMask(url, run, manifest.job, plan, levels, kept)


def _recorded(manifest: RunManifest) -> dict[str, Any]:
    """Metadata documents as they were recorded, by key."""
    documents = {}
    for record in manifest.records(METADATA_STAGE, manifest.count(METADATA_STAGE)):
        objects = record.get("objects")
        if isinstance(objects, list) and objects and is_object(objects[0]):
            documents[objects[0]["key"]] = _parsed(str(record.get("content", "")))
    return documents


@dataclass(frozen=True, slots=True)
class _Documents:
    """Metadata as it was recorded, else as it is stored."""

    recorded: dict[str, Any]
    label: Blobs
    run: Blobs

    def find(self, key: str) -> Any:
        """A metadata document, None where there is none."""
        if self.recorded.get(key) is not None:
            return self.recorded[key]
        folder = self.run if is_kept(key) else self.label
        return _parsed(folder.read(key)) if folder.exists(key) else None


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _levels(find: Callable[[str], Any], plan: ShardPlan) -> tuple[LevelCells, ...]:
    metadata = parse_image(find(METADATA)["attributes"], METADATA)
    grids = []
    for level in metadata.levels:
        array = find(f"{level.path}/{METADATA}")
        cell = array["chunk_grid"]["configuration"]["chunk_shape"]
        grids.append((level.path, WriteGrid(tuple(array["shape"]), tuple(cell))))
    return level_cells(grids, plan.region.start, plan.region.stop)


def _channels(array: Any, mask_axes: int) -> int:
    """Classes of the kept probabilities, from their array; 0 if there is none."""
    return int(array["shape"][channel_position(mask_axes)]) if array else 0
