"""The README's picture: one unseen section of the demo's synthetic stack with truth and masks.

Run ``python -m benchmarks.picture demo-output docs/images/demo.png`` after ``make demo``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from flows.demo import SHAPE, VALIDATED
from flows.report.png import overlay, to_png
from storage.ome_labels import parse_label_classes
from storage.volume import open_image, open_label

GAP = 12
WHITE = 255


def main(folder: str, output: str) -> None:
    """Draw image, truth and mask side by side."""
    image = open_image(f"{folder}/stack.zarr")
    truth, mask = open_label(image.url, "truth"), open_label(image.url, "cells")
    colors = {c.value: c.color[:3] for c in parse_label_classes(mask.attributes)}
    z = (VALIDATED + SHAPE[0]) // 2
    section = (slice(z, z + 1), slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    plane = image.volumes[0][section][0]
    panels = [
        overlay(plane, np.zeros_like(plane), colors),
        overlay(plane, truth.volumes[0][section][0], colors),
        overlay(plane, mask.volumes[0][section][0], colors),
    ]
    gap = np.full((plane.shape[0], GAP, 3), WHITE, np.uint8)
    Path(output).write_bytes(
        to_png(np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1))
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
