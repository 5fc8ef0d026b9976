"""The report of a run that is there, written again from its records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.evaluation import Evaluation, prepare_evaluation, with_plans
from flows.evaluation_stages import collect
from flows.jobs import EvaluateJob, SegmentJob, make_job
from flows.prepare import prepare
from flows.run import INFER, Run
from flows.run_document import MALFORMED, SEGMENT, read_object, read_run
from flows.run_report import write_evaluation_report, write_report
from flows.scoring import collect_run
from segmentation.plan import ShardPlan
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.stores import normalize_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.jobs import ReportJob

ATTEMPT = "report"
TIMINGS = "timings.json"


def rewrite_report(job: ReportJob) -> dict[str, Any]:
    """Merge the records of a run again; write result.json and report.html.

    Returns
    -------
    dict
        result.json, with the places of the run and the report.

    Raises
    ------
    RequestError, StorageError, ValueError
        If the folder holds no run, or image, mask or truth are not what they were.
    IncompleteRunError
        If shards have no record yet.
    """
    url = normalize_url(job.run)
    document = read_run(Blobs(url))
    rewrite = _segmentation if document.get("kind", SEGMENT) == SEGMENT else _evaluation
    result, report = rewrite(url, document)
    return result | {"run": url, "report": report}


def _segmentation(url: str, document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    job = make_job(SegmentJob, document["job"])
    prepared = prepare(job)
    _check_digest(url, document, prepared.digest)
    prepared = replace(prepared, plan=ShardPlan.from_dict(document["plan"]))
    run = Run(job, prepared, document["directory"], url, ATTEMPT, document["intensity"])
    run.stage(INFER, len(run.plan)).check_complete()
    result = _merged(collect_run, run, url)
    return result, write_report(run, result, _seconds(url))


def _evaluation(url: str, document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    job = make_job(EvaluateJob, document["job"])
    evaluation: Evaluation = prepare_evaluation(job, ATTEMPT)
    _check_digest(url, document, evaluation.digest)
    evaluation = with_plans(replace(evaluation, url=url), document["plans"])
    result = _merged(collect, evaluation, url)
    return result, write_evaluation_report(evaluation, result, _seconds(url))


def _merged(merge: Callable[[Any], dict[str, Any]], run: Any, url: str) -> dict[str, Any]:
    """What the records of a run add up to."""
    try:
        return merge(run)
    except (RequestError, StorageError):
        raise
    except MALFORMED as error:
        raise RequestError(
            f"{url} has records that no run writes ({type(error).__name__}: {error}); "
            "`maskmill repair` makes them anew"
        ) from error


def _check_digest(url: str, document: dict[str, Any], digest: str) -> None:
    if document["digest"] != digest:
        raise RequestError(
            f"image, mask or truth are not what they were when {url} was made; run the command of "
            "the run again"
        )


def _seconds(url: str) -> dict[str, float]:
    """Seconds by stage of the last attempt, as its report shows them."""
    if not Blobs(url).exists(TIMINGS):
        return {}
    timings = read_object(Blobs(url), TIMINGS)
    try:
        seconds = (timings.get("attempts") or [timings])[-1].get("seconds", {})
        return {name: float(spent) for name, spent in seconds.items() if name != "report"}
    except MALFORMED as error:
        raise RequestError(f"{url}/{TIMINGS} has no seconds by stage; remove it") from error
