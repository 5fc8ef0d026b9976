"""The folder of a bundle that is to be made: refused before the work, not after it."""

from __future__ import annotations

from pathlib import Path

from flows.errors import RequestError
from flows.prepare import check_writable
from segmentation.bundle import CARD_FILE, MODEL_FILE
from storage.stores import is_local, normalize_url

# A model without a card is what an interrupted attempt leaves.
LEFTOVERS = (Path(MODEL_FILE).stem, CARD_FILE)


def new_bundle(url: str, own: tuple[str, ...] = ()) -> Path:
    """Local folder for a new bundle.

    Parameters
    ----------
    url : str
        Where it is to be.
    own : tuple of str
        Beginnings of further names that an interrupted attempt may have left there.

    Raises
    ------
    RequestError
        If it is remote, is a bundle already, holds something else, or cannot be written.
    """
    if not is_local(url):
        raise RequestError(f"{url} is not a local folder; make the bundle in one and copy it there")
    folder = Path(normalize_url(url))
    if (folder / CARD_FILE).exists():
        raise RequestError(f"{folder} is a bundle already; choose another folder")
    if folder.is_file():
        raise RequestError(f"{folder} is a file; choose another folder")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if not name.startswith((*LEFTOVERS, *own))]
    if foreign:
        raise RequestError(f"{folder} holds other files ({foreign[0]}); choose an empty folder")
    check_writable(str(folder), "choose another folder")
    return folder
