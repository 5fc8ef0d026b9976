"""The report of a run: sections drawn from the stores, and the page around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.pictures import Scene, section_pictures, worst_pictures
from flows.report.html import render_report
from flows.run_document import read_object
from storage.ome_labels import parse_label_classes
from storage.volume import open_image

if TYPE_CHECKING:
    from flows.evaluation import Evaluation
    from flows.run import Run

REPORT = "report.html"
TIMINGS = "timings.json"


def write_report(run: Run, result: dict[str, Any], seconds: dict[str, float]) -> str:
    """Write report.html into the folder of a segmentation; its URL."""
    scene = run_scene(run)
    page = render_report(
        result | {"amplification": run.plan.amplification, "requests": _requests(run)},
        title=f"{run.job.name}: {_last(run.prepared.image.url)}",
        provenance=_provenance(run),
        pictures=section_pictures(scene),
        worst=worst_pictures(scene, result),
        colors=scene.colors,
        seconds=seconds,
    )
    run.blobs.write(REPORT, page.encode())
    return f"{run.url}/{REPORT}"


def write_evaluation_report(
    evaluation: Evaluation, result: dict[str, Any], seconds: dict[str, float]
) -> str:
    """Write report.html into the folder of an evaluation; its URL."""
    scene = evaluation_scene(evaluation)
    page = render_report(
        result,
        title=f"{evaluation.job.labels}: {_last(evaluation.job.image)}",
        provenance=_evaluation_provenance(evaluation),
        pictures=section_pictures(scene),
        worst=worst_pictures(scene, result),
        colors=scene.colors,
        seconds=seconds,
    )
    evaluation.blobs.write(REPORT, page.encode())
    return f"{evaluation.url}/{REPORT}"


def run_scene(run: Run) -> Scene:
    """What pictures of a segmentation are drawn from."""
    return Scene(
        run.prepared.image,
        open_image(run.target),
        run.prepared.truth,
        run.plan.region,
        {c.value: c.color[:3] for c in run.prepared.model.classes},
        run.job.channels,
        run.job.ignore_label,
    )


def evaluation_scene(evaluation: Evaluation) -> Scene:
    """What pictures of the first volume of an evaluation are drawn from."""
    case = evaluation.cases[0]
    named = parse_label_classes(case.masks[0].attributes) or parse_label_classes(
        case.truth.attributes
    )
    return Scene(
        case.image,
        case.masks[0],
        case.truth,
        case.plan.region,
        {c.value: c.color[:3] for c in named},
        None,
        evaluation.job.ignore_label,
        evaluation.measures.binary,
    )


def _requests(run: Run) -> dict[str, int]:
    """Requests to object stores of the last attempt, where its timings tell them."""
    timings = read_object(run.blobs, TIMINGS) if run.blobs.exists(TIMINGS) else {}
    attempts = timings.get("attempts") or [{}]
    found: dict[str, int] = attempts[-1].get("requests", {})
    return found


def _last(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _provenance(run: Run) -> dict[str, Any]:
    card = run.prepared.model.card
    return {
        "image": run.prepared.image.url,
        "mask": run.target,
        "model": run.job.model,
        "exact tiling": "yes" if card is None or card.exact else "; ".join(card.inexact_reasons),
        "tile": run.plan.spec.tile,
        "halo": run.plan.spec.halo,
        "stride": run.plan.spec.stride,
        "shard": run.plan.shard_shape,
        "run": run.prepared.identity,
    }


def _evaluation_provenance(evaluation: Evaluation) -> dict[str, Any]:
    volumes = {
        f"{number}": {
            "image": case.image.url,
            "truth": case.truth.url,
            "masks": [mask.url for mask in case.masks],
            "specimen": case.group,
            "region start": case.plan.region.start,
            "region stop": case.plan.region.stop,
            "shard": case.plan.shard_shape,
        }
        for number, case in enumerate(evaluation.cases)
    }
    return {
        "volume": volumes,
        "digest": evaluation.digest,
        "counted": evaluation.identity["measures"],
    }
