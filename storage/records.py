"""One object of records, read back: what counts in it and what does not. No store is touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 1
RECORDS = "records"


@dataclass(frozen=True, slots=True)
class RecordFault:
    """A record object, or one line of it, that does not count.

    Attributes
    ----------
    kind : str
        ``torn``, ``foreign`` or ``stale``.
    key : str
        The object, relative to the run folder.
    line : int
        Line of the record; 0 is the header and stands for the whole object.
    item : int or None
        Whose record it is, where that can be told.
    reason : str
        What the record had to be.
    """

    kind: str
    key: str
    line: int = 0
    item: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A good record and its place.

    Attributes
    ----------
    key : str
        The object that holds it, relative to the run folder.
    line : int
        Its line there; the header is line 0.
    record : dict
        The record, with its ``item``.
    """

    key: str
    line: int
    record: dict[str, Any]


def parse_records(
    key: str, data: bytes, job: str, stage: str
) -> Iterator[RecordLine | RecordFault]:
    """Records of one object, and what does not count in it.

    Parameters
    ----------
    key : str
        Of the object; its name begins with the attempt that wrote it.
    data : bytes
        Its content, whatever that is.
    job, stage : str
        Of which records are wanted.
    """
    header, *lines = data.split(b"\n")
    fault = _header_fault(key, header, job, stage)
    if fault is not None:
        yield RecordFault(fault, key)
        return
    if not any(lines):
        # Nobody writes a header alone: what stood below it is cut off.
        yield RecordFault("torn", key)
    attempt = _attempt_of(key)
    for number, line in enumerate(lines, start=1):
        if line:
            yield _parse_line(key, number, line, attempt)


def _parse_line(key: str, number: int, line: bytes, attempt: str) -> RecordLine | RecordFault:
    checksum, _, body = line.partition(b" ")
    if checksum != line_checksum(body):
        return RecordFault("torn", key, number)
    record = _json(body)
    if not isinstance(record, dict) or type(record.get("item")) is not int:
        return RecordFault("foreign", key, number)
    if record.get("attempt", attempt) != attempt:
        return RecordFault("stale", key, number)
    return RecordLine(key, number, record)


def _header_fault(key: str, header: bytes, job: str, stage: str) -> str | None:
    """Why an object does not count, None if it does."""
    fields = _json(header)
    if fields is None:
        return "torn"
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        return "foreign"
    if fields.get("job") != job or fields.get("stage") != stage:
        return "foreign"
    return None if fields.get("attempt") == _attempt_of(key) else "stale"


def _attempt_of(key: str) -> str:
    """The attempt in the name ATTEMPT-NUMBER.jsonl of a record object."""
    return key.rpartition("/")[2].rpartition("-")[0]


def _json(text: bytes) -> Any:
    """A JSON value, None where there is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def line_checksum(body: bytes) -> bytes:
    """What stands in front of a record: BLAKE2b of 64 bits, in hex."""
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode()


def stage_folder(stage: str) -> str:
    """Folder of a stage's records in the run folder."""
    return f"{RECORDS}/{stage}"
