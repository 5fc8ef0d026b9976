"""The worst section as Markdown: its panels side by side, inside the text itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from flows.report.png import data_uri, to_webp
from flows.report.safe import markdown_safe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flows.report.png import Picture

PANEL_SIDE = 400  # pixels at most: a page of results shows all panels in one row
GAP = 8  # pixels between two


def picture_markdown(picture: Picture) -> str:
    """Return caption, names of the panels and one image of all of them, for a Markdown page."""
    names = " · ".join(markdown_safe(name) for name, _ in picture.panels)
    address = data_uri(to_webp(side_by_side(picture)))
    return f"**{markdown_safe(picture.caption)}**\n\n{names}\n\n![{names}]({address})\n"


def side_by_side(picture: Picture) -> NDArray[np.uint8]:
    """Return the panels in a row with white gaps, none longer than `PANEL_SIDE`.

    Returns
    -------
    uint8, shape (y, x, 3)
    """
    panels = [_small(data) for _, data in picture.panels]
    white = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (white, panel)]
    return np.concatenate(parts[1:], axis=1)


def _small(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((PANEL_SIDE, PANEL_SIDE))
        return np.asarray(image.convert("RGB"))
