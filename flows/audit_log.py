"""The audit of a training log: a table, or the words of Keras, from a file or standard input."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import RequestError
from segmentation.audit.finding import in_order
from segmentation.audit.keras_text import EXAMPLES, keras_logs
from segmentation.audit.log_csv import is_table, parse_csv
from segmentation.audit.log_settings import Stopping
from segmentation.audit.training import findings_of_log
from segmentation.audit.training_callbacks import with_stopping

if TYPE_CHECKING:
    from flows.jobs import AuditJob
    from segmentation.audit.finding import Finding
    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import Thresholds

STANDARD_INPUT = "-"


def log_findings(job: AuditJob, thresholds: Thresholds) -> list[Finding]:
    """Findings on a training that somebody wrote down.

    Parameters
    ----------
    job : AuditJob
        Its target is a file, or ``-`` for standard input. Its monitor, direction, patience and
        samples are taken where the text does not tell them.
    thresholds : Thresholds
        When to tell.

    Raises
    ------
    RequestError
        If there is no such file, it is no text, or no log.
    """
    logs = [_completed(log, job) for log in _read(str(job.target))]
    if len(logs) == 1:
        return findings_of_log(logs[0], thresholds)
    found = [
        replace(one, statement=f"In training {number} of {len(logs)}: {one.statement}")
        for number, log in enumerate(logs, start=1)
        for one in findings_of_log(log, thresholds)
    ]
    return in_order(found)


def _read(target: str) -> tuple[TrainingLog, ...]:
    text = _text(target)
    if not text.strip():
        raise RequestError(f"{_name(target)} is empty; expected {EXAMPLES}")
    try:
        return (parse_csv(text),) if is_table(text) else keras_logs(text)
    except ValueError as error:
        raise RequestError(f"{_name(target)}: {error}") from error


def _text(target: str) -> str:
    try:
        if target == STANDARD_INPUT:
            return sys.stdin.read()
        return Path(target).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{_name(target)} is no text; expected {EXAMPLES}") from error
    except OSError as error:
        raise RequestError(
            f"{target} cannot be read ({error.strerror}); give the file of a log, or - to paste "
            "it into standard input"
        ) from error


def _name(target: str) -> str:
    return "standard input" if target == STANDARD_INPUT else target


def _completed(log: TrainingLog, job: AuditJob) -> TrainingLog:
    """The log with what the job tells, where the text did not."""
    told = job.monitor is not None or job.patience is not None
    stopping = Stopping(
        monitor=job.monitor or "val_loss", patience=job.patience or 0, direction=job.direction
    )
    log = with_stopping(log, stopping if told else None)
    if job.samples is None:
        return log
    unknown = [one for one in log.evaluations if one.samples is None]
    if len(job.samples) != len(unknown):
        raise RequestError(
            f"--samples has {len(job.samples)} numbers; the text leaves those of {len(unknown)} "
            f"of {len(log.evaluations)} evaluations open"
        )
    given = iter(job.samples)
    completed = tuple(
        replace(one, samples=next(given)) if one.samples is None else one for one in log.evaluations
    )
    return replace(log, evaluations=completed)
