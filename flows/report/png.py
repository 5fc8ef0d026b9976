"""Pictures of one plane: masks over the image, and where they are wrong."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Color = tuple[int, int, int]

#: Okabe and Ito (2008): for labels without a colour of their own, in turn.
PALETTE: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)
#: Colour and meaning of the marks in an error map.
ERRORS: tuple[tuple[Color, str], ...] = (
    (PALETTE[6], "missed: foreground predicted as background"),
    (PALETTE[5], "invented: background predicted as foreground"),
    (PALETTE[4], "confused: one foreground class predicted as another"),
)
#: The same where one class alone is drawn.
CLASS_ERRORS: tuple[tuple[Color, str], ...] = (
    (PALETTE[6], "missed: the class predicted as something else"),
    (PALETTE[5], "invented: something else predicted as the class"),
)
WEBP_QUALITY = 80
WEBP_EFFORT = 2  # of 6: little larger, and much sooner done
GREY_STEP = 16  # between the greys behind the errors: so few are small although without a loss
LONGEST_SIDE = 768  # pixels of a panel; larger planes are thinned out


@dataclass(frozen=True, slots=True)
class Picture:
    """One plane seen several ways.

    Parameters
    ----------
    caption : str
        Where the plane lies.
    panels : tuple of (name, WebP bytes)
        Shown side by side; all of one size.
    """

    caption: str
    panels: tuple[tuple[str, bytes], ...]


def draw_picture(
    caption: str,
    image: NDArray[Any],
    mask: NDArray[np.integer[Any]],
    truth: NDArray[np.integer[Any]] | None = None,
    *,
    colors: Mapping[int, Color],
    ignore_label: int | None = None,
    objects: bool = False,
) -> Picture:
    """Draw image and mask of one plane and, where there is truth, truth and errors.

    Parameters
    ----------
    caption : str
    image : shape (y, x) or (y, x, channel)
    mask, truth : integer labels, shape (y, x)
    colors : label value to red, green, blue
    ignore_label : int, optional
        Truth of this value is no error, whatever the mask says.
    objects : bool
        The labels are object ids: where both have one there is no error, whatever the ids.

    Returns
    -------
    Picture
        Panels image, truth, mask, errors (truth and errors only with truth). Of a plane longer than
        `LONGEST_SIDE` every n-th voxel is shown, and the caption says so.
    """
    step = -(-max(mask.shape) // LONGEST_SIDE)
    image, mask = image[::step, ::step], mask[::step, ::step]
    if step > 1:
        caption = f"{caption} (one voxel in {step} shown along each axis)"
    panels = [("image", _grey(image))]
    if truth is not None:
        truth = truth[::step, ::step]
        panels.append(("truth", overlay(image, truth, colors)))
    panels.append(("mask", overlay(image, mask, colors)))
    if truth is not None:
        compared = np.where((truth != 0) & (mask != 0), truth, mask) if objects else mask
        panels.append(("errors", error_map(image, truth, compared, ignore_label=ignore_label)))
    encoded = ((name, to_webp(array, lossless=name == "errors")) for name, array in panels)
    return Picture(caption, tuple(encoded))


def overlay(
    image: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    colors: Mapping[int, Color],
    alpha: float = 0.5,
    limits: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Lay the colours of labels over a grey image; label 0 stays grey.

    Parameters
    ----------
    image : shape (y, x) or (y, x, channel)
        Any numeric dtype; channels averaged.
    labels : integer, shape (y, x)
    colors : label value to red, green, blue
        Labels without one take the colours of `PALETTE` in turn.
    alpha : float
        0 shows only the image, 1 only the colours.
    limits : tuple of float, optional
        Intensities that become black and white; by default the image's `stretch`.

    Returns
    -------
    uint8, shape (y, x, 3)

    Raises
    ------
    ValueError
        If image and labels are not the same plane.
    """
    grey = _grey(image, limits)
    _check_plane(grey, labels)
    values, inverse = np.unique(labels, return_inverse=True)
    table = np.array([colors.get(v, PALETTE[(v - 1) % len(PALETTE)]) for v in values.tolist()])
    weight = np.where(labels == 0, 0.0, alpha)[..., np.newaxis]
    mixed = (1 - weight) * grey + weight * table.reshape(-1, 3)[inverse.reshape(labels.shape)]
    return _bytes(mixed)


def error_map(
    image: NDArray[Any],
    truth: NDArray[np.integer[Any]],
    mask: NDArray[np.integer[Any]],
    *,
    ignore_label: int | None = None,
) -> NDArray[np.uint8]:
    """Mark where a mask is wrong, in the colours of `ERRORS`, on the dimmed image in few greys.

    Returns
    -------
    uint8, shape (y, x, 3)

    Raises
    ------
    ValueError
        If image, truth and mask are not the same plane.
    """
    picture = _bytes(0.45 * _grey(image) + 20) // GREY_STEP * np.uint8(GREY_STEP)
    _check_plane(picture, truth)
    _check_plane(picture, mask)
    wrong = truth != mask
    if ignore_label is not None:
        wrong &= truth != ignore_label
    kinds = (wrong & (mask == 0), wrong & (truth == 0), wrong & (mask != 0) & (truth != 0))
    for (color, _), where in zip(ERRORS, kinds, strict=True):
        picture[where] = color
    return picture


def to_png(array: NDArray[np.uint8]) -> bytes:
    """Encode a uint8 array (y, x) or (y, x, 3) as PNG; the same array gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_webp(array: NDArray[np.uint8], *, lossless: bool = False) -> bytes:
    """Encode a uint8 array (y, x, 3) as WebP, which keeps noisy planes small.

    With a loss, colour has half the resolution of brightness: marks one voxel wide turn grey.
    """
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(array))
    options = {"quality": WEBP_QUALITY, "method": WEBP_EFFORT}
    picture.save(buffer, "WEBP", lossless=lossless, **options)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """Return a PNG or a WebP as the text that an HTML page can hold in place of an address."""
    kind = "webp" if picture[:4] == b"RIFF" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def stretch(image: NDArray[Any]) -> tuple[float, float]:
    """Return the 0.5 and 99.5 percentiles of an image, between which it is drawn."""
    plane = _plane(image)
    low, high = np.percentile(plane, (0.5, 99.5)) if plane.size else (0.0, 1.0)
    return float(low), float(high)


def _grey(image: NDArray[Any], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Return a plane as grey RGB between limits."""
    plane = _plane(image)
    low, high = limits or stretch(image)
    grey = _bytes(255 * (plane - low) / (high - low if high > low else 1))
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def _plane(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return a plane with its channels averaged; what is not finite is 0."""
    plane = np.nan_to_num(image.astype(np.float64), nan=0, posinf=0, neginf=0)
    if plane.ndim == 3:
        plane = plane.mean(axis=-1)
    if plane.ndim != 2:
        raise ValueError(f"image has shape {image.shape}; expected (y, x) or (y, x, channel)")
    return plane


def _check_plane(picture: NDArray[np.uint8], labels: NDArray[np.integer[Any]]) -> None:
    if picture.shape[:2] != labels.shape:
        raise ValueError(
            f"labels have shape {labels.shape} and the image {picture.shape[:2]}; "
            "expected one plane of each, cut from the same place"
        )


def _bytes(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255) + 0.5, np.uint8)
