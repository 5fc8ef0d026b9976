"""The network of a training: built or taken from a bundle, and whether it can be trained here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.catalog import channel_count
from flows.errors import RequestError
from flows.model import open_model
from flows.pool import training_workers
from flows.sizing import RESERVED_TRAINING, training_memory
from segmentation.bundle import SEGMENTATION, Card, load_model, require_task
from segmentation.training.settings import TrainSettings
from storage.units import convert_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.catalog import Entry
    from flows.jobs import TrainJob
    from flows.training_data import TrainingData

DEFAULT_CROP = {"yx": (256, 256), "zyx": (32, 96, 96)}
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Network:
    """A network before its first step.

    Attributes
    ----------
    model : keras.Model
        In float32.
    head : "softmax" or "sigmoid"
        How its output is read.
    card : Card or None
        Of the bundle it was started from.
    frozen : tuple of str
        Layers whose weights stay as they are.
    """

    model: Any
    head: str
    card: Card | None = None
    frozen: tuple[str, ...] = ()


def make_network(job: TrainJob, data: TrainingData) -> Network:
    """Build the network of a job, or load the one it starts from.

    Raises
    ------
    RequestError, ValueError
        If the preset cannot do what is asked, or the bundle does not fit the volumes.
    """
    from segmentation.networks.presets import build_network
    from segmentation.packing import check_model

    classes, channels = len(data.classes), channel_count(data.entries[0])
    if job.pretrained is not None:
        return _pretrained(job, data, channels)
    model = build_network(
        job.preset,
        job.axes,
        channels=channels,
        num_classes=classes,
        width=job.width,
        depth=job.depth,
        seed=job.seed,
    )
    return Network(model, check_model(model, classes, job.axes))


def _pretrained(job: TrainJob, data: TrainingData, channels: int) -> Network:
    from segmentation.networks.variants import freeze_until, with_head

    found = open_model(str(job.pretrained))
    card = found.card
    if card is not None:
        require_task(card, SEGMENTATION, str(job.pretrained))
    if card is None or (card.axes, card.channels) != (job.axes, channels):
        seen = "no network" if card is None else f"axes {card.axes} and {card.channels} channels"
        raise RequestError(
            f"{job.pretrained} has {seen}; this training has axes {job.axes} and {channels} "
            "channels. Start from a bundle of the same"
        )
    model = load_model(found.folder)
    if [c.name for c in card.classes] != [c.name for c in data.classes]:
        outputs = len(data.classes) - (card.head == "sigmoid")
        model = with_head(model, outputs, card.head, job.seed)
    frozen = freeze_until(model, job.freeze_until) if job.freeze_until else ()
    return Network(model, card.head, card, frozen)


def train_settings(job: TrainJob, data: TrainingData, precision: str) -> TrainSettings:
    """Settings of a job.

    Parameters
    ----------
    precision : str
        As `segmentation.networks.variants.choose_precision` gives it.
    """
    return TrainSettings(
        crop=job.crop or DEFAULT_CROP[job.axes],
        batch_size=job.batch_size,
        steps=job.steps,
        steps_per_epoch=job.steps_per_epoch,
        learning_rate=job.learning_rate,
        loss=job.loss,
        class_weights=job.class_weights,
        class_share=job.class_share,
        augment=job.augment,
        precision=precision,
        patience=job.patience,
        ignore_label=data.ignore_label,
        seed=job.seed,
    )


def intensity_rule(job: TrainJob, card: Card | None) -> Mapping[str, Any]:
    """How intensities become 0 and 1: as the bundle that is started from has learned it."""
    if card is not None:
        return card.intensity
    low, high = job.intensity_percentiles
    return {"rule": "percentiles", "low": low, "high": high}


def check_settings(job: TrainJob, data: TrainingData) -> None:
    """Everything about the settings that can be known without a network.

    Raises
    ------
    RequestError
        One message for what is wrong.
    """
    from segmentation.networks.presets import check_preset
    from segmentation.training.augment import augmentation
    from segmentation.training.losses import loss_parts
    from segmentation.training.monitor import resolve_monitor

    if job.freeze_until is not None and job.pretrained is None:
        raise RequestError(
            "--freeze-until needs --pretrained: freezing layers that were never trained only takes "
            "capacity away; leave it out, or give the bundle to start from"
        )
    try:
        check_preset(job.preset, job.axes, len(data.classes))
        resolve_monitor(job.monitor, job.direction, [c.name for c in data.classes])
        loss_parts(job.loss)
        augmentation(job.augment)
    except ValueError as error:
        raise RequestError(str(error)) from error


def check_network(job: TrainJob, data: TrainingData) -> None:
    """What only the network itself can tell: whether crops and a step of it fit.

    Raises
    ------
    RequestError
        One message for what is wrong.
    """
    from segmentation.receptive_field import derive
    from segmentation.training.samples import fitting_crop

    try:
        settings = train_settings(job, data, "float32")
        network = make_network(job, data)
        regions = [entry.region for entry in data.entries]
        crop = fitting_crop(regions, settings.crop, derive(network.model).stride)
        _check_memory(job, network, crop)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _check_memory(job: TrainJob, network: Network, crop: tuple[int, ...]) -> None:
    """Refuse a step that cannot fit; a GPU's memory is its own and not looked at."""
    from segmentation.networks.memory import training_bytes

    have = training_memory(job.memory, training_workers(job))
    steps = [training_bytes(network.model, crop, size) for size in (1, job.batch_size)]
    one, need = (RESERVED_TRAINING + step for step in steps)
    if need <= have or job.gpus_per_worker:
        return
    fitting = max(0, int((have - one) / max(need - one, 1) * (job.batch_size - 1)) + (one <= have))
    advice = f"--batch-size {fitting}" if fitting else "a smaller --crop or --width"
    raise RequestError(
        f"a step of {job.batch_size} crops of {crop} needs about {need // MEBIBYTE} MiB and one "
        f"training has {have // MEBIBYTE} MiB; use {advice}, or give more --memory"
    )


def mean_voxel_size(
    entries: Sequence[Entry], axes: str
) -> tuple[tuple[float, ...] | None, str | None]:
    """Mean voxel size of some volumes along the network's axes; none if one has no unit."""
    bases = [entry.image.volumes[0] for entry in entries]
    unit = bases[0].unit
    if unit is None or any(base.unit is None for base in bases):
        return None, None
    sizes = [
        [convert_length(b.voxel_size[b.axes.index(a)], b.unit or unit, unit) for a in axes]
        for b in bases
    ]
    return tuple(sum(column) / len(column) for column in zip(*sizes, strict=True)), unit
