"""Writing the records of a stage: in groups, in the background, each group whole."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storage.records import SCHEMA, line_checksum, stage_folder

if TYPE_CHECKING:
    from storage.blobs import Blobs

MAX_FULL_GROUPS = 5000
MAX_EARLY_GROUPS = 4000
FLUSH_SECONDS = 20.0
# Records, or a group of them, that may wait while another group is being written.
MAX_WAITING = 256


@dataclass(slots=True)
class RecordWriter:
    """Appends the records of one stage; use it as a context manager, which flushes at the end.

    With n planned items an object holds at least n / 5000 records, so that 10⁶ shards make
    fewer than 10⁴ objects. Objects are written one after the other in a thread: making one
    durable takes milliseconds on a disk, more on an object store, and the driver has other shards
    to look after. What comes in meanwhile goes into the next object. A run of up to 5000 shards
    loses, when it is killed, the records that are being written at that moment; a longer one
    the last 20 seconds at most.

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
    _due: bool = False
    _busy: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _writing: Future[None] | None = None

    def __enter__(self) -> RecordWriter:
        # An attempt may come back to a stage; what it wrote there stands and is added to.
        prefix = f"{stage_folder(self.stage)}/{self.attempt}-"
        keys = self.blobs.list(stage_folder(self.stage))
        self._groups = sum(1 for key, _ in keys if key.startswith(prefix))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._thread.shutdown()

    def append(self, item: int, record: dict[str, Any]) -> None:
        """Record a finished item; its object is written at once or with the group.

        Raises
        ------
        OSError
            If an object could not be written; its records are kept, and tried again by `flush`.
        """
        body = json.dumps({"item": item, **record}, separators=(",", ":")).encode()
        group = -(-self.planned // MAX_FULL_GROUPS)
        with self._lock:
            self._lines.append(line_checksum(body) + b" " + body)
            waiting = len(self._lines)
        if waiting >= group:
            self._write()
        elif time.monotonic() - self._flushed > FLUSH_SECONDS and self._early < MAX_EARLY_GROUPS:
            self._early += 1
            self._write()
        if waiting >= max(MAX_WAITING, group):
            self.wait()

    def flush(self) -> None:
        """Make every appended record durable."""
        self._write()
        self.wait()

    def wait(self) -> None:
        """Until the thread has written what it was told to.

        Raises
        ------
        OSError
            If it could not.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self) -> None:
        """Let the thread write what is there; one at work takes it with the next object."""
        self._flushed = time.monotonic()
        with self._lock:
            self._due = bool(self._lines)
            start = self._due and not self._busy
        if start:
            self.wait()
            self._busy = True
            self._writing = self._thread.submit(self._drain)

    def _drain(self) -> None:
        """Write until nothing is due."""
        while lines := self._taken():
            try:
                self._put(lines)
            except BaseException:
                with self._lock:
                    self._lines[:0] = lines
                    self._busy = False
                raise

    def _taken(self) -> list[bytes]:
        """The lines that are due; without any the thread is done."""
        with self._lock:
            lines = self._lines if self._due else []
            if lines:
                self._lines = []
            self._busy, self._due = bool(lines), False
        return lines

    def _put(self, lines: list[bytes]) -> None:
        header = {"schema": SCHEMA, "job": self.job, "stage": self.stage, "attempt": self.attempt}
        key = f"{stage_folder(self.stage)}/{self.attempt}-{self._groups:06d}.jsonl"
        self.blobs.write(key, b"\n".join([json.dumps(header).encode(), *lines, b""]))
        self._groups += 1
