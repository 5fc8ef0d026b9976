"""What a model file may hold, judged before Keras opens it.

A ``.keras`` file is a zip archive with a description and an HDF5 file of weights. Both formats
can name files outside themselves, and both can be small and unfold into more than a machine has.
Every function gives what is wrong in words, or None.
"""

from __future__ import annotations

import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile

DESCRIPTION = "config.json"
WEIGHTS = "model.weights.h5"
MEMBERS = (DESCRIPTION, "metadata.json", WEIGHTS)
MAX_DESCRIPTION_BYTES = 2**26
# Weights hardly compress: what unfolds to more than this was made to fill a disk or a memory.
MAX_GROWTH = 50
SMALL_BYTES = 2**26


def archive_problem(archive: ZipFile, stored_bytes: int) -> str | None:
    """What is wrong with the members of a ``.keras`` archive of so many bytes; nothing is read."""
    members = archive.infolist()
    counts = Counter(info.filename for info in members)
    for info in members:
        name = info.filename
        if name not in MEMBERS:
            return (
                f"holds the member {name[:80]!r}; expected {', '.join(MEMBERS)} and nothing else. "
                "Rebuild the layer that keeps files of its own, and save the model again"
            )
        if counts[name] > 1 or stat.S_ISLNK(info.external_attr >> 16):
            return f"holds {name} twice or as a link; save the model again with Keras"
    missing = [name for name in (DESCRIPTION, WEIGHTS) if name not in counts]
    if missing:
        return f"lacks {missing[0]}; save the model again with model.save('name.keras')"
    if archive.getinfo(DESCRIPTION).file_size > MAX_DESCRIPTION_BYTES:
        return f"has a {DESCRIPTION} of more than {MAX_DESCRIPTION_BYTES // 2**20} MiB"
    return _growth_problem(sum(info.file_size for info in members), stored_bytes)


def hdf5_problem(file: Any, stored_bytes: int) -> str | None:
    """What is wrong with an open HDF5 file of so many bytes: links and data kept outside it."""
    found: list[str] = []
    unfolded = 0

    def visit(name: str, item: Any) -> str | None:
        nonlocal unfolded
        found.extend(_outside(name, item))
        unfolded += int(getattr(item, "nbytes", 0) or 0)
        return found[0] if found else None

    problem = visit("/", file) or file.visititems(visit)
    return problem or _growth_problem(unfolded, stored_bytes)


def _outside(name: str, item: Any) -> Iterator[str]:
    """What of a group or a dataset lies elsewhere."""
    import h5py

    if isinstance(item, h5py.Dataset):
        if item.external or item.is_virtual:
            yield f"has the weights {name[:80]!r} in another file; save the model as one file"
        return
    for key in item:
        if not isinstance(item.get(key, getlink=True), h5py.HardLink):
            yield f"has the link {key[:80]!r} in place of weights; save the model again with Keras"


def _growth_problem(unfolded: int, stored: int) -> str | None:
    if unfolded <= max(SMALL_BYTES, MAX_GROWTH * stored):
        return None
    return (
        f"has {stored:,} bytes and unfolds to {unfolded:,}, more than {MAX_GROWTH} times as many; "
        "weights do not compress so well. Save the model again with Keras"
    )
