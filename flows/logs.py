"""Logs that a machine can read: one JSON object a line, only where they are asked for.

With ``MASKMILL_LOG=json`` in the environment the command, flows and workers write a line for
every event to stderr; without it they stay quiet. Fields that hold for a stretch of work, such
as its run, are given once, by `log_fields`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from flows.errors import RequestError
from flows.evidence import shortened, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "MASKMILL_LOG"
JSON = "json"
PACKAGES = ("flows", "segmentation", "storage")
# Prefect gives the id of a flow run to the process that it starts for it.
FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"

_ORDINARY = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
_FIELDS: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("fields", default=())


@contextmanager
def log_fields(**fields: Any) -> Iterator[None]:
    """Add fields to every line of this thread for the time of a block; inner ones win."""
    token = _FIELDS.set(tuple((current_fields() | fields).items()))
    try:
        yield
    finally:
        _FIELDS.reset(token)


def current_fields() -> dict[str, Any]:
    """The fields that hold here; for a worker, which is to have them too."""
    return dict(_FIELDS.get())


def is_logging(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether lines of JSON are asked for.

    Raises
    ------
    RequestError
        If something else is.
    """
    kind = environment.get(VARIABLE, "")
    if kind not in ("", JSON):
        raise RequestError(f"{VARIABLE} is {kind!r}; expected {JSON}, or no such variable")
    return kind == JSON


def start_logs(stream: TextIO | None = None) -> None:
    """Let our packages write lines of JSON; a second call changes nothing.

    Parameters
    ----------
    stream : text file, optional
        Where to; stderr by default.
    """
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
            continue
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        # What the root logger writes is for people, and would say everything twice.
        logger.propagate = False


class JsonLines(logging.Formatter):
    """An event as one line of JSON.

    Every line has ``time`` (UTC), ``level``, ``logger``, ``event``, ``message``, ``host`` and
    ``pid``; then come the fields of the stretch of work and those of the event itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._place = {"host": socket.gethostname(), "pid": os.getpid()}
        flow_run = os.environ.get(FLOW_RUN_VARIABLE)
        if flow_run:
            self._place["flow_run"] = flow_run

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without a line break."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        own = {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        line = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": own.pop("event", "message"),
            "message": record.getMessage(),
            **self._place,
            **current_fields(),
            **own,
        }
        if record.exc_info:
            line["traceback"] = shortened(self.formatException(record.exc_info))
        return json.dumps({key: _clean(value) for key, value in line.items()}, default=str)


def _clean(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value
