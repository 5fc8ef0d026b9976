"""Images of a folder or planes of a stack to look at a classifier with, bounded in memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import RequestError
from flows.samples import check_known, read_table
from segmentation.classification.images import prepare, with_channels
from storage.images import open_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from flows.jobs import AuditJob
    from segmentation.audit.model_calibration import Calibration
    from segmentation.bundle import Card

MOST_IMAGES = 200
# Values of all images together.
MOST_VALUES = 2**26
IMAGES_AT_ONCE = 4


def read_calibration(
    job: AuditJob, url: str, card: Card
) -> tuple[Calibration, tuple[NDArray[Any], ...], str, dict[str, Any]]:
    """Images as a classifier is shown them, with the classes of a table.

    Parameters
    ----------
    job : AuditJob
        Its ``truth`` and ``region`` count.
    url : str
        Folder of images, or OME-Zarr stack.
    card : Card
        Of the classifier.

    Returns
    -------
    tuple
        The fields of `flows.audit_images.Shown`.

    Raises
    ------
    RequestError, StorageError
        If images or table cannot be used.
    """
    from segmentation.audit.model_calibration import Calibration

    if job.region is not None:
        raise RequestError("--region is for networks that make masks; this one classifies images")
    images = open_images(url)
    labels = _labels(job, card, images.names)
    names = [name for name in images.names if labels is None or name in labels]
    room = MOST_VALUES // (math.prod(card.image_size or (1,)) * card.channels)
    chosen = spread(names, max(2, min(MOST_IMAGES, room)))
    if not chosen:
        raise RequestError(f"{job.truth} names no image of {url}; give the table of these images")
    raw = [with_channels(images.read(name), card.channels) for name in chosen]
    shown = [prepare(image, card) for image in raw]
    groups = range(0, len(chosen), IMAGES_AT_ONCE)
    calibration = Calibration(
        tuple(np.stack(shown[first : first + IMAGES_AT_ONCE]) for first in groups),
        None
        if labels is None
        else tuple(
            np.array([labels[name] for name in chosen[first : first + IMAGES_AT_ONCE]])
            for first in groups
        ),
        task="classification",
    )
    source = {"image": url, "images": len(chosen)}
    return calibration, tuple(raw), raw[0].dtype.name, source


def _labels(job: AuditJob, card: Card, names: Sequence[str]) -> dict[str, int] | None:
    if job.truth is None:
        return None
    if not Path(job.truth).is_file():
        raise RequestError(
            f"--truth {job.truth} is no file; a classifier's truth is a table with the columns "
            "image and class"
        )
    samples = read_table(job.truth, [c.name for c in card.classes])
    check_known(samples, names, job.truth)
    return {s.name: s.label for s in samples if s.label is not None}


def spread(names: Sequence[str], most: int) -> list[str]:
    """Some of the names at even distances; all of them if there are not more."""
    kept = min(len(names), most)
    return [names[(2 * k + 1) * len(names) // (2 * kept)] for k in range(kept)]
