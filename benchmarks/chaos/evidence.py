"""What a run left behind: the bytes of its mask and scores, and what its records tell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from storage.blobs import Blobs
from storage.stores import join_url

RESULT = "result.json"


def run_folder(image: str) -> Blobs:
    """The folder of the one run of an image.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    runs = Blobs(f"{image}.runs")
    for key, _ in runs.list():
        if key.endswith("/run.json"):
            return runs.child(key.partition("/")[0])
    raise FileNotFoundError(f"{runs.url} holds no run")


def digests(image: str) -> dict[str, str]:
    """Digest of every object under ``labels/`` and of the scores, by key."""
    labels, run = Blobs(join_url(image, "labels")), run_folder(image)
    found = {f"labels/{key}": _digest(labels.read(key)) for key, _ in labels.list()}
    if run.exists(RESULT):
        found[RESULT] = _digest(run.read(RESULT))
    return found


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Keys that are missing, that should not be there, or whose bytes differ."""
    return sorted(
        key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)
    )


def recorded(image: str) -> int:
    """Objects of records that there are now."""
    return sum(1 for key, _ in Blobs(f"{image}.runs").list() if "/records/" in key)


def story(image: str) -> dict[str, Any]:
    """What the records tell: attempts, shards done more than once, failures, who published."""
    run = run_folder(image)
    attempts: set[str] = set()
    done: Counter[tuple[str, int]] = Counter()
    torn = 0
    for key, _ in run.list("records"):
        header, *lines = run.read(key).split(b"\n")
        attempts.add(json.loads(header)["attempt"])
        for line in filter(None, lines):
            try:
                done[key.split("/")[1], json.loads(line.partition(b" ")[2])["item"]] += 1
            except ValueError:
                torn += 1
    published = json.loads(run.read("published.json")) if run.exists("published.json") else {}
    return {
        "attempts": len(attempts),
        "items": len(done),
        "twice": sum(1 for times in done.values() if times > 1),
        "torn": torn,
        "failures": sum(1 for _ in run.list("failures")),
        "published": bool(published),
        "replaced": published.get("replaced", []),
    }
