"""The report of a classification: pictures drawn from the images, and the page around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flows.classify_stages import read_predictions, sample_rows
from flows.report.classification import render_classification
from flows.report.numbers import percent
from flows.report.png import Picture, overlay, to_webp
from flows.run_report import REPORT
from segmentation.classification.images import resized
from segmentation.classification.ranking import roc_points

if TYPE_CHECKING:
    from flows.classification import Classification

MOST_PICTURES = 12
SIDE = 256  # pixels


def write_classification_report(run: Classification, result: dict[str, Any]) -> str:
    """Write report.html into the folder of the results; its URL."""
    known = read_predictions(run, sample_rows(run)).known()
    two = len(run.class_names) == 2 and known.names
    page = render_classification(
        result,
        title=f"{_last(run.job.images)}: {' or '.join(run.class_names)}",
        provenance=_provenance(run),
        roc=roc_points(known) if two else (),
        pictures=_pictures(run, result),
        colors={info.value: info.color[:3] for info in run.card.classes},
    )
    run.blobs.write(REPORT, page.encode())
    return f"{run.url}/{REPORT}"


def _pictures(run: Classification, result: dict[str, Any]) -> list[Picture]:
    """The worst mistakes, side by side."""
    errors = result.get("errors", ())[:MOST_PICTURES]
    if not errors:
        return []
    names = run.class_names
    panels = tuple(
        (
            f"{error['id']}: {names[error['label']]}, called {names[error['prediction']]} "
            f"({percent(error['p_prediction'])})",
            thumbnail(run.images.read(error["id"])),
        )
        for error in errors
    )
    return [Picture("The mistakes that are most surely so, each between its own extremes", panels)]


def thumbnail(image: np.ndarray) -> bytes:
    """A small grey version of an image, as WebP.

    Parameters
    ----------
    image : shape (y, x, channels)
        Intensities of any kind.
    """
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = resized(image.astype(np.float32), size)
    return to_webp(overlay(small, np.zeros(size, np.uint8), {}))


def _provenance(run: Classification) -> dict[str, Any]:
    card = run.card
    return {
        "images": run.images.url,
        "truth": run.truth,
        "model": run.job.model,
        "image size": card.image_size,
        "intensity": dict(card.intensity),
        "digest": run.digest,
    }


def _last(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]
