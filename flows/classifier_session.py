"""The training of one classifier, from its images to its bundle and its document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.classifier_run import (
    ClassifierRun,
    build,
    classifier_settings,
    intensity_rule,
    monitor_of,
    preset_of,
)
from flows.train_classifier_result import Trained, fold_document, provenance, sample_rows
from flows.training_run import EPOCHS, HISTORY, RESULT, STOP, write_whole
from segmentation.bundle import ClassInfo, bundle_digest, save_bundle
from segmentation.training.history import history_csv
from storage.ome_labels import label_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.prepared_images import PreparedImages
    from segmentation.classification.feed import SampleSet
    from segmentation.classification.history import SampleEpoch, SampleMonitor
    from segmentation.classification.settings import ClassifierSettings


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierSession:
    """The training of one network.

    Attributes
    ----------
    run : ClassifierRun
        What it belongs to.
    fold : int
        Its number.
    model : keras.Model
        Before the first step.
    training, validation, test : SampleSet
        The parts; the last one is scored once, at the end, and may be empty.
    settings : ClassifierSettings
        How to train.
    monitor : SampleMonitor
        Chooses the epoch.
    """

    run: ClassifierRun
    fold: int
    model: Any
    training: SampleSet
    validation: SampleSet
    test: SampleSet
    settings: ClassifierSettings
    monitor: SampleMonitor

    @classmethod
    def begin(cls, run: ClassifierRun, fold: int, images: PreparedImages) -> ClassifierSession:
        """Make the network ready for its first step; no image is read."""
        from segmentation.classification.history import sample_monitor
        from segmentation.networks.variants import choose_precision

        numbers, labels = run.data.parts(fold), run.data.labels
        training, validation, test = (
            images.part(part, labels) for part in (numbers.train, numbers.validation, numbers.test)
        )
        return cls(
            run,
            fold,
            build(run),
            training,
            validation,
            test,
            classifier_settings(run.job, choose_precision(run.job.precision)),
            sample_monitor(monitor_of(run.job), run.job.direction),
        )

    def finish(self) -> dict[str, Any]:
        """Train, recalibrate, score, save; the document of the network."""
        from segmentation.classification.scorer import recalibrate_classifier
        from segmentation.classification.training import train_classifier

        records = self.run.records_of(self.fold)
        result = train_classifier(
            self.model,
            self.training,
            self.validation,
            self.monitor,
            self.settings,
            on_epoch=self._record,
            is_stopped=(records / STOP).exists,
        )
        model, note = recalibrate_classifier(self.model, self.training, self.validation)
        validation, test = self._rows(model)
        trained = Trained(
            result, self.settings, self.monitor, self._facts(), note, validation, test
        )
        document = fold_document(self.run, self.fold, trained)
        self._save(model, document)
        # As it will be read again.
        text = json.dumps(document, indent=1)
        write_whole(records / RESULT, text)
        found: dict[str, Any] = json.loads(text)
        return found

    def _record(self, epochs: Sequence[SampleEpoch]) -> None:
        """Write the curves, for programs and for spreadsheets."""
        records = self.run.records_of(self.fold)
        write_whole(records / EPOCHS, json.dumps([epoch.to_dict() for epoch in epochs]))
        (records / HISTORY).write_text(history_csv(epochs, self.run.data.names))

    def _rows(self, model: Any) -> list[list[dict[str, Any]]]:
        """Predictions for validation and test part."""
        from segmentation.classification.scorer import predict

        data = self.run.data
        numbers = data.parts(self.fold)
        return [
            sample_rows(data, part, predict(model, samples)) if part else []
            for part, samples in (
                (numbers.validation, self.validation),
                (numbers.test, self.test),
            )
        ]

    def _facts(self) -> dict[str, Any]:
        return {
            "preset": preset_of(self.run.job),
            "image_size": list(self.run.data.image_size),
            "channels": self.run.data.channels,
            "parameters": int(self.model.count_params()),
            "precision": self.settings.precision,
        }

    def _save(self, model: Any, document: dict[str, Any]) -> None:
        from segmentation.classification.card import classifier_card

        card = classifier_card(
            model,
            class_infos(self.run.data.names),
            intensity=intensity_rule(self.run.job),
            training=provenance(document),
        )
        home = self.run.home(self.fold)
        save_bundle(home, model, card)
        document["digest"] = bundle_digest(home)


def class_infos(names: Sequence[str]) -> list[ClassInfo]:
    """Classes of a card in default colours, none of them clear."""
    # Counted from 1: the first is a class like the others, and no background.
    colors = [found.color for found in label_classes(dict(enumerate(names, 1)))]
    return [ClassInfo(v, n, c) for v, (n, c) in enumerate(zip(names, colors, strict=True))]
