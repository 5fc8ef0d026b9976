"""The folder of a bundle that is to be made: refused before the work, not after it.

A bundle for an object store is made in a folder of its own on this machine, the same one for
the same URL, so that a training that was interrupted goes on; it is put whole when it is done.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from flows.errors import RequestError
from flows.prepare import check_writable
from flows.shard_stage import resumable
from segmentation.bundle import CARD_FILE, MODEL_FILE
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.folders import download, upload_folder
from storage.stores import is_local, join_url, normalize_url

# A model without a card is what an interrupted attempt leaves.
LEFTOVERS = (Path(MODEL_FILE).stem, CARD_FILE)
CACHE = "XDG_CACHE_HOME"


def new_bundle(url: str, own: tuple[str, ...] = ()) -> Path:
    """Local folder in which a new bundle is made; hand it over with `deliver`.

    Parameters
    ----------
    url : str
        Where the bundle is to be.
    own : tuple of str
        Beginnings of further names that an interrupted attempt may have left there.

    Raises
    ------
    RequestError
        If it is a bundle already, holds something else, or cannot be written.
    """
    url, folder = normalize_url(url), bundle_folder(url)
    if Blobs(url).exists(CARD_FILE):
        raise RequestError(f"{url} is a bundle already; choose another folder")
    if is_local(url) and folder.is_file():
        raise RequestError(f"{url} is a file; choose another folder")
    foreign = [name for name in _names(url) if not name.startswith((*LEFTOVERS, *own))]
    if foreign:
        raise RequestError(f"{url} holds other files ({foreign[0]}); choose an empty folder")
    check_writable(url, "choose another folder")
    if not is_local(url):
        _make_private(folder, own)
    return folder


def _names(url: str) -> list[str]:
    if is_local(url):
        return sorted(path.name for path in Path(url).iterdir()) if Path(url).is_dir() else []
    return sorted({key.split("/")[0] for key, _ in Blobs(url).list()})


def bundle_folder(url: str) -> Path:
    """Folder on this machine in which the bundle for a URL is made."""
    url = normalize_url(url)
    if is_local(url):
        return Path(url)
    cache = Path(os.environ.get(CACHE) or "~/.cache").expanduser()
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache / "maskmill" / "bundles" / key / url.rsplit("/", 1)[-1]


def _make_private(folder: Path, own: tuple[str, ...]) -> None:
    """A folder for this user alone, without what another attempt left in it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name.startswith(own):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def resumed_bundle(url: str, begun: str) -> Path | None:
    """Local folder of a bundle whose making was begun, here or, where it is done, at the URL.

    Parameters
    ----------
    url : str
        Where the bundle is to be.
    begun : str
        File below it that tells of a beginning.
    """
    folder, blobs = bundle_folder(url), Blobs(normalize_url(url))
    if (folder / begun).is_file():
        return folder
    if is_local(url) or not blobs.exists(begun):
        return None
    _make_private(folder, ())
    download(blobs.url, folder, [key for key, _ in blobs.list()])
    return folder


def deliver(folder: Path, url: str) -> str:
    """Put a finished bundle where it is to be, its card last; that place.

    Raises
    ------
    OSError
        If the store cannot be written; the local folder stays, and the same call goes on.
    """
    url = normalize_url(url)
    if is_local(url):
        return url
    blobs, card = Blobs(url), (folder / CARD_FILE).read_bytes()
    if not (blobs.exists(CARD_FILE) and blobs.read(CARD_FILE) == card):
        upload_folder(folder, url, CARD_FILE)
    shutil.rmtree(folder.parent)
    return url


def hand_over(folder: Path, url: str, report: str) -> dict[str, str]:
    """Put a trained bundle where it is to be; the places of bundle and report.

    Raises
    ------
    IncompleteRunError
        If the store cannot be written; nothing is trained again by the same command.
    """
    with resumable(url, OSError, StorageError):
        place = deliver(folder, url)
    return {"bundle": place, "report": join_url(place, report)}
