"""The verb `audit`: which kind of thing it is given, and what all findings on it are together."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import EXIT_DONE, EXIT_VERIFICATION, RequestError
from flows.training_run import TRAINING
from segmentation.audit.finding import in_order
from segmentation.audit.thresholds import Thresholds
from segmentation.bundle import CARD_FILE
from storage.blobs import Blobs
from storage.stores import is_local, normalize_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flows.jobs import AuditJob
    from segmentation.audit.finding import Finding

SCHEMA = 1
RUN, RESULT = "run.json", "result.json"
STDIN = "-"
CATALOGS = (".yaml", ".yml")
# Options that say something of one kind of target alone.
OF_BUNDLE = ("on", "truth", "region", "recalibrate", "fast")
OF_LOG = ("monitor", "direction", "patience", "samples")


def run_audit(job: AuditJob) -> dict[str, Any]:
    """All findings on a target, the gravest first.

    Returns
    -------
    dict
        ``target``, its ``kind``, ``findings`` (of a metric also what it is, ``described`` and in
        its ``answers``), how many of each severity, the ``thresholds`` that
        were used, the path of the ``report``, and the exit code: 4 if one is an error.

    Raises
    ------
    RequestError, StorageError, ValueError
        If there is nothing that can be audited.
    """
    thresholds = Thresholds.changed(parse_thresholds(job.thresholds or ()))
    kind = target_kind(job)
    _check_options(job, kind)
    found, more = _audited(kind, job, thresholds)
    findings = [finding.to_dict() for finding in in_order(found)]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "target": job.metric or job.target,
        "kind": kind,
        **more,
        "findings": findings,
        **_counted(findings),
        "thresholds": thresholds.to_dict(),
        "report": None,
    }
    if job.report is not None:
        result["report"] = _write_page(job.report, result)
    return result | {"exit_code": EXIT_VERIFICATION if result["errors"] else EXIT_DONE}


def parse_thresholds(texts: Sequence[str]) -> dict[str, float]:
    """Numbers by name, from texts such as ``data.rare_share=0.02``.

    Raises
    ------
    RequestError
        If a text is none of that form.
    """
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            values[name.strip()] = math.nan
        if not math.isfinite(values[name.strip()]):
            raise RequestError(
                f"--thresholds {text}: expected NAME=NUMBER, such as data.rare_share=0.02"
            )
    return values


def target_kind(job: AuditJob) -> str:
    """What is to be audited: "metric", "bundle", "run", "catalog" or "log".

    Raises
    ------
    RequestError
        If nothing, too much, or something else is given.
    """
    if (job.metric is None) == (job.target is None):
        raise RequestError(
            "give one thing to audit: CATALOG.yaml, BUNDLE, RUN, a log, or --metric module:function"
        )
    if job.target is None:
        return "metric"
    if job.target == STDIN:
        return "log"
    if Path(job.target).suffix in CATALOGS:
        return "catalog"
    if is_local(job.target) and Path(normalize_url(job.target)).is_file():
        return "log"
    return _folder_kind(job.target)


def _folder_kind(target: str) -> str:
    url = normalize_url(target)
    if is_local(target) and not Path(url).is_dir():
        raise RequestError(f"{target} does not exist; give a catalog, bundle, run or log")
    blobs = Blobs(url)
    if blobs.exists(CARD_FILE):
        return "bundle"
    if blobs.exists(RUN) or blobs.exists(RESULT):
        if is_local(target) and Path(url).name == TRAINING:
            raise RequestError(f"{target} are the records of a training; audit {Path(url).parent}")
        return "run"
    raise RequestError(
        f"{target} is no bundle (no {CARD_FILE}) and no run (no {RUN}); expected one of these, a "
        "catalog, or a log. Runs lie in IMAGE.zarr.runs/NAME-KEY"
    )


def _check_options(job: AuditJob, kind: str) -> None:
    """Refuse options that would be overlooked."""
    others = {
        "bundle": OF_LOG,
        "log": OF_BUNDLE,
    }.get(kind, OF_BUNDLE + OF_LOG)
    given = [name for name in others if getattr(job, name) not in (None, False)]
    if given:
        what = "a bundle" if given[0] in OF_BUNDLE else "a log"
        raise RequestError(
            f"--{given[0]} says something of {what}, and this is a {kind}; leave it out"
        )


def _audited(
    kind: str, job: AuditJob, thresholds: Thresholds
) -> tuple[list[Finding], dict[str, Any]]:
    """Findings, and of a metric what it is."""
    if kind != "metric":
        return _auditor(kind)(job, thresholds), {}
    from flows.audit_metric import audit_metric

    return audit_metric(job, thresholds)


def _auditor(kind: str) -> Callable[[AuditJob, Thresholds], list[Finding]]:
    """Each is imported when it is needed: some load a device runtime."""
    if kind == "bundle":
        from flows.audit_bundle import bundle_findings as auditor
    elif kind == "run":
        from flows.audit_run import run_findings as auditor
    elif kind == "catalog":
        from flows.audit_catalog import catalog_findings as auditor
    else:
        from flows.audit_log import log_findings as auditor
    return auditor


def _counted(findings: Sequence[dict[str, Any]]) -> dict[str, int]:
    names = {"errors": "error", "warnings": "warning", "notes": "info"}
    return {
        name: sum(finding["severity"] == severity for finding in findings)
        for name, severity in names.items()
    }


def _write_page(path: str, result: dict[str, Any]) -> str:
    from flows.report.audit_page import render_audit

    page = Path(os.path.abspath(normalize_url(path)))
    if not is_local(path) or not page.parent.is_dir() or page.is_dir():
        raise RequestError(f"--report {path}: expected a file in a folder that is there")
    Blobs(str(page.parent)).write(page.name, render_audit(result).encode())
    return path
