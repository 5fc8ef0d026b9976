"""Consolidated metadata: copies of ``zarr.json`` documents in the document of a group above them.

Zarr readers that find such copies do not look at the originals, so whoever changes an original
has to change its copies. Only what changed is replaced; a group without copies stays without. ::

    image.zarr/zarr.json
        {…, "consolidated_metadata": {"kind": "inline", "must_understand": false, "metadata": {
            "0": {…}, "labels": {…}, "labels/cells-1f0c9a7e": {…}, "labels/cells-1f0c9a7e/0": {…}}}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

COPIES = "consolidated_metadata"

Document = dict[str, Any]


def has_copies(document: Document) -> bool:
    """Whether the document of a group holds copies."""
    return _copies(document) is not None


def with_copies(document: Document, changed: Mapping[str, Document]) -> Document:
    """Document of a group with copies of what changed below it.

    Parameters
    ----------
    document : dict
        The group's ``zarr.json``.
    changed : mapping
        Path below the group and the new document there.
    """
    copies = _copies(document)
    if copies is None:
        return document
    fresh = {path: _copy(found) for path, found in changed.items()}
    return _replaced(document, {**copies, **fresh})


def without_copies(document: Document, path: str) -> Document:
    """Document of a group without the copies of what was at a path and below it."""
    copies = _copies(document)
    if copies is None:
        return document
    kept = {p: copy for p, copy in copies.items() if p != path and not p.startswith(f"{path}/")}
    return _replaced(document, kept)


def _copies(document: Document) -> Document | None:
    """The copies a group holds; None where it holds none, or of a kind that we do not know."""
    found = document.get(COPIES)
    if not isinstance(found, dict) or found.get("kind") != "inline":
        return None
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else None


def _replaced(document: Document, copies: Document) -> Document:
    return {**document, COPIES: {**document[COPIES], "metadata": copies}}


def _copy(document: Document) -> Document:
    """A document as it is copied: the copies in a group are all in the group above it."""
    if document.get("node_type") != "group":
        return document
    return {**document, COPIES: {"kind": "inline", "must_understand": False, "metadata": {}}}
