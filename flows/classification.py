"""A classification that can be started: images, truth, network, digest, folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.classify_work import ClassifyWork
from flows.errors import RequestError
from flows.model import Model, open_model
from flows.pool import threads_per_worker
from flows.prepare import check_writable, image_digest
from flows.samples import Sample, check_known, read_table
from flows.shard_stage import ShardStage
from segmentation.bundle import CLASSIFICATION, Card, require_task
from segmentation.classification.predictions import UNKNOWN
from storage.blobs import Blobs
from storage.images import ImageSource, open_images
from storage.stores import join_url, normalize_url
from storage.volume import open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flows.jobs import ClassifyJob

SCHEMA = 1
TABLE = ".csv"


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """A classification that can be started.

    Attributes
    ----------
    job : ClassifyJob
        What was asked for.
    images : ImageSource
        Samples, in the order of the table that is written.
    labels : int64, shape (samples,)
        True classes; `UNKNOWN` where there is no truth.
    groups : tuple of str
        What each sample belongs to; the sample itself where nothing is known.
    truth : str or None
        Table that the truth comes from.
    model : Model
        The classifier.
    identity : dict
        Everything that can change a prediction or a score.
    digest : str
        Of `identity`.
    url : str
        Folder of the results.
    attempt : str
        Sorts after every earlier attempt.
    """

    job: ClassifyJob
    images: ImageSource
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    truth: str | None
    model: Model
    identity: dict[str, Any]
    digest: str
    url: str
    attempt: str

    @property
    def card(self) -> Card:
        """Of the classifier."""
        return classifier_card(self.model, self.job.model)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by value."""
        return tuple(info.name for info in self.card.classes)

    @property
    def blobs(self) -> Blobs:
        """The folder of the results."""
        return Blobs(self.url)

    @property
    def work(self) -> ClassifyWork:
        """What workers get."""
        threads = threads_per_worker(self.job)
        return ClassifyWork(
            self.images, self.model.source, self.job.batch_size, threads, self.model.digest
        )

    @property
    def stage(self) -> ShardStage:
        """The stage over all images; records of other batches count for nothing."""
        name = f"classify-{self.job.batch_size}"
        return ShardStage(self.url, self.digest, name, len(self.work), self.attempt)


def prepare_classification(job: ClassifyJob, attempt: str = "") -> Classification:
    """Open and check what is asked for; nothing is written.

    A classification that will write records needs its `attempt`, see `flows.run.new_attempt`.

    Raises
    ------
    RequestError, StorageError, ValueError
        One message for whatever makes it impossible.
    """
    model = open_model(job.model)
    names = tuple(info.name for info in classifier_card(model, job.model).classes)
    images, listed = _open(job.images, names)
    labels, groups, truth = _truth(job, images, listed, names)
    identity = {
        "schema": SCHEMA,
        "images": _images_digest(images),
        "bundle": model.digest,
        "classes": list(names),
        "truth": _digest([labels.tolist(), groups]),
    }
    digest = _digest(identity)
    url = normalize_url(job.out) if job.out else _default_folder(job, digest)
    check_writable(url, "give --out FOLDER to write elsewhere")
    return Classification(job, images, labels, groups, truth, model, identity, digest, url, attempt)


def classifier_card(model: Model, url: str) -> Card:
    """The card of a classifier.

    Raises
    ------
    RequestError, BundleError
        If the bundle is for something else.
    """
    if model.card is None:
        raise RequestError(f"{url} is no classifier; give the folder of a bundle")
    require_task(model.card, CLASSIFICATION, url)
    return model.card


def _open(images: str, names: tuple[str, ...]) -> tuple[ImageSource, tuple[Sample, ...]]:
    """Images, and what a table says of them where they are given by one."""
    if not images.lower().endswith(TABLE):
        return open_images(images), ()
    listed = read_table(images, names)
    folder = str(Path(normalize_url(images)).parent)
    return open_images(folder, [sample.name for sample in listed]), listed


def _truth(
    job: ClassifyJob, images: ImageSource, listed: tuple[Sample, ...], names: tuple[str, ...]
) -> tuple[NDArray[np.int64], tuple[str, ...], str | None]:
    """Label and group of every image, and the table that has the labels.

    Raises
    ------
    RequestError
        If the table names images that are not there, or has no class for any.
    """
    given = read_table(job.truth, names) if job.truth else listed
    labels = {sample.name: sample.label for sample in given if sample.label is not None}
    if job.truth:
        check_known(given, images.names, job.truth)
        if not labels:
            raise RequestError(
                f"{job.truth} gives no class to any image; expected a column class or label"
            )
    groups = {s.name: s.group for s in (*listed, *given) if s.group != s.name}
    return (
        np.array([labels.get(name, UNKNOWN) for name in images.names], np.int64),
        tuple(groups.get(name, name) for name in images.names),
        (job.truth or job.images) if labels else None,
    )


def _images_digest(images: ImageSource) -> str:
    """Digest of names, sizes and versions of the images, not of their bytes."""
    if images.volume is not None:
        return _digest([image_digest(open_image(images.url)), images.names])
    found = {key: [size, version] for key, size, version in Blobs(images.url).versions()}
    return _digest([[name, found.get(name)] for name in images.names])


def _default_folder(job: ClassifyJob, digest: str) -> str:
    """classify-BUNDLE-KEY beside the images."""
    bundle = normalize_url(job.model).rstrip("/").rsplit("/", 1)[-1]
    return join_url(f"{normalize_url(job.images)}.runs", f"classify-{bundle}-{digest[:8]}")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
