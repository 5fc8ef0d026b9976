"""What an image or a bundle holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from storage.blobs import Blobs
from storage.folders import fetch_folder
from storage.inventory import folders
from storage.label_names import LABELS
from storage.labels import listed
from storage.ome_labels import parse_label_classes
from storage.stores import join_url, normalize_url
from storage.volume import Image, open_image, open_label, published_labels

if TYPE_CHECKING:
    from flows.jobs import InfoJob


def describe_target(job: InfoJob) -> dict[str, Any]:
    """What an image or a bundle holds, as plain data."""
    url = normalize_url(job.target)
    if Blobs(url).exists("card.json"):
        from flows.model import BUNDLE
        from segmentation.bundle import bundle_digest, load_card

        folder = fetch_folder(url, BUNDLE)
        return {"bundle": url, "digest": bundle_digest(folder), **load_card(folder).to_dict()}
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
    shown = listed(image.url)
    return [name for name in folders(join_url(image.url, LABELS)) if name not in shown]


def _runs(url: str) -> list[str]:
    return [name for name in folders(url) if Blobs(join_url(url, name)).exists("run.json")]
