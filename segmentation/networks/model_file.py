"""Keras model files: read without running anything in them, written so that equal is equal.

A model file may hold code (a Lambda layer), names of code (a custom layer) or of other files.
None of it is followed: contents and description are judged before Keras sees them, and Keras's
own safe mode is on.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.networks.model_contents import (
    DESCRIPTION,
    WEIGHTS,
    archive_problem,
    hdf5_problem,
)
from segmentation.networks.model_names import foreign_names
from segmentation.networks.runtime import import_keras, reading_weights

if TYPE_CHECKING:
    import keras

ARCHIVE = ".keras"
HDF5 = (".h5", ".hdf5")
SHARED_MARK = "shared_object_id"
FIXED_DATE = "1980-01-01@00:00:00"
LONGEST_REASON = 300


class ModelFileError(ValueError):
    """The file is not a model, or not one that can be loaded safely."""


def read_model(path: Path | str) -> keras.Model:
    """Load a ``.keras`` or ``.h5`` model, uncompiled.

    Raises
    ------
    ModelFileError
        If the file is missing, is not a Keras model, holds or names other files, unfolds to far
        more than its size, or needs code that is not Keras's own.
    """
    path = Path(path)
    check_model_file(path)
    keras = import_keras()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # A malformed description makes Keras fail in any of its layers, with any kind of error.
        first_line = next(iter(str(error).strip().splitlines()), repr(error))
        raise ModelFileError(
            f"{path} cannot be loaded by Keras: {first_line[:LONGEST_REASON]}"
        ) from error


def check_model_file(path: Path | str) -> None:
    """Refuse what `read_model` would refuse before it asks Keras; Keras is not imported.

    Raises
    ------
    ModelFileError
        As `read_model`; Keras may still find more.
    """
    path = Path(path)
    _check_description(path, _description(path))


def write_model(model: keras.Model, path: Path) -> None:
    """Save architecture and weights; the same model gives the same bytes.

    The optimizer and the time of saving are left out.
    """
    plain = _uncompiled(model)
    draft = path.with_name(path.stem + ".draft.keras")
    try:
        with reading_weights():
            plain.save(draft)
        with zipfile.ZipFile(draft) as source, zipfile.ZipFile(path, "w") as target:
            for name in sorted(source.namelist()):
                target.writestr(zipfile.ZipInfo(name), _timeless(name, source.read(name)))
    finally:
        draft.unlink(missing_ok=True)


def _uncompiled(model: Any) -> Any:
    plain = type(model).from_config(model.get_config())
    with reading_weights():
        plain.set_weights(model.get_weights())
    return plain


def _timeless(name: str, data: bytes) -> bytes:
    """A member of the archive without the clock and the addresses in it."""
    if name == "metadata.json":
        return json.dumps(json.loads(data) | {"date_saved": FIXED_DATE}).encode()
    if name == "config.json":
        return json.dumps(_renumbered(json.loads(data), {})).encode()
    return data


def _renumbered(node: Any, numbers: dict[int, int]) -> Any:
    """Marks of shared objects, which are memory addresses, counted from 0 instead."""
    if isinstance(node, list):
        return [_renumbered(value, numbers) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: numbers.setdefault(value, len(numbers))
        if key == SHARED_MARK
        else _renumbered(value, numbers)
        for key, value in node.items()
    }


def _description(path: Path) -> Any:
    """The layer description stored in a model file, once its contents are found harmless."""
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file; expected a Keras model, .keras or .h5")
    if path.suffix not in (ARCHIVE, *HDF5):
        raise ModelFileError(f"{path} ends in {path.suffix!r}; Keras models end in .keras or .h5")
    # The suffix decides, as it does for Keras: a file can be both an archive and HDF5.
    read = _in_archive if path.suffix == ARCHIVE else _in_hdf5
    try:
        problem, description = read(path)
    except Exception as error:
        # Archives, their compression, HDF5 and JSON have a dozen errors for a damaged file.
        raise ModelFileError(
            f"{path} is not a whole Keras model; save it with model.save('name.keras')"
        ) from error
    if problem is not None:
        raise ModelFileError(f"{path} {problem}")
    return description


def _in_archive(path: Path) -> tuple[str | None, Any]:
    import h5py

    with zipfile.ZipFile(path) as archive:
        problem = archive_problem(archive, path.stat().st_size)
        if problem is not None:
            return problem, None
        weights = archive.read(WEIGHTS)
        with h5py.File(io.BytesIO(weights), "r") as file:
            problem = hdf5_problem(file, len(weights))
        description = json.loads(archive.read(DESCRIPTION))
    # How it was compiled is not read, so a loss of the user's own does no harm.
    return problem, {**description, "compile_config": None}


def _in_hdf5(path: Path) -> tuple[str | None, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        problem = hdf5_problem(file, path.stat().st_size)
        return problem, None if problem else json.loads(file.attrs["model_config"])


def _check_description(path: Path, description: Any) -> None:
    foreign = sorted(set(foreign_names(description)))
    if foreign:
        raise ModelFileError(
            f"{path} uses {', '.join(foreign)}, which Keras does not have, or which runs code or "
            "opens files; rebuild that part with Keras layers and save the model again"
        )
