"""The flow that trains a network on the volumes of a catalog and writes its bundle."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.catalog import Entry, catalog_classes, channel_count, checked_entries
from flows.jobs import TrainJob
from flows.prepare import image_digest
from segmentation.bundle import Card, ClassInfo, bundle_digest, save_bundle
from segmentation.normalize import IntensityTransform
from storage.intensity import percentiles
from storage.stores import normalize_url
from storage.units import convert_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.training.fit import Epoch
    from segmentation.training.samples import TrainingVolume

DEFAULT_CROP = {"yx": (256, 256), "zyx": (32, 96, 96)}


@flow(name="train-model")
def train_model(job: TrainJob) -> dict[str, Any]:
    """Train, write the bundle.

    Returns
    -------
    dict
        Place and digest of the bundle, and its validation scores.
    """
    entries = check_catalog(job)
    card = train_bundle(job, entries)
    folder = normalize_url(job.out)
    result = {
        "bundle": folder,
        "digest": bundle_digest(folder),
        "macro_foreground_dice": card.training["macro_foreground_dice"],
        "dice": dict(zip((c.name for c in card.classes), card.training["dice"], strict=True)),
        "best_epoch": card.training["best_epoch"],
        "halo": list(card.halo),
        "stride": list(card.stride),
        "exact": card.exact,
    }
    create_table_artifact(
        [{"class": name, "dice": dice} for name, dice in result["dice"].items()],
        key="maskmill-validation",
    )
    return result


@task(name="check", cache_policy=NO_CACHE, persist_result=False)
def check_catalog(job: TrainJob) -> tuple[Entry, ...]:
    """Every error that can be known before the first step."""
    return checked_entries(job)


@task(name="train", cache_policy=NO_CACHE, persist_result=False)
def train_bundle(job: TrainJob, entries: tuple[Entry, ...]) -> Card:
    """Train the network and save it with its card."""
    from segmentation.networks.unet import build_unet
    from segmentation.packing import make_card
    from segmentation.training.fit import TrainSettings, train

    classes = catalog_classes(entries)
    low, high = job.intensity_percentiles
    model = build_unet(
        job.axes,
        channels=channel_count(entries[0]),
        num_classes=len(classes),
        width=job.width,
        depth=job.depth,
        seed=job.seed,
    )
    settings = TrainSettings(
        crop=job.crop or DEFAULT_CROP[job.axes],
        batch_size=job.batch_size,
        steps=job.steps,
        steps_per_epoch=job.steps_per_epoch,
        learning_rate=job.learning_rate,
        class_share=job.class_share,
        ignore_label=job.ignore_label,
        seed=job.seed,
    )
    result = train(
        model,
        _volumes(entries, "train", low, high),
        _volumes(entries, "validation", low, high),
        num_classes=len(classes),
        settings=settings,
        on_epoch=_tell,
    )
    voxel_size, unit = _voxel_size(entries, job.axes)
    card = make_card(
        model,
        [ClassInfo(c.value, c.name, c.color) for c in classes],
        axes=job.axes,
        intensity={"rule": "percentiles", "low": low, "high": high},
        voxel_size=voxel_size,
        unit=unit,
        training={**result.to_dict(), "settings": asdict(settings), "data": _data(entries)},
    )
    return save_bundle(normalize_url(job.out), model, card)


def _tell(epoch: Epoch) -> None:
    score = epoch.macro_foreground_dice
    shown = "undefined" if score is None else f"{score:.3f}"
    sys.stderr.write(
        f"epoch {epoch.number}: step {epoch.steps} of {epoch.planned_steps}, "
        f"loss {epoch.loss:.3f}, validation macro-foreground Dice {shown}"
        f"{' (best)' if epoch.best else ''}\n"
    )
    sys.stderr.flush()


def _volumes(entries: Sequence[Entry], split: str, low: float, high: float) -> list[TrainingVolume]:
    from segmentation.training.samples import TrainingVolume

    volumes = []
    for entry in entries:
        if entry.split == split:
            base = entry.image.volumes[0]
            lows, highs, _ = percentiles(base, low, high, scheduler="threads")
            channel = base.axes.find("c")
            volumes.append(
                TrainingVolume(
                    base,
                    entry.label.volumes[0],
                    entry.region,
                    IntensityTransform(lows, highs),
                    channel if channel >= 0 else None,
                )
            )
    return volumes


def _voxel_size(entries: Sequence[Entry], axes: str) -> tuple[tuple[float, ...] | None, str | None]:
    """Mean voxel size of the training volumes; none if one has no unit."""
    bases = [entry.image.volumes[0] for entry in entries if entry.split == "train"]
    unit = bases[0].unit
    if unit is None or any(base.unit is None for base in bases):
        return None, None
    sizes = [
        [convert_length(b.voxel_size[b.axes.index(a)], b.unit or unit, unit) for a in axes]
        for b in bases
    ]
    return tuple(sum(column) / len(column) for column in zip(*sizes, strict=True)), unit


def _data(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the network has seen, and a digest of it."""
    volumes = [
        {
            "image": image_digest(entry.image),
            "label": image_digest(entry.label),
            "region": {"start": list(entry.region.start), "stop": list(entry.region.stop)},
            "group": entry.group,
            "split": entry.split,
        }
        for entry in entries
    ]
    text = json.dumps(volumes, sort_keys=True)
    return {"volumes": volumes, "digest": hashlib.sha256(text.encode()).hexdigest()}
