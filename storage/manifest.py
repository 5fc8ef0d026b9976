"""Durable records of finished work: what makes a run resumable and auditable.

Records are grouped into objects of text lines, each object written once and whole::

    records/infer/20261121T050149-1f0c9a7e-000003.jsonl
        {"schema": 1, "job": "…", "stage": "infer", "attempt": "…"}        header
        9f2c41d07b6e5a10 {"item": 17, "objects": […], …}                   checksum, record

A line whose checksum does not fit is torn and does not count; an object of another job is
foreign and does not count; one under the name of another attempt than its header tells is stale
and does not count; of two records of one item the later attempt's counts.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.records import SCHEMA, RecordFault, RecordLine, line_checksum, parse_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage.blobs import Blobs

RECORDS = "records"
MAX_FULL_GROUPS = 5000
MAX_EARLY_GROUPS = 4000
FLUSH_SECONDS = 20.0


@dataclass(slots=True)
class Damage:
    """How much was found besides good records."""

    torn: int = 0
    foreign: int = 0
    stale: int = 0
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
        self._lines.append(line_checksum(body) + b" " + body)
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
        return (line.record for line in self.lines(stage, planned))

    def lines(
        self, stage: str, planned: int, fits: Callable[[dict[str, Any]], bool] | None = None
    ) -> Iterator[RecordLine]:
        """The same records with their places; of those only that fit, if that is asked for."""
        last = self._last(stage, planned, fits)
        for place, line in enumerate(self._stored(stage)):
            item = line.record["item"]
            if 0 <= item < planned and last[item] == place:
                yield line

    def count(self, stage: str) -> int:
        """One more than the largest recorded item of a stage."""
        return 1 + max((line.record["item"] for line in self._stored(stage)), default=-1)

    def entries(self, stage: str, planned: int) -> Iterator[RecordLine | RecordFault]:
        """Every record of a stage, superseded ones too, and what does not count among them."""
        for found in self._read(stage):
            if isinstance(found, RecordLine) and not 0 <= found.record["item"] < planned:
                yield RecordFault("foreign", found.key, found.line)
            else:
                yield found

    def faults(self, stage: str, planned: int) -> Iterator[RecordFault]:
        """What does not count among the records of a stage; a repeated record is no fault."""
        return (e for e in self.entries(stage, planned) if isinstance(e, RecordFault))

    def remove(self, key: str, lines: frozenset[int]) -> None:
        """Take lines out of a record object; all of it if line 0 or every record is among them."""
        header, *records = self.blobs.read(key).split(b"\n")
        kept = [line for n, line in enumerate(records, start=1) if line and n not in lines]
        if 0 in lines or not kept:
            self.blobs.delete(key)
        else:
            self.blobs.write(key, b"\n".join([header, *kept, b""]))

    def _last(
        self, stage: str, planned: int, fits: Callable[[dict[str, Any]], bool] | None = None
    ) -> np.ndarray:
        """Place of the record that counts of each item, -1 for none; int64, shape (planned,)."""
        self.damage = Damage()
        last = np.full(planned, -1, np.int64)
        place = 0
        for found in self._read(stage):
            if isinstance(found, RecordFault):
                setattr(self.damage, found.kind, getattr(self.damage, found.kind) + 1)
                continue
            item = found.record["item"]
            if not 0 <= item < planned:
                self.damage.foreign += 1
            elif fits is None or fits(found.record):
                self.damage.duplicated += int(last[item] >= 0)
                last[item] = place
            place += 1
        return last

    def _stored(self, stage: str) -> Iterator[RecordLine]:
        return (found for found in self._read(stage) if isinstance(found, RecordLine))

    def _read(self, stage: str) -> Iterator[RecordLine | RecordFault]:
        for key, _ in self.blobs.list(stage_folder(stage)):
            yield from parse_records(key, self.blobs.read(key), self.job, stage)


def stage_names(blobs: Blobs) -> list[str]:
    """Stages that have records in a run folder."""
    return sorted({key.split("/")[1] for key, _ in blobs.list(RECORDS)})


def stage_folder(stage: str) -> str:
    """Folder of a stage's records in the run folder."""
    return f"{RECORDS}/{stage}"
