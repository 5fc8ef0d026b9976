"""Verification of a mask volume that is there, and what an image or a bundle holds."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError, VerificationError
from flows.prepare import runs_url
from flows.run import DAMAGE, SCHEMA
from storage.blobs import Blobs
from storage.label_names import LABELS, is_version_of, label_url
from storage.labels import listed
from storage.manifest import RunManifest, stage_names
from storage.ome_labels import parse_label_classes
from storage.stores import is_local, join_url, normalize_url
from storage.verify import check_objects
from storage.volume import Image, open_image, open_label, published_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.jobs import InfoJob, VerifyJob

PROBLEMS_SHOWN = 20


def verify_labels(job: VerifyJob) -> dict[str, Any]:
    """Every recorded object of a mask volume, read and compared.

    Returns
    -------
    dict
        Number of objects per stage.

    Raises
    ------
    RequestError
        If the mask was not made by a run, or its records are gone.
    VerificationError
        With the objects that are missing or changed, and the shards without a record.
    """
    container, directory = _version(job)
    run = Blobs(join_url(runs_url(job, container), directory))
    if not run.exists("run.json"):
        raise RequestError(
            f"{directory} has no run records at {run.url}; give --runs URL, or it was imported "
            "and has none"
        )
    document = json.loads(run.read("run.json"))
    manifest = RunManifest(run, document["digest"])
    counts, problems = _compare(label_url(container, directory), manifest, document)
    if problems:
        _note_damage(run, problems)
        shown = "\n  ".join(problems[:PROBLEMS_SHOWN])
        more = (
            f"\n  and {len(problems) - PROBLEMS_SHOWN} more"
            if len(problems) > PROBLEMS_SHOWN
            else ""
        )
        raise VerificationError(
            f"{len(problems)} of {sum(counts.values())} stored objects of {directory} are not "
            f"what was recorded:\n  {shown}{more}\n"
            "run the same segment command: it makes anew what is missing or changed"
        )
    # On a disk that may only be read there is nothing to forget, or nobody who can.
    with suppress(OSError):
        run.delete(DAMAGE)
    return {"labels": directory, "objects": counts, "problems": 0}


def _note_damage(run: Blobs, problems: list[str]) -> None:
    """Let the same job know that the run is not finished any more."""
    try:
        run.write(DAMAGE, json.dumps({"schema": SCHEMA, "problems": problems}).encode())
    except OSError:
        # A check may be made by somebody who may only read; what was found is told anyway.
        return


def _version(job: VerifyJob) -> tuple[str, str]:
    """Where ``labels/`` is and the folder in it; a mask whose metadata is damaged counts too."""
    if f"/{LABELS}/" in job.labels:
        container, _, directory = normalize_url(job.labels).rpartition(f"/{LABELS}/")
        return container, directory
    container = normalize_url(job.image)
    for directory in listed(container):
        if is_version_of(directory, job.labels):
            return container, directory
    if Blobs(runs_url(job, container)).exists(f"{job.labels}/run.json"):
        return container, job.labels
    label = open_label(open_image(container).url, job.labels)
    return container, label.url.rsplit("/", 1)[-1]


def _compare(
    url: str, manifest: RunManifest, document: dict[str, Any]
) -> tuple[dict[str, int], list[str]]:
    counts: dict[str, int] = {}
    problems: list[str] = []
    planned = int(document["plan"]["shards"])
    missing = planned - int(manifest.completed("infer", planned).sum())
    if missing:
        problems.append(f"{missing} of {planned} shards have no record")
    for stage in stage_names(manifest.blobs):
        if stage.startswith("evaluate-"):
            continue
        objects = list(_objects(manifest, stage))
        counts[stage] = sum(len(stored) for _, stored in objects)
        problems += [
            f"{p.key}: {p.fault}" for p in check_objects(url, objects, scheduler="threads")
        ]
    return counts, problems


def _objects(manifest: RunManifest, stage: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for record in manifest.records(stage, manifest.count(stage)):
        stored = [o for o in record["objects"] if not o["key"].startswith("probabilities")]
        yield record["item"], stored


def describe_target(job: InfoJob) -> dict[str, Any]:
    """What an image or a bundle holds, as plain data."""
    url = normalize_url(job.target)
    if is_local(url) and Blobs(url).exists("card.json"):
        from segmentation.bundle import bundle_digest, load_card

        return {"bundle": url, "digest": bundle_digest(url), **load_card(url).to_dict()}
    image = open_image(url)
    base = image.volumes[0]
    return {
        "image": image.url,
        "version": image.metadata.version,
        "axes": base.axes,
        "shape": list(base.shape),
        "dtype": base.dtype,
        "voxel_size": list(base.voxel_size),
        "unit": base.unit,
        "levels": [
            {"path": v.path, "shape": list(v.shape), "chunks": list(v.chunks), "shards": v.shards}
            for v in image.volumes
        ],
        "labels": [_describe_label(image, directory) for directory in published_labels(image.url)],
        "staged": _staged(image),
        "runs": _runs(f"{image.url}.runs"),
    }


def _describe_label(image: Image, directory: str) -> dict[str, Any]:
    label = open_label(image.url, directory)
    run = Blobs(join_url(f"{image.url}.runs", directory))
    shares = json.loads(run.read("result.json"))["shares"] if run.exists("result.json") else []
    by_value = {s["value"]: s["share"] for s in shares}
    return {
        "name": label.metadata.name,
        "version": directory,
        "dtype": label.volumes[0].dtype,
        "classes": [
            {"value": c.value, "name": c.name, "share": by_value.get(c.value)}
            for c in parse_label_classes(label.attributes)
        ],
    }


def _staged(image: Image) -> list[str]:
    """Versions under labels/ that readers do not see."""
    keys = Blobs(join_url(image.url, LABELS)).list()
    folders = {key.split("/", 1)[0] for key, _ in keys if "/" in key}
    return sorted(folders - set(listed(image.url)))


def _runs(url: str) -> list[str]:
    keys = Blobs(url).list()
    return sorted({key.split("/", 1)[0] for key, _ in keys if key.endswith("/run.json")})
