"""A model and everything needed to use it correctly: ``model.keras`` and ``card.json``."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.bundle_fields import card_problem, intensity_problem, name_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

SCHEMA = 1
MOST_NAMED = 5
# Training figures of thousands of volumes fit; a file that is no card is not read whole.
MAX_CARD_BYTES = 2**27
MODEL_FILE = "model.keras"
CARD_FILE = "card.json"
SEGMENTATION, CLASSIFICATION = TASKS = ("segmentation", "classification")
# What decides which class a voxel or a sample gets; names, colours and provenance do not.
DECIDING = (
    "axes",
    "channels",
    "head",
    "intensity",
    "stride",
    "halo",
    "exact",
    "model_sha256",
)
# The same for a classifier only, so that digests of other bundles stay what they were.
DECIDING_FOR_SAMPLES = ("task", "image_size", "resize")


class BundleError(ValueError):
    """The folder is not a usable bundle, or the model cannot become one."""


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class of the masks.

    Attributes
    ----------
    value : int
        Its value in the mask; 0 is the background.
    name : str
        As shown in tables.
    color : tuple of int
        Red, green, blue, alpha, 0-255.
    """

    value: int
    name: str
    color: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a model. All tuples per axis are in the order of `axes`.

    Attributes
    ----------
    classes : tuple of ClassInfo
        Values 0, 1, 2, ... in order; the background is first.
    axes : "yx" or "zyx"
        Spatial axes of the network.
    channels : int
        Channels of its input.
    head : "softmax" or "sigmoid"
        How its output is read.
    intensity : dict
        ``{"rule": "percentiles", "low": 1.0, "high": 99.0}`` of the whole volume, or
        ``{"rule": "fixed", "low": [...], "high": [...]}``, one intensity a channel.
    stride, halo : tuple of int
        See `segmentation.receptive_field.Geometry`.
    exact : bool
        Whether tiled output equals the untiled network's.
    inexact_reasons : tuple of str
        Why it does not.
    mismatch : dict
        Measured difference, tiled against untiled: ``max_difference`` of probabilities,
        ``argmax_fraction`` of voxels whose class changes, and the ``sample`` used.
    tile : tuple of int or None
        The one tile of a network that is not exact; a suggestion otherwise.
    activation_bytes : int
        Peak bytes of activations per voxel of a tile.
    voxel_size : tuple of float or None
        At which it was trained, in `unit`.
    unit : str or None
        Such as ``micrometer``.
    model_sha256 : str
        Of the model file.
    training : dict
        Data digest, split, settings, scores.
    versions : dict
        Of the software that made it.
    task : "segmentation" or "classification"
        Whether the network gives a class to every voxel, or one to a whole image.
    image_size : tuple of int or None
        Extents along y and x of what a classifier is shown; None for segmentation.
    resize : str or None
        How an image of another size is brought to `image_size`; see
        `segmentation.classification.images.RESIZE`.
    precision : "float32", "bfloat16" or "float16"
        In which masks are computed, where a run does not say otherwise.
    """

    classes: tuple[ClassInfo, ...]
    axes: str
    channels: int
    head: str
    intensity: Mapping[str, Any]
    stride: tuple[int, ...]
    halo: tuple[int, ...]
    exact: bool
    inexact_reasons: tuple[str, ...] = ()
    mismatch: Mapping[str, Any] = field(default_factory=dict)
    tile: tuple[int, ...] | None = None
    activation_bytes: int = 0
    voxel_size: tuple[float, ...] | None = None
    unit: str | None = None
    model_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    task: str = SEGMENTATION
    image_size: tuple[int, int] | None = None
    resize: str | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        values = [info.value for info in self.classes]
        if len(values) < 2 or values != list(range(len(values))):
            raise BundleError(
                f"class values are {values}; expected 0, 1, 2, ... with the background first"
            )
        if self.axes not in ("yx", "zyx") or self.head not in ("softmax", "sigmoid"):
            raise BundleError(
                f"axes are {self.axes!r} and head {self.head!r}; "
                "expected 'yx' or 'zyx', and 'softmax' or 'sigmoid'"
            )
        problems = (name_problem(info.name) for info in self.classes)
        problem = next(filter(None, problems), None)
        problem = problem or intensity_problem(self.intensity, self.channels)
        if problem is not None:
            raise BundleError(problem)
        _check_task(self)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background included."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))  # type: ignore[no-any-return]  # json

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Card:
        """Inverse of `to_dict`.

        Raises
        ------
        BundleError
            If the schema is another, or fields are missing, unknown or of the wrong form.
        """
        if data.get("schema") != SCHEMA:
            raise BundleError(
                f"the card has schema {data.get('schema')!r}; this version reads {SCHEMA}. "
                "Make the bundle again, or use the version of maskmill that made it"
            )
        values = {name: value for name, value in data.items() if name != "schema"}
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise BundleError(
                f"the card has unknown fields {sorted(map(str, unknown))[:MOST_NAMED]}; remove them"
            )
        needed = {f.name for f in fields(cls) if MISSING is f.default is f.default_factory}
        lacking = ", ".join(sorted(needed - values.keys()))
        problem = f"lacks {lacking}" if lacking else card_problem(values)
        if problem is not None:
            raise BundleError(f"the card is incomplete or malformed: it {problem}")
        return cls(**{name: _frozen(name, value) for name, value in values.items()})


def _frozen(name: str, value: Any) -> Any:
    """A card field as it is held in memory, from its JSON form."""
    if name == "classes":
        return tuple(ClassInfo(c["value"], c["name"], tuple(c["color"])) for c in value)
    return tuple(value) if isinstance(value, list) else value


def _check_task(card: Card) -> None:
    if card.task not in TASKS:
        raise BundleError(f"the task is {card.task!r}; expected one of {', '.join(TASKS)}")
    size, of_samples = card.image_size, card.task == CLASSIFICATION
    if of_samples != (size is not None) or (size and (len(size) != 2 or min(size) < 1)):
        raise BundleError(
            f"the card of a {card.task} bundle has image_size {size}; expected "
            + ("two extents, y and x, of 1 or more" if of_samples else "none")
        )


def require_task(card: Card, task: str, where: str) -> None:
    """Refuse a bundle that was made for the other task.

    Parameters
    ----------
    card : Card
        Of the bundle.
    task : "segmentation" or "classification"
        What it is to be used for.
    where : str
        Path of the bundle, for the message.

    Raises
    ------
    BundleError
        With the command that suits the bundle.
    """
    if card.task == task:
        return
    if card.task == CLASSIFICATION:
        raise BundleError(
            f"{where} gives one class to a whole image; use it with `maskmill classify`. Masks "
            "need a bundle that was trained on labelled voxels"
        )
    raise BundleError(
        f"{where} gives a class to every voxel; use it with `maskmill segment`. One class for a "
        "whole image needs a bundle that was trained on a table of samples"
    )


def save_bundle(folder: Path | str, model: keras.Model, card: Card) -> Card:
    """Write a bundle; the card comes last, so that a folder with a card is whole.

    Returns
    -------
    Card
        The card as written, with the digest of the model file.
    """
    from segmentation.networks.model_file import write_model

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD_FILE).unlink(missing_ok=True)
    write_model(model, folder / MODEL_FILE)
    card = replace(card, model_sha256=_sha256(folder / MODEL_FILE))
    draft = folder / f"{CARD_FILE}.draft"
    draft.write_text(json.dumps(card.to_dict(), indent=1) + "\n", encoding="utf-8")
    os.replace(draft, folder / CARD_FILE)
    return card


def load_card(folder: Path | str) -> Card:
    """Read a bundle's card and check that its model file is the one it describes.

    Raises
    ------
    BundleError
        If the folder is not a bundle, the card cannot be read, or the digest is wrong.
    """
    folder = Path(folder)
    for name in (CARD_FILE, MODEL_FILE):
        if not (folder / name).is_file():
            raise BundleError(
                f"{folder} is not a bundle: it has no {name}. "
                "Make one with `maskmill train` or `maskmill pack`"
            )
    data = _card_data(folder / CARD_FILE)
    card = Card.from_dict(data if isinstance(data, dict) else {})
    digest = _sha256(folder / MODEL_FILE)
    if digest != card.model_sha256:
        raise BundleError(
            f"{folder / MODEL_FILE} has digest {digest[:12]}, its card says "
            f"{card.model_sha256[:12]}; the model was changed or is damaged. "
            "Copy the bundle again, or pack the model again"
        )
    return card


def _card_data(path: Path) -> Any:
    if path.stat().st_size > MAX_CARD_BYTES:
        raise BundleError(f"{path} has more than {MAX_CARD_BYTES // 2**20} MiB; it is no card")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error


def check_model(folder: Path | str) -> None:
    """Judge what the model file of a bundle holds, without Keras.

    Raises
    ------
    BundleError
        If the file is no whole model, leads outside itself, or needs code that is not Keras's own.
    """
    from segmentation.networks.model_file import ModelFileError, check_model_file

    try:
        check_model_file(Path(folder) / MODEL_FILE)
    except ModelFileError as error:
        raise BundleError(str(error)) from error


def load_model(folder: Path | str) -> keras.Model:
    """Load a bundle's network, uncompiled, in safe mode, after checking its digest.

    Raises
    ------
    BundleError
        As `load_card`, or if the model needs code that is not Keras's own.
    """
    from segmentation.networks.model_file import ModelFileError, read_model

    load_card(folder)
    try:
        return read_model(Path(folder) / MODEL_FILE)
    except ModelFileError as error:
        raise BundleError(str(error)) from error


def bundle_digest(folder: Path | str) -> str:
    """Hex SHA-256 of what decides the classes of voxels: the model and the deciding fields."""
    card = load_card(folder)
    data = card.to_dict()
    deciding = {name: data[name] for name in DECIDING} | {"num_classes": card.num_classes}
    if not card.exact:
        deciding["tile"] = data["tile"]
    if card.task == CLASSIFICATION:
        deciding |= {name: data[name] for name in DECIDING_FOR_SAMPLES}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
