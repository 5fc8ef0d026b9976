"""From a job to everything a run needs. Every error that can be known is known here.

Nothing is written, and no voxel is read: metadata, shapes and a bundle's card are enough.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import RequestError
from flows.work import IDENTITY
from segmentation.bundle import Card, bundle_digest, load_card
from segmentation.planner import Needs, make_plan
from segmentation.region import Region, parse_region
from segmentation.tiling import BLEND_SIGMA, PADDING_RULE
from storage.blobs import Blobs, fetch_folder
from storage.errors import StorageError
from storage.label_names import METADATA, check_name, label_url
from storage.labels import LabelLayout, label_layout
from storage.ome_labels import LabelClass
from storage.stores import join_url, normalize_url
from storage.units import convert_length
from storage.volume import Image, open_image, open_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.jobs import PlanJob, SegmentJob
    from segmentation.plan import ShardPlan

MEBIBYTE = 2**20
# Resident memory of a worker before its first shard; tests/test_flows/test_memory.py holds it.
RESERVED_IDENTITY = 320 * MEBIBYTE
RESERVED_KERAS = 900 * MEBIBYTE
VOXEL_SIZE_TOLERANCE = 0.02
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Model:
    """The network of a run.

    Attributes
    ----------
    folder : str
        Local folder of the bundle, or ``identity``.
    card : Card or None
        None for the identity predictor.
    digest : str
        Of card and weights.
    """

    folder: str
    card: Card | None
    digest: str

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the mask, background first; none for the identity predictor."""
        if self.card is None:
            return ()
        return tuple(LabelClass(c.value, c.name, c.color) for c in self.card.classes)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job made concrete.

    Attributes
    ----------
    image : Image
        Source image.
    model : Model
        Network.
    layout : LabelLayout
        Shapes of the mask volume, level by level.
    plan : ShardPlan
        Shards and tiles.
    dtype : str
        Of the mask.
    container : str
        Where ``labels/`` is.
    source : str
        ``image-label.source.image`` of the mask.
    truth : Image or None
        Label to evaluate against.
    digest : str
        Of everything that can change a voxel.
    identity : dict
        What the digest is made of.
    """

    image: Image
    model: Model
    layout: LabelLayout
    plan: ShardPlan
    dtype: str
    container: str
    source: str
    truth: Image | None
    digest: str
    identity: dict[str, Any]

    @property
    def key(self) -> str:
        """First eight hex digits of the digest."""
        return self.digest[:8]

    @property
    def is_whole(self) -> bool:
        """Whether the region is the volume; only then a mask is published."""
        return self.plan.region == Region.whole(self.plan.shape)


def prepare(job: PlanJob) -> Prepared:
    """Open what the job names and plan it.

    Raises
    ------
    RequestError, StorageError, ValueError
        One message for whatever makes the job impossible.
    """
    image = open_image(job.image)
    model = open_model(job.model)
    dtype = _mask_dtype(image, model)
    layout = label_layout(image, np.dtype(dtype).itemsize)
    region = parse_region(job.region, layout.axes, layout.shapes[0])
    channels = _check_channels(job, image, model)
    _check_network_axes(layout.axes, model)
    if model.card is not None and not job.any_voxel_size:
        check_voxel_size(image, model.card)
    container, source = _container(job, image)
    truth = _open_truth(job, layout.shapes[0])
    plan = _plan(job, image, model, layout, region, channels, dtype)
    identity = _identity(job, image, model, plan)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Prepared(image, model, layout, plan, dtype, container, source, truth, digest, identity)


def open_model(url: str) -> Model:
    """The bundle at a URL, fetched if it is remote; ``identity`` needs none."""
    if url == IDENTITY:
        return Model(IDENTITY, None, IDENTITY)
    folder = fetch_folder(url)
    return Model(str(folder), load_card(folder), bundle_digest(folder))


def _mask_dtype(image: Image, model: Model) -> str:
    if model.card is not None:
        return "uint8" if len(model.card.classes) <= 256 else "uint16"
    dtype = np.dtype(image.volumes[0].dtype)
    if dtype.kind != "u":
        raise RequestError(
            f"the identity model needs unsigned integer voxels, this image has {dtype.name}; "
            "use it on a uint8, uint16 or uint32 image"
        )
    return dtype.name


def _check_channels(job: PlanJob, image: Image, model: Model) -> int:
    """Number of channels read."""
    base = image.volumes[0]
    have = base.shape[base.axes.index("c")] if "c" in base.axes else 1
    wanted = model.card.channels if model.card else 1
    if job.channels and not all(0 <= c < have for c in job.channels):
        raise RequestError(f"channels {job.channels} are not all in the image's 0 to {have - 1}")
    given = len(job.channels) if job.channels else have
    if given != wanted:
        raise RequestError(
            f"the image gives {given} channels and the network takes {wanted}; "
            f"choose {wanted} of the image's {have} channels with --channels"
        )
    return have


def _check_network_axes(axes: str, model: Model) -> None:
    seen = model.card.axes if model.card else axes
    if not axes.endswith(seen):
        raise RequestError(
            f"the network sees the axes {seen} and the volume has {axes}; "
            "use a bundle of the volume's dimension"
        )


def check_voxel_size(image: Image, card: Card) -> None:
    """Refuse an image whose voxels differ from those the network learned on.

    Raises
    ------
    RequestError
        With both sizes, if one differs by more than 2 %.
    """
    base = image.volumes[0]
    if card.voxel_size is None or card.unit is None or base.unit is None:
        return
    have = [
        convert_length(base.voxel_size[base.axes.index(axis)], base.unit, card.unit)
        for axis in card.axes
    ]
    if any(
        not math.isclose(a, b, rel_tol=VOXEL_SIZE_TOLERANCE)
        for a, b in zip(have, card.voxel_size, strict=True)
    ):
        raise RequestError(
            f"the image's voxel size {_sizes(have)} {card.unit} ({card.axes}) is not the "
            f"{_sizes(card.voxel_size)} the bundle was trained at; resample the image, or accept "
            "the difference with --any-voxel-size"
        )


def _sizes(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)


def _container(job: PlanJob, image: Image) -> tuple[str, str]:
    """Where labels go, and the way from a label back to the image."""
    if job.out:
        container = normalize_url(job.out)
        inside = label_url(container, "x")
        local = "://" not in container + image.url
        return container, os.path.relpath(image.url, inside) if local else image.url
    if image.metadata.version == "0.4":
        raise RequestError(
            f"{image.url} is OME-Zarr 0.4, which cannot hold 0.5 labels; "
            "give --out OTHER.zarr to hold them"
        )
    return image.url, "../../"


def runs_url(job: Any, container: str) -> str:
    """Folder of all runs over an image."""
    return normalize_url(job.runs) if job.runs else f"{container}.runs"


def check_writable(url: str, advice: str) -> None:
    """Refuse a place that cannot be written; nothing stays behind there.

    Raises
    ------
    RequestError
        If it cannot; `advice` says what to do.
    """
    try:
        Blobs(url).check_writable()
    except OSError as error:
        raise RequestError(f"{url} cannot be written ({error.strerror}); {advice}") from error


def _open_truth(job: PlanJob, shape: tuple[int, ...]) -> Image | None:
    name = getattr(job, "truth", None)
    return open_truth(job.image, name, shape) if name else None


def open_truth(image_url: str, name: str, shape: tuple[int, ...]) -> Image:
    """The truth label, of the mask's shape.

    Raises
    ------
    RequestError
        If its shape is another.
    """
    truth = open_label(image_url, name)
    if truth.volumes[0].shape != shape:
        raise RequestError(
            f"truth {name!r} has the shape {truth.volumes[0].shape} and the mask {shape}; "
            "import the truth of this image"
        )
    return truth


def _plan(
    job: PlanJob,
    image: Image,
    model: Model,
    layout: LabelLayout,
    region: Region,
    channels: int,
    dtype: str,
) -> ShardPlan:
    ones = len(layout.axes) - len(model.card.axes if model.card else layout.axes)
    card = model.card
    stride = (1,) * ones + (card.stride if card else (1,) * len(layout.axes))
    halo = (0,) * ones + (card.halo if card else (0,) * len(layout.axes))
    fixed = card is not None and card.tile is not None and not card.exact
    return make_plan(
        shape=layout.shapes[0],
        region=region,
        cell=layout.cells[0],
        stride=stride,
        halo=halo,
        network_axes=len(layout.axes) - ones,
        needs=_needs(image, model, channels, dtype),
        memory_bytes=job.memory or default_memory(job.workers),
        tile=(1,) * ones + card.tile if fixed and card and card.tile else None,
        exact=card is None or card.exact,
    )


def _needs(image: Image, model: Model, channels: int, dtype: str) -> Needs:
    itemsize = np.dtype(image.volumes[0].dtype).itemsize
    mask = np.dtype(dtype).itemsize
    if model.card is None:
        return Needs(RESERVED_IDENTITY, itemsize, 2 * mask, 4 * itemsize)
    classes = len(model.card.classes)
    blending = 0 if model.card.exact else 4 * (classes + 1)
    return Needs(
        reserved=RESERVED_KERAS,
        read_voxel=channels * itemsize,
        write_voxel=2 * mask + classes + blending,
        tile_voxel=model.card.activation_bytes + 4 * (2 * channels + classes) + 1,
    )


def default_memory(workers: int | None) -> int:
    """Half of the machine's memory, shared among the workers, 8 GiB at most."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(8 * 1024 * MEBIBYTE, total // 2 // (workers or default_workers()))


