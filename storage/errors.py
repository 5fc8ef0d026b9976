"""Errors about data: what was received, what was expected, what to do."""

from __future__ import annotations


class StorageError(ValueError):
    """Data that is wrong, unusable or absent; the message says what to change."""
