"""Findings on a run: its scores, its records, and the mask that it left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.audit_mask import mask_findings
from flows.errors import RequestError
from flows.evaluation_stages import COUNT
from flows.run import INFER
from flows.run_document import EVALUATE, MALFORMED, RUN, SEGMENT, read_object, read_run
from flows.work import PROBABILITIES
from segmentation.audit.coverage import Coverage, coverage_findings
from segmentation.audit.evaluation import evaluation_findings
from segmentation.audit.evaluation_samples import classification_findings
from segmentation.audit.finding import in_order
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.manifest import RunManifest, stage_names
from storage.stores import normalize_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flows.jobs import AuditJob
    from segmentation.audit.finding import Finding
    from segmentation.audit.thresholds import Thresholds

RESULT = "result.json"


def run_findings(job: AuditJob, thresholds: Thresholds) -> list[Finding]:
    """Everything that is worth knowing about a run. Nothing is started, nothing is written.

    Parameters
    ----------
    job : AuditJob
        ``target`` is the folder of a segmentation, an evaluation or a classification.
    thresholds : Thresholds
        When a finding is made; those in result.json were found with the usual ones.

    Returns
    -------
    list of Finding
        The gravest first. Where image, bundle or mask are gone a note says so, and the scores
        are looked at all the same.

    Raises
    ------
    RequestError
        If the folder holds no run.
    """
    blobs = Blobs(normalize_url(str(job.target)))
    document, result = _document(blobs, RUN), _document(blobs, RESULT)
    if document is None and (result is None or result.get("task") != "classification"):
        raise RequestError(
            f"{job.target} holds no {RUN}; give the folder of a run, such as "
            "IMAGE.zarr.runs/NAME-KEY"
        )
    found = [] if result is None else _score_findings(result, thresholds, blobs.url)
    if document is not None and document.get("kind", SEGMENT) in (SEGMENT, EVALUATE):
        document = read_run(blobs)
        try:
            found += _record_findings(blobs, document)
        except MALFORMED as error:
            raise RequestError(
                f"{blobs.url} has records that no run writes ({type(error).__name__}: {error}); "
                "`maskmill verify` names them, and `maskmill repair` removes them"
            ) from error
        if document.get("kind", SEGMENT) == SEGMENT:
            found += mask_findings(document, thresholds)
    return in_order(found)


def _document(blobs: Blobs, name: str) -> dict[str, Any] | None:
    """A JSON object of a run folder; None where there is none.

    Raises
    ------
    RequestError
        If it cannot be read as such.
    """
    return read_object(blobs, name) if blobs.exists(name) else None


def _score_findings(result: dict[str, Any], thresholds: Thresholds, url: str) -> list[Finding]:
    try:
        if result.get("task") == "classification":
            return classification_findings(result, thresholds.evaluation, thresholds.model)
        return evaluation_findings(result, thresholds.evaluation)
    except MALFORMED as error:
        raise RequestError(
            f"{url}/{RESULT} is not what a run writes ({type(error).__name__}: {error}); write it "
            "again with `maskmill report`"
        ) from error


def _record_findings(blobs: Blobs, document: dict[str, Any]) -> list[Finding]:
    """What is recorded, and whether what the records name is stored; no byte of it is read."""
    if document.get("kind", SEGMENT) == EVALUATE:
        planned = sum(len(ShardPlan.from_dict(plan)) for plan in document["plans"])
        return _coverage(blobs, document, COUNT, planned, blobs)
    planned = len(ShardPlan.from_dict(document["plan"]))
    return _coverage(blobs, document, INFER, planned, Blobs(document["target"]))


def _coverage(
    blobs: Blobs, document: dict[str, Any], stage: str, planned: int, stored: Blobs
) -> list[Finding]:
    manifest = RunManifest(blobs, document["digest"])
    recorded = int(manifest.completed(stage, planned).sum())
    damaged = manifest.damage.torn + manifest.damage.foreign
    there = {key for key, _ in stored.list()}
    # A mask that is gone as a whole, or was pruned, is said once, where it is opened.
    keys = list(_recorded_keys(manifest, [(stage, planned), *_levels(blobs, manifest)]))
    missing = tuple(key for key in keys if key not in there) if there else ()
    found = Coverage(planned, recorded, missing, len(keys) - len(missing), damaged)
    return list(coverage_findings(found))


def _levels(blobs: Blobs, manifest: RunManifest) -> list[tuple[str, int]]:
    names = [name for name in stage_names(blobs) if name.startswith("pyramid-")]
    return [(name, manifest.count(name)) for name in names]


def _recorded_keys(manifest: RunManifest, stages: Iterable[tuple[str, int]]) -> Iterable[str]:
    for name, planned in stages:
        for record in manifest.records(name, planned):
            for stored in record.get("objects") or ():
                if not stored["key"].startswith(PROBABILITIES):
                    yield stored["key"]
