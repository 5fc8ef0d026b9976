"""The report of a training: pictures drawn from what it left in its folder, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.report.training import class_colors, render_training
from flows.training_pictures import prediction_pictures, sample_sheets, shows_ignored
from storage.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Mapping

REPORT = "report.html"
FIRST_FOLD = "fold-0/training"


def write_training_report(folder: str, result: Mapping[str, Any], *, name: str) -> str:
    """Write report.html into the folder of a training, or of its folds.

    Parameters
    ----------
    folder : str
        Local; may hold samples.npz, slices.npz and predictions-EPOCH.npz, as in
        `flows.training_pictures`. Of folds those of the first are shown, from fold-0/training in
        the folder or beside it.
    result : mapping
        The document of a training, or of its folds.
    name : str
        Of what was trained; in the title.

    Returns
    -------
    str
        Path of the page.

    Raises
    ------
    ValueError
        If arrays in the folder do not fit each other.
    """
    names = [str(entry["name"]) for entry in result["classes"]]
    colors = class_colors(result)
    place, training = Path(folder), result
    if result.get("folds"):
        place, training = _first_fold(place), result["folds"][0]
    page = render_training(
        result,
        title=f"Training of {name}",
        samples=sample_sheets(place, names, colors),
        predictions=prediction_pictures(place, training.get("best_epoch"), names, colors),
        ignored=shows_ignored(place, len(names)),
    )
    Blobs(folder).write(REPORT, page.encode())
    return str(Path(folder) / REPORT)


def _first_fold(folder: Path) -> Path:
    inside = folder / FIRST_FOLD
    return inside if inside.is_dir() else folder.parent / FIRST_FOLD
