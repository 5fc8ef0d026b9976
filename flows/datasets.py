"""What several volumes are asked for by: images, catalogs, folders and prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.catalog_fields import FIELDS, read_content
from flows.errors import RequestError
from flows.jobs import ManyVolumesJob, ReprocessJob, SegmentJob
from storage.blobs import Blobs
from storage.find_images import find_images
from storage.label_names import METADATA, check_name, is_version_of, label_url
from storage.stores import is_local, join_url, normalize_url
from storage.volume import published_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CATALOG_SUFFIXES = (".yaml", ".yml")
SHARED = frozenset(ManyVolumesJob.model_fields) - {"truth", "runs", "out"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """An image that is asked for; it need not be there.

    Attributes
    ----------
    name : str
        Where it is below the folder or the catalog that it was found by; else its last part.
    url : str
        Where it is.
    """

    name: str
    url: str


def find_datasets(job: ManyVolumesJob, targets: Iterable[str]) -> tuple[Dataset, ...]:
    """Images of catalogs, folders and prefixes, each once, in their order; none is opened.

    Parameters
    ----------
    job : ManyVolumesJob
        Its folders for runs and masks need a different name for every image.
    targets : iterable of str
        ``CATALOG.yaml``, ``IMAGE.zarr``, a folder, or a prefix of an object store.

    Raises
    ------
    RequestError, StorageError
        If a catalog or a name cannot be used, nothing is at a target, or two images would share
        a folder.
    """
    check_name(job.name)
    if "/" in (job.truth or ""):
        raise RequestError(f"--truth {job.truth} is a path; give the name that every label has")
    found: dict[str, Dataset] = {}
    for target in targets:
        below = _of_catalog if _is_catalog(target) else _of_folder
        for dataset in below(target):
            found.setdefault(dataset.url, dataset)
    if job.runs or job.out:
        _check_names(found.values())
    return tuple(found.values())


def segment_job(job: ManyVolumesJob, dataset: Dataset) -> SegmentJob:
    """The segmentation of one of many images, with the truth if the image has it."""
    fields = {name: getattr(job, name) for name in SHARED}
    for place in ("runs", "out"):
        folder = getattr(job, place)
        fields[place] = join_url(folder, dataset.name) if folder else None
    if isinstance(job, ReprocessJob):
        fields |= {"region": job.region, "force": job.force}
    return SegmentJob(image=dataset.url, truth=_truth(job.truth, dataset.url), **fields)


def _truth(name: str | None, image: str) -> str | None:
    """The truth, where the image has it."""
    if name is None:
        return None
    if any(is_version_of(directory, name) for directory in published_labels(image)):
        return name
    label = Blobs(label_url(image, name))
    return name if any(map(label.exists, (METADATA, ".zgroup"))) else None


def _is_catalog(target: str) -> bool:
    return is_local(target) and target.lower().endswith(CATALOG_SUFFIXES)


def _of_catalog(path: str) -> Iterator[Dataset]:
    folder = Path(path).absolute().parent
    for number, fields in enumerate(read_content(path)["volumes"], 1):
        _check_entry(number, fields)
        name = str(fields["image"])
        url = normalize_url(str(folder / name) if is_local(name) and "://" not in name else name)
        yield Dataset(_name_below(str(folder), url), url)


def _check_entry(number: int, fields: Any) -> None:
    """Labels and regions of a catalog are those of a training; the image is what is needed."""
    if not isinstance(fields, dict) or not {"image"} <= fields.keys() <= set(FIELDS):
        given = sorted(map(str, fields)) if isinstance(fields, dict) else fields
        raise RequestError(
            f"volume {number} of the catalog has the fields {given!r}; expected image and perhaps "
            f"{', '.join(FIELDS[1:])}"
        )


def _of_folder(target: str) -> Iterator[Dataset]:
    root = normalize_url(target)
    return (Dataset(_name_below(root, url), url) for url in find_images(root))


def _name_below(root: str, url: str) -> str:
    """A URL seen from a folder above it; its last part where that lies elsewhere."""
    name = url.removeprefix(f"{root}/")
    return url.rsplit("/", 1)[-1] if name == url or ".." in name.split("/") else name


def _check_names(found: Iterable[Dataset]) -> None:
    """Refuse two images that would share the folder of their runs or masks."""
    urls: dict[str, str] = {}
    for dataset in found:
        other = urls.setdefault(dataset.name, dataset.url)
        if other != dataset.url:
            raise RequestError(
                f"{other} and {dataset.url} are both called {dataset.name!r} below --runs and "
                "--out; ask for them one by one"
            )