def default_workers() -> int:
    """One worker for every two CPUs."""
    return max(1, (os.cpu_count() or 1) // 2)


def _identity(job: PlanJob, image: Image, model: Model, plan: ShardPlan) -> dict[str, Any]:
    """Everything that can change a voxel, and nothing else."""
    spec = plan.spec
    if spec.exact:
        tiling: dict[str, Any] = {"rule": "exact", "padding": PADDING_RULE}
    else:
        tiling = {"rule": "gaussian", "sigma": BLEND_SIGMA, "padding": PADDING_RULE}
        tiling |= {"tile": list(spec.tile), "halo": list(spec.halo), "cell": list(plan.cell)}
    return {
        "schema": SCHEMA,
        "image": image_digest(image),
        "bundle": model.digest,
        "channels": list(job.channels) if job.channels else None,
        "region": {"start": list(plan.region.start), "stop": list(plan.region.stop)},
        "tiling": tiling,
        "precision": "float32",
    }


def image_digest(image: Image) -> str:
    """Digest of an image's metadata and of the listing of its finest level (not its bytes)."""
    digest = hashlib.sha256(json.dumps(image.attributes, sort_keys=True).encode())
    for key, size, version in Blobs(image.url).versions(image.volumes[0].path):
        digest.update(f"{key} {size} {version}\n".encode())
    return digest.hexdigest()


def check_segment_job(job: SegmentJob, prepared: Prepared) -> None:
    """Refuse names and places that cannot be used.

    Raises
    ------
    RequestError, StorageError
        With what to do.
    """
    check_name(job.name)
    if is_foreign_label(prepared.container, job.name):
        raise StorageError(
            f"label {job.name!r} is there and was not made by a run; choose another --name"
        )
    check_writable(prepared.container, "give --out OTHER.zarr to hold the masks elsewhere")
    check_writable(runs_url(job, prepared.container), "give --runs URL to keep records elsewhere")


def is_foreign_label(container: str, name: str) -> bool:
    """Whether ``labels/NAME`` itself is there: an imported label, never a run's version."""
    return Blobs(join_url(container, "labels", name)).exists(METADATA)
