"""Stages of a classifier's training: plan, train the folds, bring them together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.classifier_report import write_classifier_report
from flows.pool import training_threads
from flows.train_classifier_result import (
    classifier_headline,
    folds_document,
    predictions_table,
)
from flows.train_classifier_work import ClassifierEnsembleWork, ClassifierWork
from flows.training_report import REPORT
from flows.training_run import RESULT, forget_stop, write_whole
from flows.training_watch import watched
from storage.blobs import Blobs

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from flows.classifier_run import ClassifierRun
    from flows.executors import Work

PREDICTIONS = "predictions.csv"


def train_networks(
    run: ClassifierRun,
    results: Callable[[Work, Iterable[int]], list[Any]],
    stop: threading.Event,
    listener: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Train the network, or those of all folds; write their predictions and the document.

    Parameters
    ----------
    run : ClassifierRun
        As `plan_classifier` gives it.
    results : callable
        Runs work over items and gives their results in order, or raises.
    stop : threading.Event
        Ends the training after its current epoch.
    listener : callable, optional
        Gets the percentage of the steps that are done.
    """
    forget_stop(run)
    work = ClassifierWork(run, training_threads(run.job))
    with watched(run, stop, listener):
        documents = results(work, run.folds)
    document: dict[str, Any] = documents[0]
    if run.job.folds:
        digest = results(ClassifierEnsembleWork(run), [0])[0]
        document = folds_document(run, documents, digest)
    if documents[0]["test"] is not None:
        table = predictions_table(documents, run.data.names)
        Blobs(str(run.records)).write(PREDICTIONS, table)
    write_classifier_report(str(run.records), document, name=run.folder.name)
    write_whole(run.records / RESULT, json.dumps(document, indent=1))
    return document


def classifier_summary(run: ClassifierRun, result: dict[str, Any]) -> dict[str, Any]:
    """What the command says of a training."""
    single = {} if run.job.folds else {"best_epoch": result["best_epoch"]}
    images = result["images"]
    return {
        "bundle": str(run.folder),
        "digest": result["digest"],
        **classifier_headline(result),
        **single,
        "image_size": images["image_size"],
        "look_alikes": images["look_alikes"],
        "look_alikes_across_groups": images["look_alikes_across_groups"],
        "findings": result["findings"],
        "report": str(run.records / REPORT),
    }
