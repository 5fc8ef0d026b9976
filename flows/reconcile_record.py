"""How often a volume has failed: one small object beside its runs, put whole.

::

    IMAGE.zarr.runs/reconcile/NAME.json
    {"schema": 1, "asked": digest, "image": digest or null, "failures": 2, "error": …, "last": …}

A count belongs to what was asked and to the image as it was then: once one of them changes it
starts anew.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evidence import without_secrets
from storage.blobs import Blobs
from storage.stores import is_local, join_url

if TYPE_CHECKING:
    from datetime import datetime

    from flows.jobs import ManyVolumesJob

SCHEMA = 1
FOLDER = "reconcile"
MOST_FAILURES = 3
# Fields that say where and of what, not what with.
NOT_ASKED = frozenset(
    {
        *("target", "retry"),
        *("executor", "workers", "gpus_per_worker", "address", "memory"),
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What failures are counted of.

    Attributes
    ----------
    runs : str
        Folder of all runs over the image.
    name : str
        Of the mask volume.
    asked : str
        `asked_digest`.
    image : str or None
        Digest of the image; None where it cannot be opened.
    """

    runs: str
    name: str
    asked: str
    image: str | None

    @property
    def blobs(self) -> Blobs:
        """Folder of the record."""
        return Blobs(join_url(self.runs, FOLDER))

    @property
    def key(self) -> str:
        """The record in it."""
        return f"{self.name}.json"


def asked_digest(job: ManyVolumesJob, bundle: str) -> str:
    """Digest of what is asked for each image; workers are no part of it.

    Parameters
    ----------
    job : ManyVolumesJob
        The request.
    bundle : str
        Digest of the bundle.
    """
    asked = job.model_dump(mode="json", exclude=set(NOT_ASKED)) | {"bundle": bundle}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def failures(subject: Subject) -> tuple[int, str]:
    """How often the subject has failed in a row, and the last error."""
    record = _read(subject)
    same = (record.get("asked"), record.get("image")) == (subject.asked, subject.image)
    count = record.get("failures")
    if not same or not isinstance(count, int):
        return 0, ""
    return count, str(record.get("error"))


def note_failure(subject: Subject, error: str, now: datetime) -> None:
    """Count a failure; where nothing can be written, or no folder is, nothing is counted.

    Parameters
    ----------
    error : str
        What it was.
    now : datetime
        In UTC.
    """
    if is_local(subject.runs) and not Path(subject.runs).parent.is_dir():
        # A misspelt path of a catalog must not make folders.
        return
    fields = {
        "schema": SCHEMA,
        "asked": subject.asked,
        "image": subject.image,
        "failures": failures(subject)[0] + 1,
        "error": without_secrets(error),
        "last": now.isoformat(timespec="seconds"),
    }
    # A full disk or a store that is away is no fault of the volume.
    with suppress(OSError):
        subject.blobs.write(subject.key, json.dumps(fields).encode())


def forget_failures(subject: Subject) -> None:
    """Remove the record after a success."""
    subject.blobs.delete(subject.key)


def _read(subject: Subject) -> dict[str, Any]:
    """The record; empty if there is none that can be understood."""
    try:
        record = json.loads(subject.blobs.read(subject.key))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
