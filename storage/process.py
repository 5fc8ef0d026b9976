"""Which process this is, and whether another one on the same machine still runs.

A process id alone means little: another machine, another container or a later process may have
the same. It counts together with the boot of the machine, the namespace of process ids and the
tick at which the process started.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROC = Path("/proc")
STATE, STARTED = 0, 19
GONE = frozenset("ZX")


def this_process() -> dict[str, Any]:
    """``host``, ``boot``, ``pid`` and ``started`` of this process.

    ``boot`` is empty where the machine does not tell it; nobody judges this process then.
    """
    pid = os.getpid()
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "started": _started(pid)}


def is_running(process: Mapping[str, Any]) -> bool | None:
    """Whether a process that `this_process` described runs; None if that cannot be known here.

    A killed process that its parent has not waited for does not run any more.
    """
    boot, pid = process.get("boot"), process.get("pid")
    if not boot or boot != _boot() or not isinstance(pid, int) or pid <= 0:
        return None
    started = _started(pid)
    if started is None and _is_hidden(pid):
        return None
    return started is not None and started == process.get("started")


def _boot() -> str:
    """Boot of the machine, and the namespace in which process ids count here."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Clock ticks from the boot to the start of a process; None if it is not seen to run."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name of the program stands in brackets and may hold anything, brackets too.
    fields = text.rpartition(")")[2].split()
    return None if fields[STATE] in GONE else int(fields[STARTED])


def _is_hidden(pid: int) -> bool:
    """Whether a process is there but another user's, of whom the machine tells nothing."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
