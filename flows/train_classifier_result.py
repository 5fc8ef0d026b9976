"""What came of training a classifier, as documents: of one network, and of several folds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.classifier_audit import classifier_findings
from flows.classify_table import encode_columns, table_columns
from flows.sample_split import across_groups
from segmentation.bundle import CLASSIFICATION
from segmentation.classification.predictions import Predictions
from segmentation.classification.scores import classification_scores
from segmentation.classification.settings import image_augmentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from flows.classifier_run import ClassifierRun
    from flows.sample_data import SampleData
    from segmentation.classification.history import SampleMonitor
    from segmentation.classification.settings import ClassifierSettings
    from segmentation.classification.training import ClassifierResult

SCHEMA = 1
ROWS = "test_predictions"
HEADLINE = "balanced_accuracy"

Row = dict[str, Any]


def sample_rows(
    data: SampleData, numbers: Sequence[int], probabilities: NDArray[np.floating[Any]]
) -> list[Row]:
    """What a network says of some samples: "id", "p" by class, "label" and "group"."""
    samples = [data.samples.samples[number] for number in numbers]
    return [
        {
            "id": sample.name,
            "p": [float(value) for value in row],
            "label": sample.label,
            "group": sample.group,
        }
        for sample, row in zip(samples, probabilities.astype(np.float64), strict=True)
    ]


def predictions_of(rows: Sequence[Mapping[str, Any]]) -> Predictions:
    """The same as arrays."""
    return Predictions(
        tuple(row["id"] for row in rows),
        np.array([row["p"] for row in rows], np.float64),
        np.array([row["label"] for row in rows], np.int64),
        tuple(row["group"] for row in rows),
    )


def scores_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any] | None:
    """Scores of some samples; None where there are none."""
    return classification_scores(predictions_of(rows), names) if rows else None


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of training one network.

    Attributes
    ----------
    result : ClassifierResult
        The course of the training.
    settings : ClassifierSettings
        How it was trained.
    monitor : SampleMonitor
        What chose the epoch.
    network : dict
        Preset, size and parameters.
    recalibration : dict or None
        What other BatchNorm statistics would change; None without BatchNorm.
    validation, test : list of dict
        Predictions, see `sample_rows`.
    """

    result: ClassifierResult
    settings: ClassifierSettings
    monitor: SampleMonitor
    network: dict[str, Any]
    recalibration: dict[str, Any] | None
    validation: list[Row]
    test: list[Row]


def fold_document(run: ClassifierRun, fold: int, trained: Trained) -> dict[str, Any]:
    """Everything there is to say of one network, but for the digest of its bundle."""
    names, settings, epochs = run.data.names, trained.settings, trained.result.epochs
    validation, test = scores_of(trained.validation, names), scores_of(trained.test, names)
    document = {
        "schema": SCHEMA,
        "task": CLASSIFICATION,
        "classes": class_rows(names),
        "bundle": run.home(fold).name,
        "fold": fold if run.job.folds else None,
        "settings": {**asdict(settings), "weight_seed": run.job.seed},
        "augmentation": asdict(image_augmentation(settings.augment)),
        "network": trained.network,
        "images": images_of(run.data),
        "split": run.data.split,
        "epochs": [epoch.to_dict() for epoch in epochs],
        "steps_per_epoch": settings.steps_per_epoch,
        "monitor": {**asdict(trained.monitor), "patience": settings.patience},
        "best_epoch": trained.result.best.epoch,
        "stopped": trained.result.stopped,
        "recalibration": trained.recalibration,
        "validation": validation,
        "test": test,
        ROWS: trained.test,
        "seconds": {"train": epochs[-1].seconds},
        "findings": classifier_findings(run.data, test or validation or {}),
    }
    return document | {"tuned_on": _tuned_on(document)}


def class_rows(names: Sequence[str]) -> list[dict[str, Any]]:
    """Classes of the network, for documents."""
    return [{"value": value, "name": name} for value, name in enumerate(names)]


