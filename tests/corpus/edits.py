"""One wrong thing in a document that is whole: where it is, what stands there, what is said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELETED = object()


@dataclass(frozen=True)
class Edit:
    """A value put at a place of a JSON document, and the message that has to come of it."""

    place: str
    value: Any
    match: str

    def __str__(self) -> str:
        shown = "deleted" if self.value is DELETED else repr(self.value)[:30]
        return f"{self.place or 'all'}={shown}"

    def apply(self, path: Path) -> None:
        """Change a file."""
        path.write_text(json.dumps(put(json.loads(path.read_text()), self.place, self.value)))


def put(document: Any, place: str, value: Any) -> Any:
    """The document with a value at a place such as ``classes/0/name``."""
    if not place:
        return value
    *parents, last = (int(part) if part.isdigit() else part for part in place.split("/"))
    node = document
    for part in parents:
        node = node[part]
    if value is DELETED:
        del node[last]
    else:
        node[last] = value
    return document
