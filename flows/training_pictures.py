"""Pictures of a training, drawn from the arrays it left in its folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.report.sample_sheet import Sheet, Version, ignores, prediction_picture, sample_sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from flows.report.png import Color, Picture

SAMPLES, SLICES = "samples.npz", "slices.npz"
PREDICTIONS = re.compile(r"predictions-(\d+)\.npz")
MOST_EPOCHS = 5  # whose predictions are shown


def sample_sheets(folder: Path, names: Sequence[str], colors: Mapping[int, Color]) -> list[Sheet]:
    """Draw the samples with their augmented versions; none where the folder holds none.

    Parameters
    ----------
    folder : Path
        Holds samples.npz: image (n, y, x), label (n, y, x), augmented_image (n, m, y, x),
        augmented_label (n, m, y, x), steps (n, m).
    names : sequence of str
        Of the classes.
    colors : label value to red, green, blue

    Raises
    ------
    ValueError
        If arrays are missing, or do not fit each other.
    """
    keys = ("image", "label", "augmented_image", "augmented_label", "steps")
    found = _read(folder / SAMPLES, keys)
    if not found:
        return []
    image, label, changed, labels, steps = (found[key] for key in keys)
    _check(folder / SAMPLES, image.shape == label.shape, image, label)
    _check(folder / SAMPLES, changed.shape == labels.shape, changed, labels)
    _check(folder / SAMPLES, changed.shape[:2] == steps.shape, changed, steps)
    _check(folder / SAMPLES, len(image) == len(changed), image, changed)
    return [
        sample_sheet(f"sample {number + 1}", list(versions), names, colors)
        for number, versions in enumerate(
            [
                Version("as it is", image[n], label[n]),
                *map(_version, steps[n].tolist(), changed[n], labels[n]),
            ]
            for n in range(len(image))
        )
    ]


def prediction_pictures(
    folder: Path, best: int | None, names: Sequence[str], colors: Mapping[int, Color]
) -> list[Picture]:
    """Draw the same slices with the masks of several epochs; none where the folder holds none.

    Parameters
    ----------
    folder : Path
        Holds slices.npz: image (k, y, x), truth (k, y, x), names (k,); and predictions-EPOCH.npz:
        masks (k, y, x).
    best : int or None
        Epoch that was kept; shown where there are masks of it.
    names, colors
        As for `sample_sheets`.

    Raises
    ------
    ValueError
        If arrays are missing, or do not fit each other.
    """
    found = _read(folder / SLICES, ("image", "truth", "names"))
    if not found:
        return []
    image, truth = found["image"], found["truth"]
    _check(folder / SLICES, image.shape == truth.shape, image, truth)
    epochs, masks = _epochs(folder, best), []
    for epoch, path in epochs:
        mask = _read(path, ("masks",))["masks"]
        _check(path, mask.shape == truth.shape, mask, truth)
        masks.append((f"epoch {epoch}{' (kept)' if epoch == best else ''}", mask))
    numbers = [epoch for epoch, _ in epochs]
    judged = numbers.index(best) if best in numbers else -1
    return [
        prediction_picture(
            Version(str(name), image[place], truth[place]),
            [(epoch, mask[place]) for epoch, mask in masks],
            num_classes=len(names),
            colors=colors,
            judged=judged,
        )
        for place, name in enumerate(found["names"].tolist())
    ]


def shows_ignored(folder: Path, num_classes: int) -> bool:
    """Return whether a picture holds voxels without a class."""
    found = [_read(folder / SAMPLES, ("label",)), _read(folder / SLICES, ("truth",))]
    return any(ignores(labels, num_classes) for each in found for labels in each.values())


def _version(steps: str, image: NDArray[Any], labels: NDArray[Any]) -> Version:
    return Version(steps or "unchanged", image, labels)


def _epochs(folder: Path, best: int | None) -> list[tuple[int, Path]]:
    """Return the epochs to show: first, last, the one that was kept, and others between."""
    found = sorted(
        (int(match[1]), path)
        for path in folder.glob("*.npz")
        if (match := PREDICTIONS.fullmatch(path.name))
    )
    if len(found) <= MOST_EPOCHS:
        return found
    chosen = np.linspace(0, len(found) - 1, MOST_EPOCHS).round().astype(int).tolist()
    kept = next((n for n, (epoch, _) in enumerate(found) if epoch == best), None)
    if kept is not None and kept not in chosen:
        nearest = min(range(1, MOST_EPOCHS - 1), key=lambda place: abs(chosen[place] - kept))
        chosen[nearest] = kept
    return [found[number] for number in sorted(chosen)]


def _read(path: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return arrays of a file; nothing where there is no file."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        missing = [key for key in keys if key not in arrays]
        if missing:
            raise ValueError(f"{path} holds no {', '.join(missing)}; expected {', '.join(keys)}")
        return {key: arrays[key] for key in keys}


def _check(path: Path, fits: bool, first: NDArray[Any], second: NDArray[Any]) -> None:
    if not fits:
        raise ValueError(
            f"{path} holds arrays of shapes {first.shape} and {second.shape}; expected the same "
            "planes in both"
        )
