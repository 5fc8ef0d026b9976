"""How much of what is scored a bundle has learned from, as its card tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.bundle import Card


def learned_voxels(card: Card, image: str, region: Region) -> dict[str, Any]:
    """Voxels of a region that are in the training part, for `segmentation.audit.learned`.

    Parameters
    ----------
    card : Card
        Of the network; one that was not trained by maskmill knows nothing.
    image : str
        Last part of the image's URL.
    region : Region
        What is scored, along the axes of the label.
    """
    items, learned = [], 0
    for item in _trained(card.training):
        box = item.get("region")
        if box is None or _last(item["image"]) != image or len(box["start"]) != len(region.shape):
            continue
        shared = Region(tuple(box["start"]), tuple(box["stop"])).intersection(region)
        if shared is not None:
            learned += shared.voxels
            items.append(f"{image} {_extent(shared)}")
    return {"unit": "voxels", "learned": learned, "scored": region.voxels, "items": items}


def learned_images(card: Card, names: Sequence[str]) -> dict[str, Any]:
    """The same of whole images, by their names."""
    trained = {_last(item["image"]) for item in _trained(card.training)}
    items = [name for name in names if _last(name) in trained]
    return {"unit": "images", "learned": len(items), "scored": len(names), "items": items}


def _trained(training: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Items of the training part; of an ensemble those of any of its networks."""
    split = training.get("split") or {}
    folds = split.get("folds") or []
    number = training.get("fold")
    chosen = folds if number is None else folds[number : number + 1]
    for place in sorted({place for fold in chosen for place in fold["train"]}):
        yield split["items"][place]


def _extent(region: Region) -> str:
    return ",".join(f"{low}:{high}" for low, high in zip(region.start, region.stop, strict=True))


def _last(name: str) -> str:
    return str(name).rstrip("/").rsplit("/", 1)[-1]
