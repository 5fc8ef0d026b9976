"""Keras model files: read without running anything in them, written so that equal is equal.

A model file may hold code (a Lambda layer) or names of code (a custom layer). Neither is run:
the file's description is searched before Keras sees it, and Keras's own safe mode is on.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.networks.runtime import import_keras, reading_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

# Keras layers that run code or files named in the description.
UNSAFE = frozenset(
    {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}
)
SHARED_MARK = "shared_object_id"
FIXED_DATE = "1980-01-01@00:00:00"


class ModelFileError(ValueError):
    """The file is not a model, or not one that can be loaded safely."""


def read_model(path: Path | str) -> keras.Model:
    """Load a ``.keras`` or ``.h5`` model, uncompiled.

    Raises
    ------
    ModelFileError
        If the file is missing, is not a Keras model, or needs code that is not Keras's own.
    """
    path = Path(path)
    _check_description(path, _description(path))
    keras = import_keras()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelFileError(f"{path} cannot be loaded by Keras: {first_line}") from error


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
    """The layer description stored in a model file."""
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file; expected a Keras model, .keras or .h5")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        return _description_in_hdf5(path)
    except (OSError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"{path} is not a whole Keras model; save it with model.save('name.keras')"
        ) from error


def _description_in_hdf5(path: Path) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["model_config"])


def _check_description(path: Path, description: Any) -> None:
    foreign = sorted(set(_foreign_names(description)))
    if foreign:
        raise ModelFileError(
            f"{path} uses {', '.join(foreign)}, which Keras does not provide or which runs code "
            "from the file; rebuild that part with Keras layers and save the model again"
        )


def _foreign_names(node: Any) -> Iterator[str]:
    """Classes and functions in a description that are custom or run code."""
    if isinstance(node, dict):
        if (name := _foreign_name(node)) is not None:
            yield name
        for value in node.values():
            yield from _foreign_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _foreign_names(value)


def _foreign_name(node: dict[str, Any]) -> str | None:
    kind, module = node.get("class_name"), node.get("module", "keras") or "an unnamed module"
    if kind == "function":
        return f"the function {node.get('config')}"
    if kind in UNSAFE:
        return str(kind)
    own = module == "builtins" or module.split(".")[0] == "keras"
    return None if own or kind is None else f"{kind} (of {module})"
