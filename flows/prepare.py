"""From a job to everything a run needs. Every error that can be known is known here.

Nothing is written, and no voxel is read: metadata, shapes and a bundle's card are enough.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import RequestError
from flows.model import (
    Model,
    check_channels,
    check_network_axes,
    check_voxel_size,
    mask_dtype,
    open_model,
)
from flows.precision import FLOAT32, run_precision
from flows.sizing import call_voxels, plan_shards
from flows.skipping import plan_skipping
from flows.tile_cost import is_worth_measuring, known_cost, measure_cost
from segmentation.bundle import SEGMENTATION, require_task
from segmentation.region import Region, parse_region
from segmentation.tiling import BLEND_SIGMA, PADDING_RULE
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import METADATA, check_name, label_url
from storage.labels import LabelLayout, label_layout
from storage.stores import join_url, normalize_url
from storage.volume import Image, open_image, open_label

if TYPE_CHECKING:
    from flows.executors import Executor
    from flows.jobs import PlanJob, SegmentJob
    from flows.skipping import Skipping
    from segmentation.plan import ShardPlan

SCHEMA = 1
FOLDED = "folded"
BY_SCORES = "by score"


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
    skipping : Skipping or None
        How empty blocks are found; None where every block is computed.
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
    skipping: Skipping | None = None

    @property
    def key(self) -> str:
        """First eight hex digits of the digest."""
        return self.digest[:8]

    @property
    def precision(self) -> str:
        """Arithmetic of the network."""
        return str(self.identity.get("precision", FLOAT32))

    @property
    def folds(self) -> bool:
        """Whether BatchNorm is folded; it was not in runs of earlier versions."""
        return self.identity.get("batch_norm") == FOLDED

    @property
    def by_scores(self) -> bool:
        """Whether classes are chosen by their scores; by probabilities in earlier versions."""
        return self.identity.get("classes") == BY_SCORES

    @property
    def is_whole(self) -> bool:
        """Whether the region is the volume; only then a mask is published."""
        return self.plan.region == Region.whole(self.plan.shape)


def prepare(job: PlanJob, model: Model | None = None) -> Prepared:
    """Open what the job names and plan it.

    Parameters
    ----------
    model : Model, optional
        The job's, where it is open already.

    Raises
    ------
    RequestError, StorageError, ValueError
        One message for whatever makes the job impossible.
    """
    image = open_image(job.image)
    model = model or open_model(job.model)
    if model.card is not None:
        require_task(model.card, SEGMENTATION, job.model)
    dtype = mask_dtype(image, model)
    layout = label_layout(image, np.dtype(dtype).itemsize)
    region = parse_region(job.region, layout.axes, layout.shapes[0])
    channels = check_channels(job.channels, image, model)
    check_network_axes(layout.axes, model)
    if model.card is not None and not job.any_voxel_size:
        check_voxel_size(image, model.card)
    container, source = _container(job, image)
    truth = _open_truth(job, layout.shapes[0])
    cost = known_cost(job, model)
    plan = plan_shards(job, image, model, layout, region, channels, dtype, cost, truth)
    skipping = plan_skipping(job, image, model, layout)
    identity = _identity(job, image, model, plan)
    identity |= {"skipping": skipping.identity()} if skipping else {}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    parts = (image, model, layout, plan, dtype, container, source, truth, digest, identity)
    return Prepared(*parts, skipping)


def measured(job: PlanJob, prepared: Prepared, executor: Executor) -> Prepared:
    """The same with a plan for the workers' device, where measuring that is worth its seconds."""
    if not is_worth_measuring(job, prepared.model, prepared.plan):
        return prepared
    return measured_now(job, prepared, executor)


def measured_now(job: PlanJob, prepared: Prepared, executor: Executor) -> Prepared:
    """The same with a plan for the workers' device, which a worker measures."""
    image, model, dtype = prepared.image, prepared.model, prepared.dtype
    cost = measure_cost(job, model, executor, call_voxels(job, image, model, dtype))
    channels, region = check_channels(job.channels, image, model), prepared.plan.region
    given = (prepared.layout, region, channels, dtype, cost, prepared.truth)
    plan = plan_shards(job, image, model, *given)
    return replace(prepared, plan=plan)


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
        if not error.strerror:
            # An object store: the message says what to do.
            raise
        raise RequestError(f"{url} cannot be written ({error.strerror}); {advice}") from error


def _open_truth(job: PlanJob, shape: tuple[int, ...]) -> Image | None:
    return open_truth(job.image, job.truth, shape) if job.truth else None


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


def _identity(job: PlanJob, image: Image, model: Model, plan: ShardPlan) -> dict[str, Any]:
    """Everything that can change a voxel, and nothing else."""
    spec = plan.spec
    if spec.exact:
        tiling: dict[str, Any] = {"rule": "exact", "padding": PADDING_RULE}
    else:
        tiling = {"rule": "gaussian", "sigma": BLEND_SIGMA, "padding": PADDING_RULE}
        tiling |= {"tile": list(spec.tile), "halo": list(spec.halo), "cell": list(plan.cell)}
    identity: dict[str, Any] = {
        "schema": SCHEMA,
        "image": image_digest(image),
        "bundle": model.digest,
        "channels": list(job.channels) if job.channels else None,
        "region": {"start": list(plan.region.start), "stop": list(plan.region.stop)},
        "tiling": tiling,
        "precision": run_precision(job.precision, model),
    }
    # Either may change a voxel where two classes are nearly as likely.
    network = {"batch_norm": FOLDED, "classes": BY_SCORES}
    return identity | (network if model.card is not None else {})


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
