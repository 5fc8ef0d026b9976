"""Values in OME metadata that somebody else has written: taken as they should be, or refused."""

from __future__ import annotations

import math
import re
from typing import Any

from storage.errors import StorageError

LONGEST_PATH = 1024
SHOWN = 80
# Nothing that leaves the folder, starts at the root, names a scheme, or cannot be printed.
_PATH = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[^\\:]+")


def shown(value: object) -> str:
    """A value for a message, however long it is."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def relative_path(value: object, where: str) -> str:
    """A path of something below a group, such as ``0`` or ``s0/image``.

    Raises
    ------
    StorageError
        If it is no text, or could lead out of the group.
    """
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or len(text) > LONGEST_PATH or not text.isprintable():
        raise StorageError(f"{where} has the path {shown(value)}; expected a short text")
    if not _PATH.fullmatch(text):
        raise StorageError(
            f"{where} has the path {shown(text)}; expected one below it, without '..', '\\', ':' "
            "and empty parts"
        )
    return text


def finite(value: object, where: str, *, above: float = -math.inf) -> float:
    """A number that can be computed with.

    Raises
    ------
    StorageError
        If it is no number, not finite, or not above a limit.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # The limit keeps whole numbers out that no float can hold.
    if not is_number or not -1e300 < value < 1e300 or not value > above:  # type: ignore[operator]  # is_number
        limit = "" if above == -math.inf else f" above {above:g}"
        raise StorageError(f"{where} has {shown(value)}; expected a number{limit}")
    return float(value)  # type: ignore[arg-type]  # is_number


def whole(value: object) -> int | None:
    """A whole number that an int64 holds; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and abs(value) < 2**63 else None  # type: ignore[return-value, arg-type]  # is_whole


def text_or_none(value: Any, where: str) -> str | None:
    """A short printable text, or None.

    Raises
    ------
    StorageError
        If it is something else.
    """
    if value is None or (isinstance(value, str) and value.isprintable() and len(value) <= SHOWN):
        return value
    raise StorageError(f"{where} is {shown(value)}; expected a short text")
