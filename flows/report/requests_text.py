"""Requests to object stores, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGABYTE = 1e6


def requests_text(requests: Mapping[str, int]) -> str:
    """One line: requests by kind and bytes moved; empty if there were none.

    Parameters
    ----------
    requests : mapping
        As `storage.requests.counts` gives it.

    Examples
    --------
    >>> requests_text({"get": 1200, "put": 3, "bytes_read": 2_500_000})
    '1,200 get, 3 put; 2.5 MB read, 0.0 MB written'
    """
    moved = ("bytes_read", "bytes_written")
    kinds = [f"{n:,} {kind}" for kind, n in requests.items() if n and kind not in moved]
    if not kinds:
        return ""
    read, written = (requests.get(kind, 0) / MEGABYTE for kind in moved)
    return f"{', '.join(kinds)}; {read:,.1f} MB read, {written:,.1f} MB written"
