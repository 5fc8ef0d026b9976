"""The fault matrix: faults planted in a clean pipeline, and what the audit says of each.

Run ``python -m benchmarks.faults [--only CODE …] [--quick] [--json]``. A small network is trained
on synthetic tissue, segments a stack and is scored; each fault is planted in a copy of that and
audited, and so are clean pipelines. The detection matrix goes to stdout, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.faults.fault import CleanPipeline, Detection, Fault, detect, disturbances
from benchmarks.faults.matrix import CLEAN, FAULTS, markdown
from benchmarks.faults.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> int:
    """Plant, audit, print; 1 if a fault is not detected or a clean pipeline is disturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=(), metavar="CODE", help="faults of these")
    parser.add_argument("--quick", action="store_true", help="leave out what needs the network")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    faults = [f for f in FAULTS if _wanted(f, options.only, quick=options.quick)]
    clean = [c for c in CLEAN if not options.only and (c.quick or not options.quick)]
    if not faults:
        parser.error(f"no fault has one of the codes {', '.join(options.only)}")
    with tempfile.TemporaryDirectory() as folder:
        detections, disturbed = run_all(Path(folder), faults, clean)
    sys.stdout.write(
        json.dumps(document(detections, disturbed)) + "\n"
        if options.json
        else markdown(detections, disturbed)
    )
    return int(not all(d.detected for d in detections) or any(disturbed.values()))


def _wanted(fault: Fault, codes: Sequence[str], *, quick: bool) -> bool:
    return (not codes or fault.code in codes) and (fault.quick or not quick)


def run_all(
    folder: Path, faults: Sequence[Fault], clean: Sequence[CleanPipeline]
) -> tuple[list[Detection], dict[str, list[str]]]:
    """All detections, and what was found on clean pipelines; each has a folder of its own."""
    pipeline = Pipeline(_made(folder / "pipeline"))
    detections = []
    for number, fault in enumerate(faults):
        started = time.perf_counter()
        detections.append(detect(fault, pipeline, _made(folder / f"fault-{number}")))
        _tell(fault.name, detections[-1].detected, started)
    disturbed = {}
    for number, one in enumerate(clean):
        started = time.perf_counter()
        disturbed[one.name] = disturbances(one, pipeline, _made(folder / f"clean-{number}"))
        _tell(one.name, not disturbed[one.name], started)
    return detections, disturbed


def document(detections: Sequence[Detection], disturbed: dict[str, list[str]]) -> dict[str, Any]:
    """Plain form, for JSON."""
    rows = [
        {
            "room": d.fault.room,
            "fault": d.fault.name,
            "code": d.fault.code,
            "severity": d.fault.severity,
            "detected": d.detected,
            "place": d.place,
            "statement": d.statement,
        }
        for d in detections
    ]
    return {"faults": rows, "clean": disturbed}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _tell(name: str, right: bool, started: float) -> None:
    seconds = time.perf_counter() - started
    sys.stderr.write(f"{'right' if right else 'WRONG'}  {seconds:6.1f} s  {name}\n")


if __name__ == "__main__":
    sys.exit(main())
