"""Where labels stand and what they may be called.

A label's versions are folders under ``labels/``: NAME itself where it was imported, NAME-KEY or
NAME-KEY-n where a run made it.
"""

from __future__ import annotations

import re

from storage.errors import StorageError
from storage.stores import join_url

LABELS = "labels"
METADATA = "zarr.json"
LONGEST_CLASS_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """A label name as given.

    Raises
    ------
    StorageError
        If it is not letters, digits, ``.``, ``_`` and ``-``, beginning with a letter or digit.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise StorageError(
            f"label name {name!r} is not usable; use up to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit, without '..' or '/'"
        )
    return name


def check_class_name(name: str) -> str:
    """Name of a class as given; any letters and signs that can be printed.

    Raises
    ------
    StorageError
        If it is empty, too long, or holds line breaks or control characters.
    """
    if not name.strip() or len(name) > LONGEST_CLASS_NAME or not name.isprintable():
        raise StorageError(
            f"class name {name[:LONGEST_CLASS_NAME]!r} is not usable; use 1 to "
            f"{LONGEST_CLASS_NAME} letters, digits and signs, without line breaks"
        )
    return name


def label_url(container_url: str, directory: str) -> str:
    """URL of a label's multiscale group."""
    return join_url(container_url, LABELS, directory)


def is_version_of(directory: str, name: str) -> bool:
    """Whether a folder under ``labels/`` is a version of NAME (``NAME`` or ``NAME-KEY[-n]``)."""
    return directory == name or bool(
        re.fullmatch(re.escape(name) + r"-[0-9a-f]{8}(-\d+)?", directory)
    )
