"""The commands of maskmill as functions of this process, without Prefect around the stages."""

from __future__ import annotations

import io
import itertools
import threading
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

from flows import publishing, stages
from flows.evaluation_run import run_evaluation
from flows.executors import SerialExecutor
from flows.jobs import EvaluateJob, SegmentJob, TrainJob
from flows.prepare import prepare
from flows.progress import Progress
from flows.run import open_run
from flows.run_report import write_report
from flows.scoring import aggregate
from flows.train import train as train_folds
from flows.training_run import plan_training

if TYPE_CHECKING:
    from flows.run import Run

CLOCK = "2000-01-01T00:00:00+00:00"
ATTEMPTS = itertools.count()


def train(**fields: Any) -> dict[str, Any]:
    """What `maskmill train` writes into result.json."""
    job = TrainJob(executor="serial", precision="float32", **fields)
    with redirect_stderr(io.StringIO()):
        return train_folds(plan_training(job), SerialExecutor(), threading.Event())


def segment(**fields: Any) -> tuple[Run, dict[str, Any]]:
    """What `maskmill segment` does: the run, and its result.json."""
    job = SegmentJob(executor="serial", **fields)
    executor, stop = SerialExecutor(), threading.Event()
    with redirect_stderr(io.StringIO()):
        run = open_run(job, prepare(job), executor, f"attempt-{next(ATTEMPTS):06d}")
        stages.infer(run, executor, stop, Progress)
        stages.build_pyramid(run, executor)
        stages.verify(run, executor, stop, Progress)
        result = aggregate(run, executor, stop, Progress)
        publishing.publish_run(run, CLOCK)
        write_report(run, result, {})
    return run, result


def evaluate(**fields: Any) -> dict[str, Any]:
    """What `maskmill evaluate` says."""
    with redirect_stderr(io.StringIO()):
        return run_evaluation(EvaluateJob(executor="serial", **fields))
