"""The damages: each changes a finished mask or its records in one place, and says which."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.damage.scene import Scene, Stored, lines_of
from storage.cells import open_cells
from storage.volume import open_image

if TYPE_CHECKING:
    from collections.abc import Callable

LATER = "29991231T235959-00000000"


@dataclass(frozen=True)
class Planted:
    """What was done.

    Attributes
    ----------
    keys : set of str
        Objects that have to be named.
    lost : set of (str, int)
        Stages and items that have to be named and made again, and no other may be.
    """

    keys: set[str]
    lost: set[tuple[str, int]] = field(default_factory=set)


def delete(scene: Scene, rng: np.random.Generator) -> Planted:
    """An object is gone."""
    one = _cell(scene, rng)
    (scene.label / one.key).unlink()
    return _hit(one)


def truncate(scene: Scene, rng: np.random.Generator) -> Planted:
    """An object is cut at a random byte."""
    one = _cell(scene, rng)
    path = scene.label / one.key
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(0, len(data))])
    return _hit(one)


def flip(scene: Scene, rng: np.random.Generator) -> Planted:
    """A random bit of an object is turned."""
    one = _cell(scene, rng)
    path = scene.label / one.key
    data = bytearray(path.read_bytes())
    data[rng.integers(0, len(data))] ^= 1 << int(rng.integers(0, 8))
    path.write_bytes(data)
    return _hit(one)


def swap(scene: Scene, rng: np.random.Generator) -> Planted:
    """Two objects of a level have changed places."""
    level = [one for one in scene.objects() if one.key.startswith("0/c/")]
    first, second = (level[i] for i in rng.choice(len(level), 2, replace=False))
    paths = [scene.label / one.key for one in (first, second)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    return Planted({first.key, second.key}, {_item(first), _item(second)})


def overwrite(scene: Scene, rng: np.random.Generator) -> Planted:
    """A whole, readable object of other voxels stands in the place of the right one."""
    one = _cell(scene, rng)
    level, _, *index = one.key.split("/")
    volume = next(v for v in open_image(str(scene.label)).volumes if v.path == level)
    cell = volume.shards or volume.chunks
    starts = [int(i) * c for i, c in zip(index, cell, strict=True)]
    shape = [min(c, n - a) for c, n, a in zip(cell, volume.shape, starts, strict=True)]
    open_cells(str(scene.label), level).write([*map(int, index)], np.full(shape, 201, volume.dtype))
    return _hit(one)


def stray(scene: Scene, rng: np.random.Generator) -> Planted:
    """An object is there that belongs to nothing."""
    beyond = "/".join(str(n) for n in rng.integers(50, 99, 3))
    key = rng.choice([f"0/c/{beyond}", "0/c/99", "notes.txt", f"7/c/{beyond}", "0/.zarray"])
    path = scene.label / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rng.bytes(100))
    return Planted({str(key)})


def metadata(scene: Scene, rng: np.random.Generator) -> Planted:
    """A metadata object is gone, cut, or tells something else."""
    found = sorted(one.key for one in scene.objects() if one.stage == "metadata")
    path = scene.label / str(rng.choice(found))
    text = path.read_text()
    harm = rng.integers(0, 3)
    if harm == 0:
        path.unlink()
    elif harm == 1:
        path.write_text(text[: len(text) // 2])
    else:
        path.write_text(json.dumps(json.loads(text) | {"note": 1}))
    key = path.relative_to(scene.label).as_posix()
    return _hit(next(one for one in scene.objects() if one.key == key))


def lost_record(scene: Scene, rng: np.random.Generator) -> Planted:
    """The only record of an item is gone."""
    one = _once(scene, rng)
    (scene.run / one.record).unlink()
    return Planted(set(), {_item(one)})


def torn_record(scene: Scene, rng: np.random.Generator) -> Planted:
    """A record is cut, or one of its bits is turned."""
    one = _once(scene, rng)
    path = scene.run / one.record
    data = bytearray(path.read_bytes())
    if rng.integers(0, 2):
        data = data[: rng.integers(1, len(data) - 1)]
    else:
        # Anywhere but in a line break, which would be a cut.
        data[rng.choice([i for i, byte in enumerate(data) if byte > 32])] ^= 1
    path.write_bytes(data)
    return Planted({one.record}, {_item(one)})


def foreign_record(scene: Scene, rng: np.random.Generator) -> Planted:
    """A record of another job lies among ours."""
    folder = scene.other / "records" / "infer"
    source = sorted(folder.iterdir())[rng.integers(0, len(list(folder.iterdir())))]
    target = scene.run / "records" / "infer" / f"{LATER}-{rng.integers(0, 99):06d}.jsonl"
    shutil.copy(source, target)
    return Planted({target.relative_to(scene.run).as_posix()})


def stale_record(scene: Scene, rng: np.random.Generator) -> Planted:
    """An older attempt's record stands under the name of a later attempt."""
    one = _once(scene, rng)
    source = scene.run / one.record
    target = source.with_name(f"{LATER}-000000.jsonl")
    shutil.copy(source, target)
    return Planted({target.relative_to(scene.run).as_posix()})


def misplaced_record(scene: Scene, rng: np.random.Generator) -> Planted:
    """A whole record of a later attempt tells another region than the plan's."""
    one = next(o for o in _shuffled(scene, rng) if o.stage == "infer")
    source = scene.run / one.record
    header = json.loads(source.read_text().splitlines()[0]) | {"attempt": LATER}
    record = next(r for r in lines_of(source) if r["item"] == one.item) | {"attempt": LATER}
    record["region"] = {"start": record["region"]["start"], "stop": [1, 1, 1]}
    body = json.dumps(record).encode()
    line = hashlib.blake2b(body, digest_size=8).hexdigest().encode() + b" " + body
    target = source.with_name(f"{LATER}-000001.jsonl")
    target.write_bytes(json.dumps(header).encode() + b"\n" + line + b"\n")
    return Planted({target.relative_to(scene.run).as_posix()})


def _shuffled(scene: Scene, rng: np.random.Generator) -> list[Stored]:
    found = scene.objects()
    return [found[i] for i in rng.permutation(len(found))]


def _cell(scene: Scene, rng: np.random.Generator) -> Stored:
    """A random object of voxels, of any level."""
    return next(one for one in _shuffled(scene, rng) if one.stage != "metadata")


def _once(scene: Scene, rng: np.random.Generator) -> Stored:
    """An object whose item has one record, alone in its object."""
    every = [
        (path.parent.name, record["item"])
        for path in (scene.run / "records").rglob("*.jsonl")
        for record in lines_of(path)
    ]
    for one in _shuffled(scene, rng):
        alone = len(lines_of(scene.run / one.record)) == 1
        if one.stage != "metadata" and alone and every.count(_item(one)) == 1:
            return one
    raise ValueError("every item has several records; make a new scene")


def _hit(one: Stored) -> Planted:
    return Planted({one.key}, {_item(one)})


def _item(one: Stored) -> tuple[str, int]:
    return one.stage, one.item


PLANTS: tuple[Callable[[Scene, np.random.Generator], Planted], ...] = (
    delete,
    truncate,
    flip,
    swap,
    overwrite,
    stray,
    metadata,
    lost_record,
    torn_record,
    foreign_record,
    stale_record,
    misplaced_record,
)
