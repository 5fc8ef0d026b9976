"""What the benchmarks share: the machine, child processes that are watched, rounds, medians, print.

Every contender of a round runs in a process of its own, one after the other: A, B, C, A, B, C, ….
A contender prints one line of JSON on stdout; what it needs to start is its own to tell apart.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
POLL_SECONDS = 0.05
MEBIBYTE = 2**20

Figures = dict[str, Any]


def machine(packages: Sequence[str] = ()) -> Figures:
    """Processor, memory, versions and commit, for every table of figures."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = dict(_pair(line) for line in info.splitlines() if ":" in line)
    known = set(fields.get("flags", "").split())
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in known],
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "commit": _commit(),
    }


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the code, with a plus where the tree has changes; None outside a repository."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        return None
    changed = subprocess.run(
        [*git, "status", "--porcelain"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


@dataclass(frozen=True, slots=True)
class Watched:
    """A child process that has ended.

    Attributes
    ----------
    figures : dict
        The last line of its stdout.
    seconds : float
        From its start to its end.
    cpu_seconds : float
        Of the process and of the children it waited for.
    peak_bytes : dict
        Peak resident memory of each process of its tree, by command and process id.
    """

    figures: Figures
    seconds: float
    cpu_seconds: float
    peak_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def largest_bytes(self) -> int:
        """Peak of the process that needed most."""
        return max(self.peak_bytes.values(), default=0)

    @property
    def other_bytes(self) -> int:
        """Peaks of all other processes together."""
        return sum(self.peak_bytes.values()) - self.largest_bytes


def watch(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Run a command; what it printed last, its time and its memory.

    Parameters
    ----------
    command : sequence of str
        Its stderr goes where ours goes.
    environment : mapping, optional
        Beside our own.

    Raises
    ------
    RuntimeError
        If it fails or prints no JSON.
    """
    peaks: dict[str, int] = {}
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command), stdout=output, env={**os.environ, **(environment or {})}, cwd=ROOT
        )
        done = threading.Event()
        watcher = threading.Thread(target=_watch_tree, args=(process.pid, peaks, done))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            done.set()
            watcher.join()
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Watched(_last_line(text, command), seconds, usage.ru_utime + usage.ru_stime, peaks)


def _last_line(text: str, command: Sequence[str]) -> Figures:
    lines = text.strip().splitlines()
    try:
        figures: Figures = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise RuntimeError(f"{' '.join(command)} printed no line of JSON: {text[-300:]}") from error
    return figures


def _watch_tree(root: int, peaks: dict[str, int], done: threading.Event) -> None:
    """Note the peak memory of a process and its descendants until told to stop."""
    while True:
        for pid in _tree(root):
            peak = process_peak(pid)
            if peak:
                name = f"{_command(pid)} {pid}"
                peaks[name] = max(peaks.get(name, 0), peak)
        if done.wait(POLL_SECONDS):
            return


def _tree(root: int) -> list[int]:
    """A process and all below it, at this moment."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def process_peak(pid: int | str = "self") -> int:
    """Peak resident memory of a running program in bytes; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def bytes_moved() -> tuple[int, int]:
    """Bytes this process has read and written so far, by system calls on anything."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = {name: int(value) for name, value in map(_pair, lines)}
    return counts["rchar"], counts["wchar"]


def rounds(
    contenders: Mapping[str, Callable[[], Any]], count: int, tell: Callable[[str], None]
) -> dict[str, list[Any]]:
    """What every contender gives in every round; they take turns."""
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    for number in range(1, count + 1):
        for name, run in contenders.items():
            tell(f"round {number} of {count}: {name}")
            found[name].append(run())
    return found


def median(values: Sequence[float]) -> float:
    """The median, as a plain float."""
    return float(statistics.median(values))


def ratio(upper: Sequence[float], lower: Sequence[float]) -> Figures:
    """Median of the ratios of each round, with the least and the largest."""
    each = [a / b for a, b in zip(upper, lower, strict=True)]
    return {
        "median": round(median(each), 3),
        "least": round(min(each), 3),
        "most": round(max(each), 3),
    }


def tell(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as columns of text, in the order of the first row's names; numbers to the right."""
    if not rows:
        return ""
    names = list(rows[0])
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    left = [isinstance(rows[0][name], str) for name in names]
    lines = (
        "  ".join(
            text.ljust(width) if is_text else text.rjust(width)
            for text, width, is_text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in cells
    )
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def print_figures(figures: Figures, rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """One object of JSON, or the machine and a table."""
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, value in figures["machine"].items():
        sys.stdout.write(f"{name}: {value}\n")
    sys.stdout.write("\n" + table(rows))
