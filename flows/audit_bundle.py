"""Findings on a bundle: its card, its graph, its training, and what it does with images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.audit_images import open_shown
from flows.audit_recalibration import check_recalibration, write_recalibrated
from flows.errors import RequestError
from flows.model import open_model
from flows.training_run import RESULT, TRAINING
from segmentation.bundle import load_model
from segmentation.networks.runtime import configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.audit_images import Shown
    from flows.jobs import AuditJob
    from segmentation.audit.finding import Finding
    from segmentation.audit.thresholds import Thresholds
    from segmentation.bundle import Card


def bundle_findings(job: AuditJob, thresholds: Thresholds) -> list[Finding]:
    """Everything that is worth knowing about a bundle. The network runs in this process.

    Parameters
    ----------
    job : AuditJob
        ``target`` is the bundle; with ``on`` it is shown an image, with ``truth`` its answers
        are scored, with ``recalibrate`` a bundle with the image's BatchNorm statistics is made.
    thresholds : Thresholds
        When a finding is made.

    Raises
    ------
    RequestError, StorageError, BundleError
        If the bundle cannot be read, or image and bundle do not fit.
    """
    folder = check_recalibration(job)
    _check_images(job)
    model = open_model(str(job.target), records=True)
    card = model.card
    if card is None:
        raise RequestError("the identity model has nothing to audit; give a bundle")
    configure()
    network: Any = load_model(model.folder)
    findings = [
        *_card_findings(network, card, thresholds),
        *_graph_findings(network, card, thresholds),
        *_training_findings(Path(model.folder), card, thresholds),
    ]
    if job.on is None:
        return findings
    shown = open_shown(job, model, tuple(network.input_shape)[1:-1])
    findings += _image_findings(network, card, shown, thresholds)
    if folder is not None:
        findings.append(
            write_recalibrated(
                folder, network, model, shown, fast=job.fast, url=str(job.recalibrate)
            )
        )
    return findings


def _check_images(job: AuditJob) -> None:
    given = [name for name in ("truth", "region") if getattr(job, name) is not None]
    if given and job.on is None:
        raise RequestError(f"--{given[0]} says something of an image; give it with --on IMAGE.zarr")


def _card_findings(network: Any, card: Card, thresholds: Thresholds) -> list[Finding]:
    """What the card says of tiles against the network itself; a classifier has no tiles."""
    if card.task == "classification":
        return []
    from segmentation.audit.model_tiling import geometry_findings
    from segmentation.packing import settled_geometry
    from segmentation.receptive_field import Geometry

    return geometry_findings(
        Geometry(card.stride, card.halo, card.exact, card.inexact_reasons),
        settled_geometry(network),
        mismatch=card.mismatch,
        axes=card.axes,
        thresholds=thresholds.model,
    )


def _graph_findings(network: Any, card: Card, thresholds: Thresholds) -> list[Finding]:
    from segmentation.audit.model_graph import graph_findings

    return graph_findings(
        network,
        head=card.head,
        num_classes=card.num_classes,
        train_images=train_images(card),
        steps=training_steps(card.training),
        thresholds=thresholds.model,
    )


def _training_findings(folder: Path, card: Card, thresholds: Thresholds) -> list[Finding]:
    """What the epochs of the bundle's own training tell, fold by fold; none were kept by others."""
    from segmentation.audit.training import training_findings
    from segmentation.training.history import read_epoch

    path = folder / TRAINING / RESULT
    if card.task == "classification" or not path.is_file():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    found: list[Finding] = []
    for network in document.get("folds") or [document]:
        told = training_findings(
            [read_epoch(epoch) for epoch in network["epochs"]],
            monitor=network["monitor"],
            classes=[c.name for c in card.classes],
            settings=network["settings"],
            thresholds=thresholds.train,
        )
        fold = network.get("fold")
        known = {finding.code for finding in found}
        found += [_of_fold(one, fold) for one in told if one.code not in known]
    return found


def _of_fold(finding: Finding, fold: int | None) -> Finding:
    if fold is None:
        return finding
    return replace(finding, statement=f"In fold {fold}: {finding.statement}")


def training_steps(training: Mapping[str, Any]) -> int | None:
    """Steps up to the epoch that was kept, as the card of a training tells."""
    settings = training.get("settings") or {}
    numbers = training.get("best_epoch"), settings.get("steps_per_epoch")
    if not all(isinstance(number, int) for number in numbers):
        return None
    return int(numbers[0] or 0) * int(numbers[1] or 0)


def train_images(card: Card) -> int | None:
    """Images a classifier was trained on, as its card tells; None for masks."""
    if card.task != "classification":
        return None
    folds = (card.training.get("split") or {}).get("folds") or []
    counts = [len(fold["train"]) for fold in folds if fold.get("train")]
    return max(counts) if counts else None


def _image_findings(
    network: Any, card: Card, shown: Shown, thresholds: Thresholds
) -> list[Finding]:
    from segmentation.audit.model_behaviour import behaviour_findings
    from segmentation.audit.model_input import ImageRange, intensity_findings

    found: list[Finding] = []
    rule = card.intensity
    if rule["rule"] == "fixed":
        voxels = np.concatenate([block.reshape(-1, card.channels) for block in shown.raw])
        intensities = ImageRange.of(voxels, shown.dtype, rule["low"], rule["high"])
        found += intensity_findings(rule, intensities, thresholds)
    names = [c.name for c in card.classes]
    found += behaviour_findings(
        network, shown.calibration, class_names=names, head=card.head, thresholds=thresholds
    )
    return found
