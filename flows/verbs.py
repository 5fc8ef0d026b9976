"""The verbs of the command: what each does with its job, and how its result is shown.

Actions import what they need when they run, so that ``maskmill --help`` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Verb = tuple[str, Any, "Callable[[Any], dict[str, Any]]", "Callable[[dict[str, Any]], str]"]


def table(jobs: Any) -> Iterator[Verb]:
    """Name, job, action and presentation of every verb."""
    from flows import submit_job

    yield "demo", jobs.DemoJob, _demo, _show_scores
    yield "import", jobs.ImportJob, _import, _show_image
    yield "import-labels", jobs.ImportLabelsJob, _import_labels, _show_label
    yield "export", jobs.ExportJob, _export, lambda result: f"{result['output']}\n"
    yield "info", jobs.InfoJob, _info, _show_plain
    yield "pack", jobs.PackJob, _pack, _show_bundle
    yield "train", jobs.TrainJob, _train, _show_training
    yield "plan", jobs.DryRunJob, _plan, _show_plan
    yield "segment", jobs.SegmentJob, _segment, _show_scores
    yield "reconcile", jobs.ReconcileJob, _reconcile, _show_reconciled
    yield "evaluate", jobs.EvaluateJob, _evaluate, _show_scores
    yield "audit", jobs.AuditJob, _audit, _show_audit
    yield "classify", jobs.ClassifyJob, _classify, _show_classification
    yield "verify", jobs.VerifyJob, _verify, _show_verified
    yield "repair", jobs.RepairJob, _repair, _show_repaired
    yield "rollback", jobs.RollbackJob, _rollback, _show_rollback
    yield "prune", jobs.PruneJob, _prune, _show_prune
    yield "report", jobs.ReportJob, _report, _show_scores
    yield "submit", submit_job.SubmitJob, _submit, _show_submitted


def _demo(job: Any) -> dict[str, Any]:
    from flows.demo import run_demo

    return run_demo(job)


def _import(job: Any) -> dict[str, Any]:
    from flows.progress import file_progress
    from storage.convert import import_image

    with file_progress("importing") as progress:
        image = import_image(
            job.sources,
            job.image,
            axes=job.axes,
            voxel_size=job.voxel_size,
            unit=job.unit,
            dataset=job.dataset,
            progress=progress,
        )
    return _describe(image.url)


def _import_labels(job: Any) -> dict[str, Any]:
    from flows.progress import file_progress
    from storage.convert import import_labels

    with file_progress("importing labels") as progress:
        label = import_labels(
            job.sources,
            job.image,
            name=job.name,
            classes=job.classes,
            instances=job.instances,
            axes=job.axes,
            dataset=job.dataset,
            progress=progress,
        )
    return {"labels": job.name, "url": label.url, "shape": list(label.volumes[0].shape)}


def _export(job: Any) -> dict[str, Any]:
    from storage.export import export_volume

    export_volume(job.image, job.labels, job.output, level=job.level)
    return {"output": job.output}


def _info(job: Any) -> dict[str, Any]:
    from flows.describe import describe_target

    return describe_target(job)


def _describe(url: str) -> dict[str, Any]:
    from flows.describe import describe_target
    from flows.jobs import InfoJob

    return describe_target(InfoJob(target=url))


def _pack(job: Any) -> dict[str, Any]:
    from flows.pack import pack_model

    return pack_model(job)


def _train(job: Any) -> dict[str, Any]:
    from flows.classifier_run import plan_classifier, trains_classifier
    from flows.training_run import plan_training

    # What cannot be trained on is refused before any server starts.
    plan = plan_classifier if trains_classifier(job) else plan_training
    plan(job)
    from flows.prefect_server import early_server, prefect_server

    with early_server() as server:
        from flows.prefect_reach import reachable_server
        from flows.train import train_model

        with reachable_server(), prefect_server(server):
            return train_model(job)


def _plan(job: Any) -> dict[str, Any]:
    from flows.dry_run import plan_volume

    return plan_volume(job)


def _segment(job: Any) -> dict[str, Any]:
    from flows.segment_command import run_segment

    return run_segment(job)


def _reconcile(job: Any) -> dict[str, Any]:
    from flows.outdated import look_at_all
    from flows.reconcile_result import finish
    from flows.reconciliation import has_work, tally_of

    # Where nothing is to be segmented no server starts: the usual end of a scheduled run.
    looks = look_at_all(job)
    if not has_work(looks):
        return finish(tally_of(looks))
    from flows.prefect_server import early_server, prefect_server

    with early_server() as server:
        from flows.prefect_reach import reachable_server
        from flows.reconcile import reconcile_volumes

        with reachable_server(), prefect_server(server):
            return reconcile_volumes(job)


def _evaluate(job: Any) -> dict[str, Any]:
    import os

    from flows.evaluation_run import run_evaluation

    # An evaluation is short: it tells a Prefect server where there is one, and starts none.
    if "PREFECT_API_URL" not in os.environ:
        return run_evaluation(job)
    from flows.evaluate import evaluate_volume
    from flows.prefect_reach import reachable_server

    with reachable_server():
        result: dict[str, Any] = evaluate_volume(job)
    return result


def _audit(job: Any) -> dict[str, Any]:
    from flows.audit import run_audit

    return run_audit(job)


def _classify(job: Any) -> dict[str, Any]:
    from flows.classification import prepare_classification
    from flows.classify_run import checked, finished

    # What is wrong, and what was done before, is known before any server starts.
    prepared = prepare_classification(job, "")
    known = finished(prepared)
    if known is not None:
        return checked(prepared, known | {"already_done": True})
    from flows.prefect_server import early_server, prefect_server

    with early_server() as server:
        from flows.classify import classify_images
        from flows.prefect_reach import reachable_server

        with reachable_server(), prefect_server(server):
            return classify_images(job)


def _report(job: Any) -> dict[str, Any]:
    from flows.rewrite import rewrite_report

    return rewrite_report(job)


def _verify(job: Any) -> dict[str, Any]:
    from flows.check import verify_labels

    return verify_labels(job)


def _repair(job: Any) -> dict[str, Any]:
    from flows.repair import repair_labels

    return repair_labels(job)


def _rollback(job: Any) -> dict[str, Any]:
    from flows.rollback import roll_back

    return roll_back(job)


def _prune(job: Any) -> dict[str, Any]:
    from flows.prune import prune_labels

    return prune_labels(job)


def _submit(job: Any) -> dict[str, Any]:
    from flows.submit import submit

    return submit(job)


def _show_scores(result: dict[str, Any]) -> str:
    import sys

    from flows.report.requests_text import requests_text
    from flows.report.terminal import plain_text, score_table

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(score_table(result))
        text = ""
    else:
        text = plain_text(result)
    # The demo's table is of unseen sections, its audit of all of them.
    text += "audit of the whole run:\n" if "audit" in result else ""
    text += _found(result)
    places = ("mask", "run", "report", "evaluation", "audit")
    lines = [f"{name}: {result[name]}" for name in places if name in result]
    if "seconds" in result:
        lines.append(_stages(result))
    asked = requests_text(result.get("requests") or {})
    if asked:
        lines.append(f"requests to the store: {asked}")
    if "mask" in result and not result["published"]:
        lines.append(_unpublished(result))
    if result.get("already_done"):
        lines.append(
            "this was done before; nothing had to be computed (--force makes a new version)"
        )
    return text + "".join(f"{line}\n" for line in lines)


def _stages(result: dict[str, Any]) -> str:
    """Where the time went, and the executor that was chosen."""
    seconds = result["seconds"]
    parts = ", ".join(f"{stage} {took:.1f}" for stage, took in seconds.items())
    return f"seconds: {parts}; {sum(seconds.values()):.1f} in all ({result['executor']} executor)"


def _unpublished(result: dict[str, Any]) -> str:
    """Why readers do not see a finished mask."""
    if result.get("current") is None:
        return "a run over a region is not published: elsewhere it would read as background"
    return (
        f"readers see {result['current']}; `maskmill rollback --to "
        f"{result['mask'].rsplit('/', 1)[-1]}` shows them this version"
    )


def _show_reconciled(result: dict[str, Any]) -> str:
    from flows.reconcile_result import reconciled_text

    return reconciled_text(result)


def _show_classification(result: dict[str, Any]) -> str:
    from flows.report.classification_text import plain_text

    places = "".join(f"{name}: {result[name]}\n" for name in ("predictions", "report"))
    again = "this was done before; nothing had to be computed\n"
    return plain_text(result) + places + again * bool(result.get("already_done"))


def _found(result: dict[str, Any]) -> str:
    """What the audit found in the scores, where it says more than a note."""
    from flows.report.findings_text import findings_text

    grave = [one for one in result.get("findings") or () if one["severity"] != "info"]
    return findings_text(grave) if grave else ""


def _show_image(result: dict[str, Any]) -> str:
    shape = " × ".join(map(str, result["shape"]))
    levels = len(result["levels"])
    return f"{result['image']}: {result['axes']} {shape} {result['dtype']}, {levels} levels\n"


def _show_label(result: dict[str, Any]) -> str:
    return f"{result['url']}: published as {result['labels']}\n"


def _show_bundle(result: dict[str, Any]) -> str:
    return "".join(f"{key}: {_short(value)}\n" for key, value in result.items())


def _show_training(result: dict[str, Any]) -> str:
    found = dict(result.get("overfit_one", result))
    text = _found(found)
    found.pop("findings", None)
    return text + _show_bundle(found)


def _show_audit(result: dict[str, Any]) -> str:
    from flows.report.findings_text import findings_text

    said = f"{result['described']}\n" if "described" in result else ""
    page = f"report: {result['report']}\n" if result["report"] else ""
    return said + findings_text(result["findings"]) + page


def _show_verified(result: dict[str, Any]) -> str:
    from flows.check import verified_text

    return verified_text(result)


def _show_repaired(result: dict[str, Any]) -> str:
    from flows.repair import repaired_text

    return repaired_text(result)


def _show_rollback(result: dict[str, Any]) -> str:
    lines = [
        f"{one['version']}: {one['state']}, {_size(one['bytes'])}\n" for one in result["versions"]
    ]
    now = f"readers of {result['labels']} see {result['published']} now"
    return "".join(lines) + f"{now}, before that {result['before'] or 'nothing'}\n"


def _show_prune(result: dict[str, Any]) -> str:
    lines = [
        f"{one['version']}: {one['decision']}, {_size(one['bytes'])}; {one['reason']}\n"
        for one in result["versions"]
    ]
    size = _size(result["bytes"])
    told = f"deleted {size}" if result["deleted"] else f"{size} to delete; --yes deletes them"
    return "".join(lines) + (told if result["bytes"] else "nothing to delete") + "\n"


def _size(count: int) -> str:
    """Bytes in a unit that suits them."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _show_submitted(result: dict[str, Any]) -> str:
    from flows.submit import submitted_text

    return submitted_text(result)


def _show_plan(result: dict[str, Any]) -> str:
    import sys

    from flows.report.plan_text import stage_lines, stage_table

    figures = {k: v for k, v in result.items() if k not in ("stages", "cost")}
    if not sys.stdout.isatty():
        return _show_plain(figures) + stage_lines(result)
    from rich.console import Console

    console = Console()
    console.print(_show_plain(figures), end="", markup=False, highlight=False)
    console.print(stage_table(result))
    return ""


def _show_plain(result: dict[str, Any]) -> str:
    return "".join(f"{key.replace('_', ' ')}: {_short(value)}\n" for key, value in result.items())


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(f"\n  {_short(item)}" for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value)) if value else "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value) if not isinstance(value, str) else value
