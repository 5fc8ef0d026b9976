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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.records import RECORDS, RecordFault, RecordLine, parse_records, stage_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage.blobs import Blobs


@dataclass(slots=True)
class Damage:
    """How much was found besides good records."""

    torn: int = 0
    foreign: int = 0
    stale: int = 0
    duplicated: int = 0


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
        keys = (key for key, _ in self.blobs.list(stage_folder(stage)))
        for key, data in self.blobs.read_each(keys):
            yield from parse_records(key, data, self.job, stage)


def stage_names(blobs: Blobs) -> list[str]:
    """Stages that have records in a run folder."""
    return sorted({key.split("/")[1] for key, _ in blobs.list(RECORDS)})
