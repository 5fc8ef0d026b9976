"""Whole folders between object stores and the file system: bundles."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.stores import is_local, normalize_url

if TYPE_CHECKING:
    from collections.abc import Sequence

Versions = tuple[tuple[str, int, str], ...]


def fetch_folder(url: str, needed: Sequence[str], *, everything: bool = False) -> Path:
    """Local copy of a folder of objects; a local folder is itself.

    A process fetches a folder once, as long as its objects stay the same; the copy is readable
    by this user only and is removed when the process ends.

    Parameters
    ----------
    url : str
        The folder.
    needed : sequence of str
        Objects that must be there.
    everything : bool
        Fetch what else there is, too.

    Raises
    ------
    FileNotFoundError
        If there is no folder, or a remote one lacks what is needed.
    """
    url = normalize_url(url)
    if is_local(url):
        if not Path(url).is_dir():
            raise FileNotFoundError(f"{url} is not a folder; give the folder of a bundle")
        return Path(url)
    found = tuple(Blobs(url).versions())
    missing = sorted(set(needed) - {key for key, _, _ in found})
    if missing:
        raise FileNotFoundError(f"{url} holds no {missing[0]}; give the URL of a bundle")
    return _copy(url, tuple(item for item in found if everything or item[0] in needed))


@lru_cache(maxsize=16)
def _copy(url: str, versions: Versions) -> Path:
    private = Path(tempfile.mkdtemp(prefix="maskmill-bundle-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    folder = private / url.rsplit("/", 1)[-1]
    folder.mkdir()
    download(url, folder, [key for key, _, _ in versions])
    return folder


def download(url: str, folder: Path, keys: Sequence[str]) -> None:
    """Copy objects below a URL into a local folder.

    Raises
    ------
    StorageError
        If a key leads out of the folder.
    """
    for key in keys:
        path = folder / key
        if not path.resolve().is_relative_to(folder.resolve()):
            raise StorageError(f"{url} holds the object {key!r}, which lies outside of a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Blobs(url).read(key))


def upload_folder(folder: Path, url: str, last: str) -> None:
    """Copy a local folder to a URL; one file comes last, so that who sees it sees all.

    Parameters
    ----------
    folder : pathlib.Path
        Its files and those of its subfolders are put.
    url : str
        Where they go.
    last : str
        Name of the file that makes the folder whole.
    """
    blobs = Blobs(url)
    keys = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    for key in sorted(keys, key=lambda key: key == last):
        if (folder / key).is_file():
            blobs.upload(key, folder / key)
