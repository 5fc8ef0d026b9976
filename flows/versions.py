"""Versions of mask volumes: which there are, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.errors import RequestError
from flows.publishing import REPLACED
from flows.run import PUBLISHED
from flows.run_document import RUN, SEGMENT, read_object, read_run
from segmentation.plan import ShardPlan
from segmentation.region import Region
from storage.blobs import Blobs
from storage.inventory import folders, written
from storage.label_names import LABELS, METADATA, is_version_of, label_url
from storage.label_versions import label_folders, name_of_version
from storage.labels import listed
from storage.stores import join_url, normalize_url

if TYPE_CHECKING:
    from collections.abc import Iterator

# What became of a version.
CURRENT = "published"
EARLIER = "published before"
FINISHED = "finished, never published"
STAGED = "not finished"
PARTIAL = "finished over a region"
FOREIGN = "of no run that is recorded here"
UNREADABLE = "of a run whose run.json cannot be used"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Version:
    """A folder under ``labels/``, a run folder, or both.

    Attributes
    ----------
    directory : str
        Name of the folder, of both kinds.
    name : str
        NAME that it is a version of.
    state : str
        What became of it.
    label : str
        URL of the mask.
    run : Blobs
        Folder of its run.
    published : float
        When it was published last, in seconds of the store's clock; 0 if it never was.
    """

    directory: str
    name: str
    state: str
    label: str
    run: Blobs
    published: float = 0.0

    @property
    def can_be_published(self) -> bool:
        """Whether a run has brought it to its end, over the whole volume, and it is there still.

        Of what a killed removal leaves the metadata is gone.
        """
        complete = self.state in (CURRENT, EARLIER, FINISHED)
        return complete and Blobs(self.label).exists(METADATA)

    def replaced(self) -> list[str]:
        """Versions that readers saw before this one, when it was published last."""
        if not self.run.exists(PUBLISHED):
            return []
        found = read_object(self.run, PUBLISHED).get("replaced")
        return [str(directory) for directory in found] if isinstance(found, list) else []

    def hidden_since(self, container: str) -> float:
        """When readers were shown it last, in seconds of the store's clock.

        Without a note of that it is the last change of the list of labels, which is no earlier.
        """
        noted = written(self.run, REPLACED)
        if noted is not None:
            return noted
        return written(Blobs(join_url(container, LABELS)), METADATA) or 0.0


def container_url(url: str) -> str:
    """Where ``labels/`` is.

    Raises
    ------
    RequestError
        If there is no Zarr group.
    """
    container = normalize_url(url)
    if not any(map(Blobs(container).exists, (METADATA, ".zgroup"))):
        raise RequestError(
            f"{container} holds no OME-Zarr image; give IMAGE.zarr, or the OTHER.zarr of --out"
        )
    return container


def find_versions(container: str, runs: str, name: str | None = None) -> list[Version]:
    """Versions of a mask volume, or of all of them, in order of their folders.

    Parameters
    ----------
    container : str
        Where ``labels/`` is.
    runs : str
        Folder of all runs over it.
    name : str, optional
        NAME.
    """
    shown = listed(container)
    found = (_version(container, runs, d, shown) for d in _directories(container, runs))
    return [one for one in found if name is None or is_version_of(one.directory, name)]


def version_at(container: str, runs: str, directory: str) -> Version:
    """One version, as it is now."""
    return _version(container, runs, directory, listed(container))


def _directories(container: str, runs: str) -> Iterator[str]:
    """Folders of labels, and of runs that have none: a killed removal may have left those."""
    found = set(label_folders(container))
    made = {directory for directory in folders(runs) if name_of_version(directory)}
    yield from sorted(found | {d for d in made if _is_segmentation(Blobs(runs).child(d))})


def _is_segmentation(run: Blobs) -> bool:
    """Whether a run folder is there that no other verb has made."""
    try:
        return run.exists(RUN) and read_object(run, RUN).get("kind", SEGMENT) == SEGMENT
    except RequestError:
        return True


def _version(container: str, runs: str, directory: str, shown: tuple[str, ...]) -> Version:
    run, label = Blobs(join_url(runs, directory)), label_url(container, directory)
    name = name_of_version(directory)
    if name is None or not _is_segmentation(run):
        return Version(directory, directory, FOREIGN, label, run)
    state = CURRENT if directory in shown else _state(run)
    return Version(directory, name, state, label, run, written(run, PUBLISHED) or 0.0)


def _state(run: Blobs) -> str:
    """What became of a version that readers do not see."""
    try:
        plan = ShardPlan.from_dict(read_run(run, (SEGMENT,))["plan"])
    except RequestError:
        return UNREADABLE
    if run.exists(PUBLISHED):
        return EARLIER
    if not run.exists(RESULT):
        return STAGED
    return FINISHED if plan.region == Region.whole(plan.shape) else PARTIAL
