"""Audit of a user's own metric or loss: found by name, run on probes.

The user's code runs in this process, with the user's rights: it is the user's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from segmentation.audit.loss_rules import is_loss
from segmentation.audit.metric_findings import metric_findings as findings_of
from segmentation.audit.probe_reading import fitting, readings
from segmentation.audit.probe_subject import ProbeError, Subject, make_subject
from segmentation.audit.probe_words import described, table
from segmentation.audit.probes import run_probes
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from flows.jobs import AuditJob
    from segmentation.audit.finding import Finding, Table
    from segmentation.audit.probe_reading import ProbeResult
    from segmentation.audit.thresholds import MetricThresholds, Thresholds

# module:name, FILE.py:name; in brackets which of several values.
NAME = re.compile(r"(?P<module>.+):(?P<name>[\w.]+)(\[(?P<element>-?\d+)\])?")
EXPECTED = "expected module:function, or FILE.py:function"


def metric_findings(job: AuditJob, thresholds: Thresholds) -> list[Finding]:
    """Findings on ``job.metric``.

    Raises
    ------
    RequestError
        If there is no such function, or it raises on every probe or gives several values.
    """
    return audit_metric(job, thresholds)[0]


def audit_metric(job: AuditJob, thresholds: Thresholds) -> tuple[list[Finding], dict[str, Any]]:
    """The findings, and what the metric is: "described" in words, its "answers" as tables.

    Raises
    ------
    RequestError
        As `metric_findings`.
    """
    subject, results = probe_metric(job.metric or "")
    words, tables = metric_words(subject, results, thresholds.metric)
    found = findings_of(subject, results, thresholds.metric)
    return found, {"described": words, "answers": [one.to_dict() for one in tables]}


def probe_metric(text: str) -> tuple[Subject, tuple[ProbeResult, ...]]:
    """Find a metric by a text such as ``losses.py:dice_loss`` and run it on all probes.

    Raises
    ------
    RequestError
        As `metric_findings`.
    """
    match = NAME.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"--metric {text}: {EXPECTED}, such as metrics.py:dice")
    element = None if match["element"] is None else int(match["element"])
    # First of all, and quietly: the user's module will import it too.
    import_keras()
    with _importing():
        found = _attribute(_module(match["module"]), match["name"], match["module"])
        try:
            subject = make_subject(match["name"], found, element)
            return subject, run_probes(subject)
        except ProbeError as error:
            raise RequestError(f"--metric {text}: {error}") from error


def metric_words(
    subject: Subject, results: Sequence[ProbeResult], thresholds: MetricThresholds
) -> tuple[str, tuple[Table, ...]]:
    """What a metric is, in words, and all its answers in the layouts it was meant for."""
    every = readings(results)
    meant = fitting(every, loss=is_loss(subject))
    tables = tuple(table(subject.name, one) for one in meant)
    return described(subject.name, every, meant, thresholds.alike), tables


@contextmanager
def _importing() -> Iterator[None]:
    """Let modules be found in the current folder, as `python` does."""
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before


def _module(name: str) -> ModuleType:
    try:
        return _file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"there is no module {error.name!r}, asked for by --metric {name}:…; {EXPECTED}, "
            f"that can be imported from {os.getcwd()}"
        ) from None
    # Whatever the user's module raises when it is imported is theirs to read.
    except Exception as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{name} cannot be imported: {type(error).__name__}: {error}; mend it first"
        ) from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RequestError(f"{path} does not exist; {EXPECTED}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(f"metric_of_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path} is no Python file; {EXPECTED}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, one in vars(module).items() if callable(one) and key[0] != "_"]
            raise RequestError(
                f"{where} has no {name!r}; it has {', '.join(known[:8]) or 'nothing to call'}"
            )
        found = getattr(found, part)
    return found
