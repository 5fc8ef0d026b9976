"""Questions to a metric: known predictions on small images, on which it shows what it computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.probe_images import certainty, expected_scores, half_found, image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from segmentation.audit.probe_images import Labels
    from segmentation.audit.probe_layouts import Layout

PERFECT, HALF, INVERTED = "perfect", "half of every class found", "every voxel wrong"
NOTHING, MISSED, PERMUTED = "all background", "last class missed", "classes permuted"
GOOD, BAD, SURE = "right, with 0.9", "wrong, with 0.9", "right, with 0.999"
UNSURE, EMPTY, NO_PLANE = "right, with 0.5", "nothing there, nothing found", "no background plane"
FALSE = {count: f"nothing there, {count} voxels found" for count in (5, 10, 20)}
RARE, COMMON = "a rare class missed", "as many errors in the background"
TOGETHER, OTHERWISE = "four images in two batches", "the same four, batched otherwise"
WHITE, WHITE_MISSED = "masks of 0 and 255, perfect", "masks of 0 and 255, all background"
FROM_ONE = "labels from 1, last class missed"
# Masks that are no classes; a metric that cuts them off to integers sees 0 in both.
FRACTIONS = {0.6: "masks of 0 and 0.6, half found", 0.3: "masks of 0 and 0.3, half found"}

# Predictions without doubt, of an image that holds all classes.
HARD = (PERFECT, HALF, INVERTED, NOTHING, MISSED, PERMUTED)
# Where masks hold values that are no class, to raise is right.
ODD_LABELS = (WHITE, WHITE_MISSED, FROM_ONE, *FRACTIONS.values())
CERTAIN = 0.95
# Of four images: share of foreground, and how much of it was found.
FOUR_IMAGES = ((0.6, 1.0), (0.1, 0.0), (0.3, 0.5), (0.05, 1.0))


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to a metric.

    Attributes
    ----------
    name : str
        What is predicted.
    layout : Layout
        How it is handed over.
    truth, prediction : array
        What is handed over, samples first.
    expected : dict
        "accuracy", "dice", "iou" (means over the foreground classes) and "mean_iou" (over all
        classes) of that prediction; those that are undefined are left out.
    batches : tuple of tuple of int
        Samples of each batch.
    """

    name: str
    layout: Layout
    truth: NDArray[Any]
    prediction: NDArray[Any]
    expected: dict[str, float]
    batches: tuple[tuple[int, ...], ...] = ((0,),)


def trial_probes(layout: Layout) -> Iterator[Probe]:
    """Yield what shows whether a layout is the right one; the first has two samples a batch."""
    for kind in (_batches, _plain, _doubtful):
        yield from kind(layout)


def further_probes(layout: Layout) -> Iterator[Probe]:
    """Yield what is asked where the layout is right."""
    for kind in (_empty, _rare, _odd_labels):
        yield from kind(layout)


def _probe(layout: Layout, name: str, labels: Labels, guess: Labels, share: float = 1.0) -> Probe:
    classes = layout.num_classes
    return Probe(
        name,
        layout,
        layout.truth(labels),
        layout.prediction(certainty(guess, classes, share)),
        expected_scores(labels, guess, classes),
    )


def _plain(layout: Layout) -> Iterator[Probe]:
    classes, labels = layout.num_classes, image(layout.num_classes)
    guesses = {
        PERFECT: labels,
        HALF: half_found(labels),
        INVERTED: (labels + 1) % classes,
        NOTHING: np.zeros_like(labels),
        MISSED: np.where(labels == classes - 1, 0, labels),
    }
    if classes > 2:
        guesses[PERMUTED] = np.where(labels > 0, 1 + labels % (classes - 1), 0)
    yield from (_probe(layout, name, labels, guess) for name, guess in guesses.items())


def _doubtful(layout: Layout) -> Iterator[Probe]:
    if layout.output == "labels":
        return
    labels = image(layout.num_classes)
    wrong = (labels + 1) % layout.num_classes
    yield _probe(layout, GOOD, labels, labels, 0.9)
    yield _probe(layout, BAD, labels, wrong, 0.9)
    yield _probe(layout, SURE, labels, labels, 0.999)
    yield _probe(layout, UNSURE, labels, labels, 0.5)


def _empty(layout: Layout) -> Iterator[Probe]:
    nothing = np.zeros_like(image(layout.num_classes))
    yield _probe(layout, EMPTY, nothing, nothing)
    for count, name in FALSE.items():
        found = nothing.copy()
        found.reshape(-1)[:count] = 1
        yield _probe(layout, name, nothing, found)


def _rare(layout: Layout) -> Iterator[Probe]:
    """100 of 10,000 voxels wrong: all that there are of class 1, or as many of background."""
    classes = layout.num_classes
    others = np.full(classes - 2, 1900 // max(classes - 2, 1))
    sizes = (9900 - others.sum(), 100, *others)
    labels = np.repeat(np.arange(classes), sizes).reshape(1, 100, 100)
    extra = labels.copy()
    extra[0, 0] = min(2, classes - 1)
    share = 1.0 if layout.output == "labels" else CERTAIN
    yield _probe(layout, RARE, labels, np.where(labels == 1, 0, labels), share)
    yield _probe(layout, COMMON, labels, extra, share)


def _batches(layout: Layout) -> Iterator[Probe]:
    """Four images, as two batches of two, paired in two ways."""
    labels = np.zeros((4, 1000), np.int64)
    guess = labels.copy()
    for row, (share, found) in enumerate(FOUR_IMAGES):
        size = int(1000 * share)
        labels[row, :size] = 1 + np.arange(size) % (layout.num_classes - 1)
        guess[row, : int(size * found)] = labels[row, : int(size * found)]
    shape = (4, 25, 40)
    one = _probe(layout, TOGETHER, labels.reshape(shape), guess.reshape(shape))
    for name, batches in ((TOGETHER, ((0, 1), (2, 3))), (OTHERWISE, ((0, 2), (1, 3)))):
        yield replace(one, name=name, batches=batches)


def _odd_labels(layout: Layout) -> Iterator[Probe]:
    """Masks whose values are no class; the scores are those of what they mean."""
    classes, labels = layout.num_classes, image(layout.num_classes)
    perfect = _probe(layout, NO_PLANE, labels, labels)
    if layout.masks == "one-hot":
        yield replace(perfect, truth=perfect.truth * (np.arange(classes) > 0).astype(np.float32))
        half = _probe(layout, HALF, labels, half_found(labels))
        for factor, name in FRACTIONS.items():
            yield replace(half, name=name, truth=half.truth * np.float32(factor))
    elif classes == 2:
        guesses = ((WHITE, labels), (WHITE_MISSED, np.zeros_like(labels)))
        for name, guess in guesses:
            one = _probe(layout, name, labels, guess)
            yield replace(one, truth=layout.truth(255 * labels))
    else:
        yield _labels_from_one(layout)


def _labels_from_one(layout: Layout) -> Probe:
    """Labels 1..C, of which a network with C outputs, 0..C-1, cannot give the last."""
    classes = layout.num_classes
    labels = np.repeat(np.arange(1, classes + 1), 20).reshape(1, classes, 20)
    guess = np.where(labels == classes, 1, labels)
    expected = expected_scores(labels, guess, classes + 1)
    prediction = layout.prediction(certainty(guess, classes, 1.0))
    return Probe(FROM_ONE, layout, layout.truth(labels), prediction, expected)
