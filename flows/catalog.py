"""Catalogs: the volumes a network is trained on, in YAML, with paths relative to the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.new_bundle import new_bundle
from segmentation.region import Region, parse_region
from storage.ome_labels import LabelClass, parse_label_classes
from storage.stores import is_local, normalize_url
from storage.volume import Image, open_image, open_label

if TYPE_CHECKING:
    from flows.jobs import TrainJob

SPLITS = ("train", "validation", "test")
FIELDS = ("image", "label", "group", "region", "split")


@dataclass(frozen=True, slots=True)
class Entry:
    """One volume of a catalog, opened.

    Attributes
    ----------
    image, label : Image
        Intensities and truth, of one shape but for the channels.
    region : Region
        The part to use, along the axes of the label.
    group : str
        Specimen, paper or patient.
    split : str or None
        ``train``, ``validation`` or ``test``.
    """

    image: Image
    label: Image
    region: Region
    group: str
    split: str | None


def read_catalog(path: str) -> tuple[Entry, ...]:
    """Entries of a catalog, opened and checked against each other.

    Raises
    ------
    RequestError, StorageError
        If the file is no catalog, or an entry cannot be used.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise RequestError(f"catalog {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RequestError(f"catalog {path} is not YAML: {error}") from error
    volumes = content.get("volumes") if isinstance(content, dict) else None
    if not isinstance(volumes, list) or not volumes:
        raise RequestError(f"catalog {path} has no volumes; expected 'volumes:' and a list")
    folder = Path(path).absolute().parent
    entries = tuple(_entry(folder, number, fields) for number, fields in enumerate(volumes, 1))
    _check_overlap(entries)
    return entries


def _entry(folder: Path, number: int, fields: Any) -> Entry:
    if not isinstance(fields, dict) or not {"image", "label"} <= fields.keys() <= set(FIELDS):
        given = sorted(map(str, fields)) if isinstance(fields, dict) else fields
        raise RequestError(
            f"volume {number} of the catalog has the fields {given!r}; "
            f"expected image, label and perhaps {', '.join(FIELDS[2:])}"
        )
    split = fields.get("split")
    if split is not None and split not in SPLITS:
        raise RequestError(
            f"volume {number} of the catalog has the split {split!r}; "
            f"expected one of {', '.join(SPLITS)}"
        )
    url = str(fields["image"])
    image = open_image(str(folder / url) if is_local(url) and "://" not in url else url)
    label = open_label(image.url, str(fields["label"]))
    base = image.volumes[0]
    shape = tuple(n for axis, n in zip(base.axes, base.shape, strict=True) if axis != "c")
    truth = label.volumes[0]
    if truth.shape != shape:
        raise RequestError(
            f"volume {number} of the catalog: label {fields['label']!r} has the shape "
            f"{truth.shape} and the image {shape}; import the label of this image"
        )
    text = fields.get("region")
    region = parse_region(text if text is None else str(text), truth.axes, truth.shape)
    return Entry(image, label, region, str(fields.get("group", image.url)), split)


def _check_overlap(entries: tuple[Entry, ...]) -> None:
    """Refuse voxels that stand in two entries: they would be learned and then scored."""
    for number, first in enumerate(entries):
        for second in entries[number + 1 :]:
            same = normalize_url(first.image.url) == normalize_url(second.image.url)
            if same and first.region.intersection(second.region) is not None:
                raise RequestError(
                    f"two volumes of the catalog share voxels of {first.image.url} "
                    f"({first.split} and {second.split}); give regions that do not overlap"
                )


def catalog_classes(entries: tuple[Entry, ...]) -> tuple[LabelClass, ...]:
    """The classes all labels agree on.

    Raises
    ------
    RequestError
        If a label names none, or two labels name them differently.
    """
    found = Counter(parse_label_classes(entry.label.attributes) for entry in entries)
    if () in found:
        raise RequestError("a label of the catalog names no classes; import it with --classes")
    if len({tuple((c.value, c.name) for c in classes) for classes in found}) > 1:
        raise RequestError("the labels of the catalog name different classes; import them alike")
    classes = next(iter(found))
    if [c.value for c in classes] != list(range(len(classes))):
        raise RequestError(
            f"the labels have the classes {[c.value for c in classes]}; expected 0, 1, 2, …"
        )
    return classes


def checked_entries(job: TrainJob) -> tuple[Entry, ...]:
    """Entries of the job's catalog.

    Raises
    ------
    RequestError
        If there is nothing to train or to validate on, the volumes do not fit the network or
        each other, or the bundle has no place.
    """
    new_bundle(job.out)
    entries = read_catalog(job.catalog)
    for number, entry in enumerate(entries, 1):
        if entry.split is None:
            raise RequestError(
                f"volume {number} of the catalog has no split; expected one of {', '.join(SPLITS)}"
            )
    for entry in entries:
        axes = entry.label.volumes[0].axes
        if axes not in ("yx", "zyx") or not axes.endswith(job.axes):
            raise RequestError(
                f"{entry.image.url} has the axes {axes} without channels; a network of the axes "
                f"{job.axes} learns from {'yx and zyx' if job.axes == 'yx' else 'zyx'}"
            )
    if job.crop is not None and len(job.crop) != len(job.axes):
        raise RequestError(f"--crop {job.crop} does not give one extent for each of {job.axes}")
    for split in ("train", "validation"):
        if not any(entry.split == split for entry in entries):
            raise RequestError(f"the catalog has no volume with split: {split}; name at least one")
    channels = {channel_count(entry) for entry in entries}
    if len(channels) > 1:
        raise RequestError(f"the volumes have {sorted(channels)} channels; expected one number")
    catalog_classes(entries)
    return entries


def channel_count(entry: Entry) -> int:
    """Channels of an entry's image."""
    base = entry.image.volumes[0]
    return base.shape[base.axes.index("c")] if "c" in base.axes else 1
