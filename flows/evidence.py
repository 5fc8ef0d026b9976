"""What is known of a failure beyond its message: the traceback, and the end of the worker's log.

It goes into the run's folder, which others may read: it is kept short, and what looks like a
credential is blotted out.
"""

from __future__ import annotations

import os
import re
import socket
import traceback
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 4096
BLOT = "***"
SHORTEST_SECRET = 6
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|AUTH|CONNECTION_STRING")
_SECRETS = (
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"(?<=\?)[^\s'\"]*(?:sig|signature|token|credential|key)[^\s'\"]*", re.IGNORECASE),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"),
    re.compile(r"(?<=authorization)\W+[^\n]+", re.IGNORECASE),
    re.compile(r"(?<=bearer )\S+", re.IGNORECASE),
    re.compile(
        r"(?:secret|token|passw(?:or)?d|access_?key|api_?key)\w*['\"]?\s*[=:]\s*\S+", re.IGNORECASE
    ),
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a failure left behind.

    Attributes
    ----------
    cause : str
        ``error`` where the work raised one, ``worker died`` where its process ended.
    process : str
        Host and process id.
    traceback : str
        Of the error; its end, if it is long.
    log : str
        Last lines that the worker wrote.
    """

    cause: str
    process: str
    traceback: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A worker, as it tells the driver before it starts to work.

    Attributes
    ----------
    host : str
        Name of its machine.
    pid : int
        Its process id there.
    logs : str
        Folder of the logs of all workers on that machine.
    """

    host: str
    pid: int
    logs: str

    @classmethod
    def here(cls, logs: str) -> Whereabouts:
        """Those of this process."""
        return cls(socket.gethostname(), os.getpid(), logs)

    @property
    def process(self) -> str:
        """Host and process id."""
        return f"{self.host} {self.pid}"

    def last_lines(self) -> str:
        """The end of what it wrote, if its logs can be read from here; its errors last."""
        if self.host != socket.gethostname():
            return f"on {self.host}: {self.logs}/worker-*-{self.pid}.err"
        parts = [
            _end_of(path)
            for ending in ("out", "err")
            for path in sorted(Path(self.logs).glob(f"worker-*-{self.pid}.{ending}"))
        ]
        return shortened("\n".join(filter(None, parts)))


def evidence_of(error: BaseException, worker: Whereabouts | None = None) -> Evidence:
    """The evidence of an error in this process.

    Parameters
    ----------
    error : BaseException
        With its traceback.
    worker : Whereabouts, optional
        Of this process, if it writes a log.
    """
    text = shortened("".join(traceback.format_exception(error)))
    place = worker or Whereabouts.here("")
    return Evidence("error", place.process, text, worker.last_lines() if worker else "")


def evidence_of_death(worker: Whereabouts | None) -> Evidence:
    """The evidence of a worker that is gone."""
    if worker is None:
        return Evidence("worker died", "")
    return Evidence("worker died", worker.process, log=worker.last_lines())


def shortened(text: str) -> str:
    """The end of a text, without secrets."""
    data = without_secrets(text).encode()
    return data[-LIMIT_BYTES:].decode(errors="ignore")


def without_secrets(text: str) -> str:
    """A text in which this process's credentials, and what looks like some, are blotted out."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST_SECRET and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, BLOT)
    for pattern in _SECRETS:
        text = pattern.sub(BLOT, text)
    return text


def _end_of(path: Path) -> str:
    """The last lines of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LIMIT_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