def images_of(data: SampleData) -> dict[str, Any]:
    """How many images there are, what became of their size, and which of them look alike."""
    samples = data.samples.samples
    return {
        "samples": len(samples),
        "groups": len({sample.group for sample in samples}),
        "image_size": list(data.image_size),
        "resized": data.resized,
        "look_alikes": len(data.likeness.pairs),
        "look_alikes_across_groups": [
            [samples[a].name, samples[b].name] for a, b in across_groups(samples, data.likeness)
        ],
    }


def folds_document(
    run: ClassifierRun, folds: Sequence[dict[str, Any]], digest: str
) -> dict[str, Any]:
    """All folds: every group scored by the network that has neither seen it nor been chosen by it.

    Parameters
    ----------
    folds : sequence of dict
        Document of every fold, in order.
    digest : str
        Of the ensemble.
    """
    names = run.data.names
    out_of_fold = scores_of([row for fold in folds for row in fold[ROWS]], names)
    return {
        "schema": SCHEMA,
        "task": CLASSIFICATION,
        "classes": class_rows(names),
        "bundle": run.folder.name,
        "digest": digest,
        "settings": folds[0]["settings"],
        "network": folds[0]["network"],
        "images": images_of(run.data),
        "split": run.data.split,
        "folds": list(folds),
        "out_of_fold": out_of_fold,
        "spread": _spread([fold["test"][HEADLINE]["value"] for fold in folds]),
        "findings": classifier_findings(run.data, out_of_fold or {}),
    }


def predictions_table(folds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Test predictions as CSV: one row a sample, with its fold where there are several."""
    places = {item["image"]: place for place, item in enumerate(folds[0]["split"]["items"])}
    rows = [(number, row) for number, fold in enumerate(folds) for row in fold[ROWS]]
    rows.sort(key=lambda found: places[found[1]["id"]])
    found = predictions_of([row for _, row in rows])
    columns = table_columns(found, names, with_truth=True)
    if len(folds) > 1:
        columns["fold"] = [number for number, _ in rows]
    return encode_columns(columns)


def classifier_headline(document: Mapping[str, Any]) -> dict[str, Any]:
    """The scores to show first, and what part they are of."""
    for part in ("out_of_fold", "test", "validation"):
        scores = document.get(part)
        if scores is not None:
            return {
                "scored_on": part.replace("_", "-"),
                HEADLINE: scores[HEADLINE],
                "accuracy": scores["accuracy"],
                "recall": {row["name"]: row["recall"] for row in scores["classes"]},
            }
    raise ValueError("the training has no scores; expected those of the validation part at least")


def provenance(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says of the training: no times, so that the same training gives the same."""

    def short(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if scores is None:
            return None
        return {name: scores[name] for name in ("accuracy", HEADLINE, "auroc", "scored")}

    kept = ("fold", "settings", "augmentation", "network", "monitor", "best_epoch", "tuned_on")
    return {
        **{name: document[name] for name in (*kept, "recalibration", "split")},
        "validation": short(document["validation"]),
        "test": short(document["test"]),
    }


def _tuned_on(document: Mapping[str, Any]) -> str:
    """What was chosen by what, in words."""
    monitor = document["monitor"]
    chosen = (
        f"Epoch {document['best_epoch']} of {len(document['epochs'])} was chosen by "
        f"{monitor['name']} ({monitor['direction']}) on the validation part, and so were the "
        "BatchNorm statistics; its scores there are therefore somewhat too good."
    )
    if document["test"] is None:
        return f"{chosen} There is no test part, so no score of this training is an unbiased one."
    return f"{chosen} The test part was scored once, after that choice."


def _spread(scores: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation over the folds; their networks share most of their data."""
    defined = [score for score in scores if score is not None]
    mean = math.fsum(defined) / len(defined) if defined else None
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": mean, "sd": deviation, "per_fold": list(scores)}
