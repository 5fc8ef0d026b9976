"""Tables of images for a classifier: small pictures with or without a bright spot."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("plain", "spot")
SIDE = 32


def picture(label: int, seed: int) -> NDArray[np.uint8]:
    """Smoothed noise, with a bright spot in the middle where the label is 1; (y, x)."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.5)
    grid = np.arange(SIDE) - SIDE / 2
    spot = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * (SIDE / 8) ** 2))
    bright = 0.5 + 0.2 * noise / noise.std() + 0.6 * label * spot
    return (255 * bright.clip(0, 1)).astype(np.uint8)


def write_table(
    folder: Path, labels: Sequence[int], parts: Sequence[str | None], *, per_group: int = 1
) -> str:
    """Write pictures, table and catalog.

    Parameters
    ----------
    folder : Path
        Where they go.
    labels : sequence of int
        Class of every picture, in the order of the table.
    parts : sequence of str or None
        ``train``, ``validation`` or ``test``; None leaves the split to maskmill.
    per_group : int
        Pictures of one patient, which follow each other.

    Returns
    -------
    str
        CATALOG.yaml.
    """
    rows: list[dict[str, Any]] = []
    for number, (label, part) in enumerate(zip(labels, parts, strict=True)):
        name = f"scan{number:03d}.png"
        Image.fromarray(picture(label, 500 + number)).save(folder / name)
        patient = f"patient {number // per_group}"
        rows.append({"image": name, "class": CLASSES[label], "group": patient, "split": part or ""})
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    place = folder / "catalog.yaml"
    place.write_text(json.dumps({"classes": list(CLASSES), "samples": "table.csv"}))
    return str(place)


def in_turn(count: int) -> list[int]:
    """Labels in an order that chance gave."""
    labels: list[int] = np.random.default_rng(0).permutation(np.arange(count) % 2).tolist()
    return labels
