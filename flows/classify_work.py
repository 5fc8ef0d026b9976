"""What a worker does with some images: read, prepare, ask the network.

What is computed at once depends on the bundle alone, never on what was asked for: so that batch
size, workers and executor change no digit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.bundle import Card, load_card
from segmentation.classification.images import prepare
from segmentation.classification.predictions import TOP
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segmentation.predictor import KerasPredictor
    from storage.images import ImageSource

# Images of 1024 × 1024 are computed four at once, smaller ones up to eight.
MOST_AT_ONCE = 8
PIXELS_AT_ONCE = 2**22

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClassifyWork:
    """Everything a worker needs to classify images; an item is a few of them.

    Attributes
    ----------
    images : ImageSource
        All images.
    bundle : str
        Folder or URL of the classifier.
    batch_size : int
        Images of an item.
    threads : int or None
        Threads of the device runtime.
    digest : str
        Of the bundle; one that is fetched is compared with it.
    """

    images: ImageSource
    bundle: str
    batch_size: int
    threads: int | None = None
    digest: str = ""

    def __len__(self) -> int:
        return -(-len(self.images.names) // self.batch_size)

    def names(self, item: int) -> tuple[str, ...]:
        """The images of an item."""
        return self.images.names[item * self.batch_size : (item + 1) * self.batch_size]

    def open(self) -> Callable[[int], list[Row]]:
        """Load the network once; the function classifies the images of an item."""
        from flows.model import worker_bundle
        from segmentation.predictor import KerasPredictor

        folder = worker_bundle(self.bundle, self.digest)
        card = load_card(folder)
        at_once = images_at_once(card)
        # Rows are rounded to millionths: folding would change some, and gain little here.
        predictor = KerasPredictor(folder, batch_size=at_once, threads=self.threads, fold=False)
        return Classifier(self, card, predictor)


def images_at_once(card: Card) -> int:
    """Images that the network computes together, by their size."""
    pixels = int(np.prod(card.image_size or (1, 1)))
    return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // pixels))


@dataclass(slots=True)
class Classifier:
    """A network that is loaded, and what it is asked about.

    Attributes
    ----------
    work : ClassifyWork
        Where the images are.
    card : Card
        Of the network.
    predictor : KerasPredictor
        The network; it is used in inference mode only, so nothing in it changes.
    device : threading.Lock
        Held while the network computes.
    """

    work: ClassifyWork
    card: Card
    predictor: KerasPredictor
    device: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, item: int) -> list[Row]:
        """One row for each image of an item.

        Returns
        -------
        list of dict
            "levels" (probability of every class in millionths) and "resized" (whether the image
            had another size); or "error", why there is no prediction.
        """
        rows: list[Row] = []
        shown: list[np.ndarray] = []
        for name in self.work.names(item):
            row, image = self._read(name)
            rows.append(row)
            shown += [] if image is None else [image]
        readable = (row for row in rows if "error" not in row)
        for row, levels in zip(readable, self._levels(shown), strict=True):
            row |= levels
        return [_checked(row) for row in rows]

    def _read(self, name: str) -> tuple[Row, np.ndarray | None]:
        """What is known of an image before the network sees it, and the image."""
        try:
            image = self.work.images.read(name)
            prepared = prepare(image, self.card)
        except (StorageError, ValueError) as error:
            return {"error": str(error)}, None
        return {"resized": image.shape[:2] != prepared.shape[:2]}, prepared

    def _levels(self, images: list[np.ndarray]) -> list[Row]:
        if not images:
            return []
        with self.device:
            probabilities = self.predictor.predict_probabilities(np.stack(images))
        return [
            {"levels": np.rint(row.astype(np.float64) * TOP).astype(np.int64).tolist()}
            if np.isfinite(row).all()
            else {"error": "the network gives no number for it; look for extreme intensities"}
            for row in probabilities
        ]


def _checked(row: Row) -> Row:
    return {"error": row["error"]} if "error" in row else row
