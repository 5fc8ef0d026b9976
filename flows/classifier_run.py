"""The folder of a classifier's training, and what was asked for; laid out as other trainings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

from flows.errors import RequestError
from flows.sample_data import SampleData, prepare_samples
from flows.samples import is_sample_catalog
from flows.training_run import RUN, AnyTraining, check_same, checked_place, deciding
from segmentation.classification.history import CROSS_ENTROPY, sample_monitor
from segmentation.classification.settings import ClassifierSettings
from segmentation.networks.classifier import CLASSIFIER, CLASSIFIER_PRESETS, check_classifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.jobs import TrainJob

# What is asked of networks that give a class to every voxel.
OF_VOXELS = (
    *("only_class", "other_classes", "ignore_label", "axes", "depth", "pretrained"),
    *("freeze_until", "crop", "loss", "class_share", "overfit_one"),
)
SETTINGS = (
    *("batch_size", "steps", "steps_per_epoch", "learning_rate", "class_weights"),
    *("augment", "patience", "seed"),
)


ClassifierRun: TypeAlias = AnyTraining[SampleData]


def monitor_of(job: TrainJob) -> str:
    """The score that chooses the epoch."""
    return job.monitor if "monitor" in job.model_fields_set else CROSS_ENTROPY


def trains_classifier(job: TrainJob) -> bool:
    """Whether a job is about whole images.

    Raises
    ------
    RequestError
        If its network is a classifier and its catalog one of volumes.
    """
    if is_sample_catalog(job.catalog):
        return True
    if job.preset in CLASSIFIER_PRESETS:
        raise RequestError(
            f"preset {job.preset} gives one class to a whole image, but {job.catalog} is no "
            "catalog of samples; name a table of images under 'samples:' in it, or leave the "
            "preset out"
        )
    return False


def plan_classifier(job: TrainJob) -> ClassifierRun:
    """Everything about a training that can be known before a worker starts; nothing is written.

    Raises
    ------
    RequestError, StorageError
        If there is no place for the bundle, an option makes no sense for a classifier, or table,
        images, split or settings make the training impossible.
    """
    folder = checked_place(job)
    check_options(job)
    data = prepare_samples(job)
    try:
        check_classifier(preset_of(job), data.image_size, len(data.names))
    except ValueError as error:
        raise RequestError(str(error)) from error
    run = AnyTraining(job, data, folder, _digest(job, data))
    known = run.records / RUN
    if known.is_file():
        check_same(known, job, run.digest)
    return run


def check_options(job: TrainJob) -> None:
    """Refuse what makes no sense for a classifier, and settings that are out of range.

    Raises
    ------
    RequestError
        With the option.
    """
    given = [name for name in OF_VOXELS if name in job.model_fields_set and getattr(job, name)]
    if given:
        raise RequestError(
            f"--{given[0].replace('_', '-')} is for networks that give a class to every voxel; a "
            "classifier gives one to a whole image. Leave it out"
        )
    try:
        preset_of(job)
        classifier_settings(job, "float32")
        sample_monitor(monitor_of(job), job.direction)
    except ValueError as error:
        raise RequestError(str(error)) from error


def preset_of(job: TrainJob) -> str:
    """Architecture: the classifier where none was asked for.

    Raises
    ------
    ValueError
        If the preset is a network for voxels.
    """
    if "preset" not in job.model_fields_set or job.preset == "default":
        return CLASSIFIER
    if job.preset not in CLASSIFIER_PRESETS:
        raise ValueError(
            f"preset {job.preset} gives a class to every voxel, but the catalog names samples; "
            f"use {' or '.join(CLASSIFIER_PRESETS)}"
        )
    return job.preset


def classifier_settings(job: TrainJob, precision: str) -> ClassifierSettings:
    """Settings of a job; what was not asked for is as it is best for classifiers.

    Parameters
    ----------
    precision : str
        As `segmentation.networks.variants.choose_precision` gives it.

    Raises
    ------
    ValueError
        If one is out of range.
    """
    given = {name: getattr(job, name) for name in SETTINGS if name in job.model_fields_set}
    return ClassifierSettings(**given, precision=precision)


def intensity_rule(job: TrainJob) -> Mapping[str, Any]:
    """How intensities become 0 and 1: percentiles of each image."""
    low, high = job.intensity_percentiles
    return {"rule": "percentiles", "low": low, "high": high}


def build(run: ClassifierRun) -> Any:
    """The untrained network of a run."""
    from segmentation.networks.classifier import build_classifier

    return build_classifier(
        preset_of(run.job),
        image_size=run.data.image_size,
        channels=run.data.channels,
        num_classes=len(run.data.names),
        width=run.job.width,
        seed=run.job.seed,
    )


def _digest(job: TrainJob, data: SampleData) -> str:
    """Hex SHA-256 of settings, split and images."""
    content = {
        "job": deciding(job),
        "settings": asdict(classifier_settings(job, "float32")),
        "image_size": data.image_size,
        "split": data.split["digest"],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
