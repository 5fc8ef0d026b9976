"""The network of a run, and whether an image suits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flows.errors import RequestError
from flows.work import IDENTITY
from segmentation.bundle import (
    CARD_FILE,
    MODEL_FILE,
    Card,
    bundle_digest,
    check_model,
    load_card,
)
from storage.errors import StorageError
from storage.folders import fetch_folder
from storage.ome_labels import LabelClass
from storage.stores import is_local, normalize_url
from storage.units import convert_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.volume import Image

VOXEL_SIZE_TOLERANCE = 0.02
BUNDLE = (MODEL_FILE, CARD_FILE)


@dataclass(frozen=True, slots=True)
class Model:
    """The network of a run.

    Attributes
    ----------
    folder : str
        Local folder of the bundle, or ``identity``.
    card : Card or None
        None for the identity predictor.
    digest : str
        Of card and weights.
    url : str
        Where the bundle was fetched from; empty where its own folder is used.
    """

    folder: str
    card: Card | None
    digest: str
    url: str = ""

    @property
    def source(self) -> str:
        """Where workers, which may be on other machines, get the bundle; see `worker_bundle`."""
        return self.url or self.folder

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the mask, background first; none for the identity predictor."""
        if self.card is None:
            return ()
        return tuple(LabelClass(c.value, c.name, c.color) for c in self.card.classes)


def open_model(url: str, *, records: bool = False) -> Model:
    """The bundle at a URL, fetched if it is remote; ``identity`` needs none.

    A model that holds more than Keras layers is refused here, before anything is written;
    Keras is not imported.

    Parameters
    ----------
    records : bool
        Fetch the records of its training too.

    Raises
    ------
    FileNotFoundError, BundleError
        If there is no bundle, its files do not fit each other, or its model cannot be trusted.
    """
    if url == IDENTITY:
        return Model(IDENTITY, None, IDENTITY)
    folder = fetch_folder(url, BUNDLE, everything=records)
    place = "" if is_local(url) else normalize_url(url)
    card = load_card(folder)
    check_model(folder)
    return Model(str(folder), card, bundle_digest(folder), place)


def worker_bundle(source: str, digest: str) -> str:
    """Local folder of a bundle; a process fetches one from an object store once.

    Parameters
    ----------
    source : str
        `Model.source`.
    digest : str
        `Model.digest`.

    Raises
    ------
    StorageError
        If another bundle is there by now.
    """
    if is_local(source):
        return source
    folder = fetch_folder(source, BUNDLE)
    found = bundle_digest(folder)
    if found != digest:
        raise StorageError(
            f"{source} is another bundle now (digest {found[:12]}, the run began with "
            f"{digest[:12]}); put back the one of the run"
        )
    return str(folder)


def mask_dtype(image: Image, model: Model) -> str:
    """Type of the mask: what holds the classes, or the image's own for the identity predictor.

    Raises
    ------
    RequestError
        If the identity predictor is to work on anything but unsigned integers.
    """
    if model.card is not None:
        return "uint8" if len(model.card.classes) <= 256 else "uint16"
    dtype = np.dtype(image.volumes[0].dtype)
    if dtype.kind != "u":
        raise RequestError(
            f"the identity model needs unsigned integer voxels, this image has {dtype.name}; "
            "use it on a uint8, uint16 or uint32 image"
        )
    return dtype.name


def check_channels(channels: tuple[int, ...] | None, image: Image, model: Model) -> int:
    """Number of channels that are read.

    Raises
    ------
    RequestError
        If the chosen channels are not the image's, or not as many as the network takes.
    """
    base = image.volumes[0]
    have = base.shape[base.axes.index("c")] if "c" in base.axes else 1
    wanted = model.card.channels if model.card else 1
    if channels and not all(0 <= c < have for c in channels):
        raise RequestError(f"channels {channels} are not all in the image's 0 to {have - 1}")
    given = len(channels) if channels else have
    if given != wanted:
        raise RequestError(
            f"the image gives {given} channels and the network takes {wanted}; "
            f"choose {wanted} of the image's {have} channels with --channels"
        )
    return have


def check_network_axes(axes: str, model: Model) -> None:
    """Refuse a volume that lacks an axis the network looks along.

    Raises
    ------
    RequestError
        With both axes.
    """
    seen = model.card.axes if model.card else axes
    if not axes.endswith(seen):
        raise RequestError(
            f"the network sees the axes {seen} and the volume has {axes}; "
            "use a bundle of the volume's dimension"
        )


def check_voxel_size(image: Image, card: Card) -> None:
    """Refuse an image whose voxels differ from those the network learned on.

    Raises
    ------
    RequestError
        With both sizes, if one differs by more than 2 %.
    """
    base = image.volumes[0]
    if card.voxel_size is None or card.unit is None or base.unit is None:
        return
    have = [
        convert_length(base.voxel_size[base.axes.index(axis)], base.unit, card.unit)
        for axis in card.axes
    ]
    if any(
        not math.isclose(a, b, rel_tol=VOXEL_SIZE_TOLERANCE)
        for a, b in zip(have, card.voxel_size, strict=True)
    ):
        raise RequestError(
            f"the image's voxel size {_sizes(have)} {card.unit} ({card.axes}) is not the "
            f"{_sizes(card.voxel_size)} the bundle was trained at; resample the image, or accept "
            "the difference with --any-voxel-size"
        )


def _sizes(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)
