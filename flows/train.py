"""The flow that trains a network on the volumes of a catalog and writes its bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import leave_training, progress_artifact
from flows.classifier_run import plan_classifier, trains_classifier
from flows.deployment_hooks import say_how_to_resume, stopping_in_time
from flows.errors import IncompleteRunError, VerificationError
from flows.executors import Executor, WorkerStartError, stop_on_signals
from flows.jobs import TrainJob
from flows.new_bundle import hand_over
from flows.pool import make_training_executor, training_threads
from flows.train_classifier import classifier_summary, train_networks
from flows.train_result import folds_document, headline
from flows.train_work import STOPPED, EnsembleWork, OverfitWork, TrainWork
from flows.training_report import write_training_report
from flows.training_run import (
    RESULT,
    AnyTraining,
    LearningData,
    TrainingRun,
    forget_stop,
    plan_training,
    write_whole,
)
from flows.training_watch import watched

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from flows.executors import Work


@flow(
    name="train-model",
    validate_parameters=True,
    on_failure=[say_how_to_resume],
    on_crashed=[say_how_to_resume],
    on_cancellation=[say_how_to_resume],
)
def train_model(job: TrainJob) -> dict[str, Any]:
    """Train one network, or one a fold; write bundle, records and report.

    Returns
    -------
    dict
        Places of bundle and report, and the scores to judge by; with ``overfit_one`` what came
        of that check.

    Raises
    ------
    RequestError, StorageError
        Before anything is written, if the training is impossible.
    IncompleteRunError
        If it was stopped or a worker failed for good; the same job goes on from there.
    VerificationError
        If one sample could not be learned by heart.
    """
    with stopping_in_time():
        return train_samples(job) if trains_classifier(job) else train_volumes(job)


def train_volumes(job: TrainJob) -> dict[str, Any]:
    """Train on a catalog of volumes: a network that gives a class to every voxel."""
    run = _task("plan", plan_training)(job)
    executor = make_training_executor(job)
    try:
        with stop_on_signals() as stop:
            if job.overfit_one:
                return checked(_task("overfit", overfit)(run, executor, stop))
            result = run.result()
            if result is None:
                listener = progress_artifact("training")
                result = _task("train", train)(run, executor, stop, listener)
                _task("report", report)(run, result)
    finally:
        executor.close()
    summary = summarised(run, result) | _handed_over(run)
    leave_training(summary, key=run.digest[:8], name=run.folder.name)
    return summary


def train_samples(job: TrainJob) -> dict[str, Any]:
    """The same for a catalog of samples: a network that gives one class to a whole image."""
    run = _task("plan", plan_classifier)(job)
    executor = make_training_executor(job)
    try:
        with stop_on_signals() as stop:
            result = run.result()
            if result is None:

                def results(work: Work, items: Iterable[int]) -> list[Any]:
                    return _results(run, work, items, executor, stop)

                listener = progress_artifact("training")
                result = _task("train", train_networks)(run, results, stop, listener)
    finally:
        executor.close()
    return classifier_summary(run, result) | _handed_over(run)


def _handed_over(run: AnyTraining[LearningData]) -> dict[str, str]:
    """Places of the bundle and its report, once it is where it was asked for."""
    return hand_over(run.folder, str(run.job.out), f"{run.records.name}/report.html")


def _task(name: str, stage: Any) -> Any:
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(stage)


def train(
    run: TrainingRun,
    executor: Executor,
    stop: threading.Event,
    listener: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Documents of all folds, and of what they are together; the listener gets the percentage."""
    forget_stop(run)
    work = TrainWork(run, training_threads(run.job))
    with watched(run, stop, listener):
        documents = _results(run, work, run.folds, executor, stop)
    document: dict[str, Any] = documents[0]
    if not run.job.folds:
        return document
    digest = _results(run, EnsembleWork(run), [0], executor, stop)[0]
    document = folds_document(run.data, documents, run.folder.name, digest)
    write_whole(run.records / RESULT, json.dumps(document, indent=1))
    return document


def overfit(run: TrainingRun, executor: Executor, stop: threading.Event) -> dict[str, Any]:
    """What came of learning one sample by heart."""
    work = OverfitWork(run, training_threads(run.job))
    result: dict[str, Any] = _results(run, work, [0], executor, stop)[0]
    return result


def report(run: TrainingRun, result: dict[str, Any]) -> str:
    """The page; its path."""
    return write_training_report(str(run.records), result, name=run.folder.name)


def _results(
    run: AnyTraining[LearningData],
    work: Work,
    items: Iterable[int],
    executor: Executor,
    stop: threading.Event,
) -> list[Any]:
    """Results of all items, in order.

    Raises
    ------
    IncompleteRunError
        If one is missing.
    """
    numbers = list(items)
    try:
        outcomes = {o.item: o for o in executor.map(work, numbers, stop)}
    except (OSError, WorkerStartError) as error:
        raise IncompleteRunError(f"{error}; {_again(run)}", {}) from error
    for number in numbers:
        outcome = outcomes.get(number)
        if outcome is not None and outcome.error is not None:
            raise IncompleteRunError(f"training failed: {outcome.error}; {_again(run)}", {})
        if outcome is None or STOPPED in _as_dict(outcome.result):
            raise IncompleteRunError(f"the training was stopped; {_again(run)}", {})
    return [outcomes[number].result for number in numbers]


def _as_dict(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {}


def _again(run: AnyTraining[LearningData]) -> str:
    return f"run the same command to go on from the last epoch in {run.folder}"


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """What came of learning one sample by heart.

    Raises
    ------
    VerificationError
        If it could not be learned.
    """
    if not found["passed"]:
        raise VerificationError(
            f"one sample could not be learned by heart in {found['steps']} steps: macro-foreground "
            f"Dice {found['macro_foreground_dice']}, expected more than {found['expected']}. Look "
            "at labels, classes and loss, or try a larger --learning-rate or --width, before "
            "anything longer is trained"
        )
    return {"overfit_one": found}


def summarised(run: TrainingRun, result: dict[str, Any]) -> dict[str, Any]:
    """What the command says of a training."""
    single = {} if run.job.folds else {"best_epoch": result["best_epoch"]}
    network = (result["folds"][0] if run.job.folds else result)["network"]
    return {
        "bundle": str(run.folder),
        "digest": result["digest"],
        **headline(result),
        **single,
        **{name: network[name] for name in ("halo", "stride", "exact", "precision")},
        "findings": result["findings"],
        "report": str(run.records / "report.html"),
    }
