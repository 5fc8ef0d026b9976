"""The training of one network, from its volumes to its bundle and its document."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.model import open_model
from flows.train_audit import training_audit
from flows.train_network import (
    Network,
    intensity_rule,
    make_network,
    mean_voxel_size,
    train_settings,
)
from flows.train_recalibration import calibration_crops, exact_network, keep_if_better
from flows.train_record import SAMPLES_FILE, SLICES_FILE, Recorder, save_arrays
from flows.train_result import (
    ITEMS,
    SCHEMA,
    class_names,
    class_rows,
    item_rows,
    provenance,
    scores_of,
    tuned_on,
)
from flows.training_data import volumes
from flows.training_run import RESULT, STOP, TrainingRun, write_whole
from segmentation.bundle import Card, ClassInfo, bundle_digest, save_bundle
from segmentation.normalize import IntensityTransform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from segmentation.training.fit import Training, TrainingResult
    from segmentation.training.monitor import Monitor
    from segmentation.training.samples import TrainingVolume


@dataclass(frozen=True, slots=True)
class Session:
    """The training of one network.

    Attributes
    ----------
    run : TrainingRun
        What it belongs to.
    fold : int
        Its number.
    network : Network
        Before the first step.
    training : Training
        The steps.
    monitor : Monitor
        Chooses the epoch.
    test : tuple of TrainingVolume
        Scored once, at the end.
    """

    run: TrainingRun
    fold: int
    network: Network
    training: Training
    monitor: Monitor
    test: tuple[TrainingVolume, ...]

    @classmethod
    def begin(cls, run: TrainingRun, fold: int) -> Session:
        """Open the volumes and make the network ready for its first step."""
        from segmentation.networks.variants import choose_precision
        from segmentation.training.fit import prepare_training
        from segmentation.training.monitor import resolve_monitor
        from segmentation.training.scorer import TrainingParts

        network = make_network(run.job, run.data)
        parts = run.data.parts(fold)
        train, validation, test = (
            open_volumes(run, network.card, numbers)
            for numbers in (parts.train, parts.validation, parts.test)
        )
        training = prepare_training(
            network.model,
            TrainingParts(train, validation),
            num_classes=len(run.data.classes),
            settings=train_settings(run.job, run.data, choose_precision(run.job.precision)),
        )
        monitor = resolve_monitor(run.job.monitor, run.job.direction, class_names(run.data))
        return cls(run, fold, network, training, monitor, test)

    def finish(self) -> dict[str, Any]:
        """Train, score, save; the document of the network."""
        from segmentation.training.checkpoint import CHECKPOINT
        from segmentation.training.fit import train

        records = self.run.records_of(self.fold)
        recorder = self._recorder(records)
        result = train(
            self.training,
            self.monitor,
            folder=records,
            on_epoch=recorder,
            is_stopped=(records / STOP).exists,
        )
        recorder.epochs = list(result.epochs)
        recorder.write_curves()
        document = self._document(result)
        self._save(document, result)
        # As it will be read again.
        text = json.dumps(document, indent=1)
        write_whole(records / RESULT, text)
        (records / CHECKPOINT).unlink(missing_ok=True)
        found: dict[str, Any] = json.loads(text)
        return found

    def _recorder(self, records: Path) -> Recorder:
        from segmentation.training.checkpoint import Checkpoint
        from segmentation.training.showcase import Slices, augmented_samples

        scorer = self.training.scorer
        slices = Slices.of(scorer.validation)
        save_arrays(records / SAMPLES_FILE, augmented_samples(self.training.feed))
        save_arrays(records / SLICES_FILE, slices.arrays())
        found = Checkpoint.load(records)
        return Recorder(
            records,
            class_names(self.run.data),
            slices,
            scorer.predictor,
            scorer.geometry.exact,
            scorer.voxel_bytes,
            list(found.epochs) if found else [],
        )

    def _document(self, result: TrainingResult) -> dict[str, Any]:
        """Everything there is to say of the network; see docs of the training report."""
        names, scorer = class_names(self.run.data), self.training.scorer
        validated, tested = scorer.score(scorer.validation), scorer.score(self.test)
        settings = self.training.settings
        document = {
            "schema": SCHEMA,
            "classes": class_rows(self.run.data),
            "bundle": self.run.home(self.fold).name,
            "fold": self.fold if self.run.job.folds else None,
            "settings": {**asdict(settings), "weight_seed": self.run.job.seed},
            "augmentation": asdict(self.training.feed.augmentation),
            "network": self._facts(),
            "split": self.run.data.split,
            "sampling": self._sampling(),
            "epochs": [epoch.to_dict() for epoch in result.epochs],
            "steps_per_epoch": settings.steps_per_epoch,
            "monitor": {
                "name": self.monitor.name,
                "direction": self.monitor.direction,
                "patience": settings.patience,
            },
            "best_epoch": result.best.epoch,
            "stopped": result.stopped,
            "validation": scores_of(scorer.validation, validated, names),
            "test": scores_of(self.test, tested, names),
            ITEMS: item_rows(self.test, tested),
            "seconds": {"train": result.epochs[-1].seconds},
            "recalibration": None,
        }
        return document | {"tuned_on": tuned_on(document)}

    def _facts(self) -> dict[str, Any]:
        job, model = self.run.job, self.network.model
        return {
            "preset": None if job.pretrained else job.preset,
            "axes": job.axes,
            "parameters": int(model.count_params()),
            "precision": self.training.settings.precision,
            "pretrained": job.pretrained and open_model(job.pretrained).digest,
            "frozen": list(self.network.frozen),
        }

    def _sampling(self) -> dict[str, Any]:
        """How often a class is seen, against how often it occurs."""
        from segmentation.training.showcase import crop_shares

        feed, data = self.training.feed, self.run.data
        counts = feed.sampler.index.counts.sum(axis=0)
        return {
            "class_share": feed.sampler.class_share,
            "crop": list(feed.sampler.crop),
            "voxel_share": [float(share) for share in counts / max(int(counts.sum()), 1)],
            "crop_share": crop_shares(feed, len(data.classes), data.ignore_label),
        }

    def _save(self, document: dict[str, Any], result: TrainingResult) -> None:
        """The bundle, one with other BatchNorm statistics where these help, and what was found."""
        home = self.run.home(self.fold)
        card = self._card(document)
        save_bundle(home, self.network.model, card)
        document["digest"] = bundle_digest(home)
        document["network"] |= {
            "halo": list(card.halo),
            "stride": list(card.stride),
            "exact": card.exact,
        }
        crops = calibration_crops(self.training.feed)
        exact = exact_network(self.network, crops)
        if exact is not None:
            document["recalibration"] = keep_if_better(self, home, card, document, exact)
        document["findings"] = training_audit(self, result, document, crops, exact)

    def _card(self, document: dict[str, Any]) -> Card:
        from segmentation.packing import make_card

        data = self.run.data
        trained_on = [data.entries[n] for n in data.parts(self.fold).train]
        voxel_size, unit = mean_voxel_size(trained_on, self.run.job.axes)
        return make_card(
            self.network.model,
            [ClassInfo(c.value, c.name, c.color) for c in data.classes],
            axes=self.run.job.axes,
            intensity=intensity_rule(self.run.job, self.network.card),
            voxel_size=voxel_size,
            unit=unit,
            training=provenance(document),
        )


def open_volumes(
    run: TrainingRun, card: Card | None, numbers: Sequence[int]
) -> tuple[TrainingVolume, ...]:
    """Volumes of a part, with the intensities that the network has learned or will learn."""
    job = run.job
    rule = intensity_rule(job, card)
    if rule["rule"] == "percentiles":
        limits = (float(rule["low"]), float(rule["high"]))
        return tuple(
            volumes(run.data, numbers, job.model_copy(update={"intensity_percentiles": limits}))
        )
    transform = IntensityTransform(tuple(rule["low"]), tuple(rule["high"]))
    return tuple(replace(v, transform=transform) for v in volumes(run.data, numbers, job))
