"""Stacks in files to OME-Zarr: images, and labels of images that are there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_import import check_label_shape, import_classes, label_dtype, scan_labels
from storage.label_names import METADATA, check_name, is_version_of, label_url
from storage.labels import group_document, listed, publish
from storage.levels import SLAB_BYTES, LevelPlan, is_sections, plan_levels
from storage.ome import ImageMetadata, image_attributes, make_axes
from storage.ome_labels import label_attributes, label_metadata
from storage.sources import Stack, open_stack
from storage.stack_writer import StackWriter, clear_unfinished
from storage.stores import normalize_url
from storage.units import require_length_unit
from storage.volume import Image, open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.graphs import Scheduler


def import_image(
    sources: Sequence[str],
    url: str,
    *,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    unit: str | None = None,
    dataset: str | None = None,
    name: str | None = None,
    scheduler: Scheduler = "threads",
    progress: Callable[[int, int], None] | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> Image:
    """Make an OME-Zarr 0.5 image of a stack in files.

    The stack is read slab by slab, so it may be larger than memory. The image's own metadata is
    written last: an import that was interrupted is no image, and the same call starts it anew.

    Parameters
    ----------
    sources : sequence of str
        See `storage.sources.open_stack`.
    url : str
        New image.
    axes : str, optional
        Axis letters in the order of the data; told by the files otherwise.
    voxel_size : sequence of float, optional
        For the spatial axes in the order z, y, x; told by the files otherwise, else 1.
    unit : str, optional
        Unit of `voxel_size`, such as ``micrometer`` or ``nm``.
    dataset : str, optional
        Dataset of an HDF5 file, array of an NPZ file, or number of a series in a TIFF.
    name : str, optional
        Name of the image; the last part of the URL without its suffix otherwise.
    scheduler : str or callable
        What ``dask.compute`` takes.
    progress : callable, optional
        Called with the number of write-grid cells done and their total.
    slab_bytes : int
        Bytes of voxels read at once; memory in all is a few times that.

    Raises
    ------
    StorageError, OSError
        If a source, an option or the target is unusable; nothing was written then.
    """
    url = normalize_url(url)
    with open_stack(sources, axes=axes, dataset=dataset) as stack:
        sizes, unit_name = _voxel_sizes(stack, voxel_size, unit)
        levels = plan_levels(stack.shape, stack.axes, sizes)
        clear_unfinished(url, levels)
        Blobs(url).check_writable()
        dtype = "uint8" if stack.raw.dtype.kind == "b" else stack.raw.dtype.name
        sections = is_sections(stack.axes, sizes)
        writer = StackWriter(stack, url, levels, dtype, sections, "mean", slab_bytes)
        writer.write(scheduler=scheduler, progress=progress)
        metadata = ImageMetadata(
            "0.5",
            name if name is not None else url.rsplit("/", 1)[-1].split(".")[0],
            make_axes(stack.axes, unit_name),
            tuple(plan.level for plan in levels),
        )
    attributes = image_attributes(metadata, downscaling="mean")
    Blobs(url).write(METADATA, group_document(attributes))
    return open_image(url)


def import_labels(
    sources: Sequence[str],
    image_url: str,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    instances: bool = False,
    axes: str | None = None,
    dataset: str | None = None,
    scheduler: Scheduler = "threads",
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """Make a label of an image of a stack in files and publish it as ``labels/NAME``.

    The stack is read twice: once to check its values, once to write it.

    Parameters
    ----------
    sources : sequence of str
        See `storage.sources.open_stack`.
    image_url : str
        An OME-Zarr 0.5 image whose shape without channels the stack has.
    name : str
        Name of the label.
    classes : sequence of str, optional
        Names of the values 0, 1, …; without them value n is named ``class_n``, 0 ``background``.
    instances : bool
        Values are ids of objects, not classes.
    axes, dataset, scheduler, progress
        As for `import_image`; axes that no file tells are the image's.

    Raises
    ------
    StorageError
        If the name is taken or unusable, the shape is another one than the image's, or a voxel is
        no whole number, negative, or outside the classes; nothing was written then.
    OSError
        If the image cannot be written.
    """
    image = open_image(image_url)
    _check_target(image, check_name(name))
    if classes is not None and instances:
        raise StorageError("both classes and instances were given; instance ids have no classes")
    metadata = label_metadata(image.metadata, name)
    url = label_url(image.url, name)
    with open_stack(sources, axes=axes, likely_axes=metadata.axis_names, dataset=dataset) as stack:
        shapes = check_label_shape(stack, image)
        values = scan_labels(stack, instances=instances)
        named = None if instances else import_classes(values, classes)
        levels = tuple(map(LevelPlan, metadata.levels, shapes))
        clear_unfinished(url, levels)
        Blobs(url).check_writable()
        base = image.volumes[0]
        sections = is_sections(base.axes, base.voxel_size)
        writer = StackWriter(stack, url, levels, label_dtype(values), sections, "mode")
        writer.write(scheduler=scheduler, progress=progress)
    Blobs(url).write(METADATA, group_document(label_attributes(metadata, named)))
    publish(image.url, name, name, lock_url=f"{image.url}.runs", owner=f"import of {name}")
    return open_image(url)


def _voxel_sizes(
    stack: Stack, voxel_size: Sequence[float] | None, unit: str | None
) -> tuple[tuple[float, ...], str | None]:
    """Voxel size per axis and its unit: those asked for before those of the files."""
    spatial = [axis for axis in stack.axes if axis in "zyx"]
    sizes, unit_name = dict(stack.raw.voxel_size), stack.raw.unit
    if voxel_size is not None:
        if len(voxel_size) != len(spatial) or not all(
            math.isfinite(size) and size > 0 for size in voxel_size
        ):
            raise StorageError(
                f"voxel size {tuple(voxel_size)} does not fit the axes {''.join(spatial)}; "
                f"expected {len(spatial)} positive numbers"
            )
        sizes, unit_name = dict(zip(spatial, voxel_size, strict=True)), None
    if unit is not None:
        unit_name = require_length_unit(unit)
    return tuple(float(sizes.get(axis, 1.0)) for axis in stack.axes), unit_name


def _check_target(image: Image, name: str) -> None:
    if image.metadata.version != "0.5":
        raise StorageError(
            f"{image.url} is OME-Zarr {image.metadata.version}, whose labels maskmill does not "
            "write; import the image anew as OME-Zarr 0.5"
        )
    taken = [directory for directory in listed(image.url) if is_version_of(directory, name)]
    if taken or Blobs(label_url(image.url, name)).exists(METADATA):
        raise StorageError(f"label {name!r} of {image.url} is there already; choose another name")
