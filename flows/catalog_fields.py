"""Fields of a catalog as they stand in the file: checked, and nothing opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

SPLITS = ("train", "validation", "test")
FIELDS = ("image", "label", "group", "region", "split", "images_along")
TOP_FIELDS = ("volumes", "classes")


def read_content(path: str) -> dict[str, Any]:
    """Fields of a catalog, among them a list of volumes; nothing is opened.

    Raises
    ------
    RequestError
        If the file is no catalog.
    """
    content = read_yaml(path, "catalog")
    if not isinstance(content, dict):
        raise RequestError(f"catalog {path} has no volumes; expected 'volumes:' and a list")
    unknown = sorted(map(str, content.keys() - set(TOP_FIELDS)))
    if unknown:
        raise RequestError(
            f"catalog {path} has the field {unknown[0]!r}; expected {' and '.join(TOP_FIELDS)}"
        )
    if not isinstance(content.get("volumes"), list) or not content["volumes"]:
        raise RequestError(f"catalog {path} has no volumes; expected 'volumes:' and a list")
    return content


def class_names(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Class names by value that a catalog gives itself, if it does.

    Raises
    ------
    RequestError
        If they are no list of different names.
    """
    classes = content.get("classes")
    if classes is None:
        return None
    names = tuple(map(str, classes)) if isinstance(classes, list) else ()
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise RequestError(
            f"the catalog has the classes {classes!r}; expected a list of at least two different "
            "names, that of the background first"
        )
    return names


def check_fields(number: int, fields: Any) -> None:
    """Check the fields of one volume of a catalog, counted from 1.

    Raises
    ------
    RequestError
        If some are missing or unknown, or have other values than they may.
    """
    if not isinstance(fields, dict) or not {"image", "label"} <= fields.keys() <= set(FIELDS):
        given = sorted(map(str, fields)) if isinstance(fields, dict) else fields
        raise RequestError(
            f"volume {number} of the catalog has the fields {given!r}; "
            f"expected image, label and perhaps {', '.join(FIELDS[2:])}"
        )
    split, along = fields.get("split"), fields.get("images_along")
    if split is not None and split not in SPLITS:
        raise RequestError(
            f"volume {number} of the catalog has the split {split!r}; "
            f"expected one of {', '.join(SPLITS)}"
        )
    if along not in (None, "z"):
        raise RequestError(
            f"volume {number} of the catalog has images_along: {along}; expected z, or nothing"
        )
