"""Durable records of finished work: what makes a run resumable and auditable.

Records are grouped into objects of text lines, each object written once and whole::

    records/infer/20261121T050149-1f0c9a7e-000003.jsonl
        {"schema": 1, "job": "…", "stage": "infer", "attempt": "…"}        header
        9f2c41d07b6e5a10 {"item": 17, "objects": […], …}                   checksum, record

A line whose checksum does not fit is torn and does not count; an object of another job is
foreign and does not count; of two records of one item the later attempt's counts.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.blobs import Blobs

SCHEMA = 1
RECORDS = "records"
MAX_FULL_GROUPS = 5000
MAX_EARLY_GROUPS = 4000
FLUSH_SECONDS = 20.0


@dataclass(slots=True)
class Damage:
    """What was found besides good records."""

    torn: int = 0
    foreign: int = 0
    duplicated: int = 0


@dataclass(slots=True)
class RecordWriter:
    """Appends the records of one stage; use it as a context manager, which flushes at the end.

    With n planned items an object holds at least n / 5000 records, so that 10⁶ shards make
    fewer than 10⁴ objects; a run of up to 5000 shards loses no finished shard when it is
    killed, a longer one the last 20 seconds at most.

    Attributes
    ----------
    blobs : Blobs
        Run folder.
    job : str
        Digest of the job.
    stage : str
        Such as ``infer`` or ``pyramid-1``.
    planned : int
        Number of items of the stage.
    attempt : str
        Sorts after every earlier attempt: begins with a UTC time.
    """

    blobs: Blobs
    job: str
    stage: str
    planned: int
    attempt: str
    _lines: list[bytes] = field(default_factory=list)
    _groups: int = 0
    _early: int = 0
    _flushed: float = field(default_factory=time.monotonic)

    def __enter__(self) -> RecordWriter:
        # An attempt may come back to a stage; what it wrote there stands and is added to.
        prefix = f"{stage_folder(self.stage)}/{self.attempt}-"
        keys = self.blobs.list(stage_folder(self.stage))
        self._groups = sum(1 for key, _ in keys if key.startswith(prefix))
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def append(self, item: int, record: dict[str, Any]) -> None:
        """Record a finished item; durable at once or within the group."""
        body = json.dumps({"item": item, **record}, separators=(",", ":")).encode()
        self._lines.append(_line_checksum(body) + b" " + body)
        if len(self._lines) >= -(-self.planned // MAX_FULL_GROUPS):
            self.flush()
        elif time.monotonic() - self._flushed > FLUSH_SECONDS and self._early < MAX_EARLY_GROUPS:
            self._early += 1
            self.flush()

    def flush(self) -> None:
        """Make every appended record durable."""
        if self._lines:
            header = {
                "schema": SCHEMA,
                "job": self.job,
                "stage": self.stage,
                "attempt": self.attempt,
            }
            data = b"\n".join([json.dumps(header).encode(), *self._lines, b""])
            self.blobs.write(
                f"{stage_folder(self.stage)}/{self.attempt}-{self._groups:06d}.jsonl", data
            )
            self._groups += 1
            self._lines.clear()
        self._flushed = time.monotonic()


@dataclass(slots=True)
class RunManifest:
    """The records of a run, read back.

    Attributes
    ----------
    blobs : Blobs
        Run folder.
    job : str
        Digest of the job; records of another are foreign.
    """

    blobs: Blobs
    job: str
    damage: Damage = field(default_factory=Damage)

    def completed(self, stage: str, planned: int) -> np.ndarray:
        """Which items of a stage have a good record; bool of shape (planned,)."""
        return self._last(stage, planned) >= 0

    def records(self, stage: str, planned: int) -> Iterator[dict[str, Any]]:
        """The record that counts of every finished item, streamed in stored order."""
        last = self._last(stage, planned)
        for place, record in self._stored(stage):
            item = record["item"]
            if 0 <= item < planned and last[item] == place:
                yield record

    def count(self, stage: str) -> int:
        """One more than the largest recorded item of a stage."""
        return 1 + max((record["item"] for _, record in self._stored(stage)), default=-1)

    def _last(self, stage: str, planned: int) -> np.ndarray:
        """Place of the record that counts of each item, -1 for none; int64, shape (planned,)."""
        self.damage = Damage()
        last = np.full(planned, -1, np.int64)
        for place, record in self._stored(stage):
            item = record["item"]
            if not 0 <= item < planned:
                self.damage.foreign += 1
                continue
            self.damage.duplicated += int(last[item] >= 0)
            last[item] = place
        return last

    def _stored(self, stage: str) -> Iterator[tuple[int, dict[str, Any]]]:
        place = 0
        for key, _ in self.blobs.list(stage_folder(stage)):
            header, *lines = self.blobs.read(key).split(b"\n")
            if not self._is_ours(header, stage):
                self.damage.foreign += 1
                continue
            for line in filter(None, lines):
                checksum, _, body = line.partition(b" ")
                if checksum != _line_checksum(body):
                    self.damage.torn += 1
                    continue
                yield place, json.loads(body)
                place += 1

    def _is_ours(self, header: bytes, stage: str) -> bool:
        try:
            fields = json.loads(header)
        except ValueError:
            return False
        return (
            isinstance(fields, dict)
            and fields.get("schema") == SCHEMA
            and fields.get("job") == self.job
            and fields.get("stage") == stage
        )


def stage_names(blobs: Blobs) -> list[str]:
    """Stages that have records in a run folder."""
    return sorted({key.split("/")[1] for key, _ in blobs.list(RECORDS)})


def stage_folder(stage: str) -> str:
    """Folder of a stage's records in the run folder."""
    return f"{RECORDS}/{stage}"


def _line_checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode()
