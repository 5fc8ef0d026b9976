"""Twelve segmentations whose memory is planned and measured."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 2**20
GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Plan:
    """One segmentation.

    Attributes
    ----------
    name : str
        What is special about it.
    shape : tuple of int
        Voxels along z, y, x that hold noise and are segmented, at full size.
    dtype : str
        Of the image.
    network : str or None
        Axes of a U-Net, ``blended`` for one that cannot be tiled exactly; None for none.
    width, depth, classes, channels : int
        Of the network.
    budget : int or None
        Bytes given to the worker; None gives the least that is enough.
    truth, probabilities : bool
        Whether they are counted, and kept.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: str
    network: str | None = None
    width: int = 4
    depth: int = 2
    classes: int = 3
    channels: int = 1
    budget: int | None = None
    truth: bool = False
    probabilities: bool = False

    def scaled(self, share: float) -> tuple[int, ...]:
        """The shape with every axis cut to a share, in whole chunks."""
        return tuple(max(64, round(size * share) // 64 * 64) for size in self.shape)


PLANS = (
    Plan("identity, tiny", (64, 256, 256), "uint8"),
    Plan("identity, uint8, least budget", (256, 1024, 1024), "uint8"),
    Plan("identity, uint16, 4 GiB", (256, 1024, 1024), "uint16", budget=4 * GIBIBYTE),
    Plan("2D, tiny", (64, 256, 256), "uint8", "yx"),
    Plan("2D, uint8, least budget", (64, 512, 512), "uint8", "yx"),
    Plan("2D, uint16, 4 GiB, truth", (128, 1024, 1024), "uint16", "yx", width=8, depth=3,
         budget=4 * GIBIBYTE, truth=True),
    Plan("2D, float32, 2 GiB, probabilities", (64, 1024, 1024), "float32", "yx", classes=5,
         budget=2 * GIBIBYTE, probabilities=True),
    Plan("2D, three channels, 3 GiB", (64, 1024, 1024), "uint8", "yx", channels=3, width=16,
         depth=3, budget=3 * GIBIBYTE),
    Plan("2D, blended, truth", (64, 1024, 1024), "uint8", "blended", width=8, truth=True),
    Plan("3D, uint8, 1 GiB", (64, 512, 512), "uint8", "zyx", budget=GIBIBYTE),
    Plan("3D, uint8, 4 GiB, truth", (192, 512, 512), "uint8", "zyx", width=8,
         budget=4 * GIBIBYTE, truth=True),
    Plan("3D, uint16, 3 GiB, probabilities", (128, 512, 512), "uint16", "zyx",
         budget=3 * GIBIBYTE, truth=True, probabilities=True),
)  # fmt: skip
