"""Planned against measured peak memory of a worker, for twelve plans.

Run ``python -m benchmarks.memory [--plans 0,4] [--scale 1.0] [--json]``. Each plan is a whole
``maskmill segment`` with one worker on a Ray of its own; planned is what run.json says, measured
the worker's ``VmHWM`` as its records say. Volumes are noise in a larger void, so that cells and
encoded objects are as large as those of a big stack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import machine
from benchmarks.memory.plans import MEBIBYTE, PLANS, Plan
from benchmarks.memory.scene import make_bundle, make_image, make_truth

LEAST = re.compile(r"the smallest plan needs (\d+) MiB")
TIGHT = 0.7
PACKAGES = ("maskmill", "ray", "zarr", "numpy", "tensorflow-cpu", "keras")
COLUMNS = ("name", "planned_mib", "measured_mib", "share", "shards", "tile", "batch", "seconds")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", help="numbers of the plans, from 0 on; all without")
    parser.add_argument("--scale", type=float, default=1.0, help="share of every axis")
    parser.add_argument("--executor", choices=("ray", "serial"), default="ray")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    numbers = map(int, options.plans.split(",")) if options.plans else range(len(PLANS))
    found = []
    for number in numbers:
        sys.stderr.write(f"{PLANS[number].name}\n")
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder), PLANS[number], options.scale, options.executor))
        sys.stderr.write(f"  {found[-1]}\n")
    verdict = {
        "never_exceeds": all(one["share"] <= 1 for one in found),
        "least_share": min(one["share"] for one in found),
        "tight": all(one["share"] >= TIGHT for one in found),
    }
    report = {"plans": found} | verdict | {"machine": machine(PACKAGES)}
    sys.stdout.write(json.dumps(report) + "\n" if options.json else _text(report))


def measure(folder: Path, plan: Plan, scale: float, executor: str) -> dict[str, Any]:
    """Segment one plan; what was planned, what was measured.

    Parameters
    ----------
    folder : Path
        Empty.
    plan : Plan
        What is segmented.
    scale : float
        Share of every axis that is segmented.
    executor : "ray" or "serial"
        Where.
    """
    shape = plan.scaled(scale)
    image = make_image(folder, plan, shape)
    if plan.truth:
        make_truth(image, plan.classes, shape)
    model = make_bundle(folder, plan) if plan.network else "identity"
    request = [image, "--model", model, "--name", "mask", "--executor", executor]
    request += ["--workers", "1", "--region", _region(shape)]
    request += ["--truth", "truth"] * plan.truth + ["--probabilities"] * plan.probabilities
    budget = plan.budget or _least(request, folder)
    started = time.perf_counter()
    done = _maskmill(folder, "segment", *request, "--memory", str(budget))
    if done.returncode:
        raise RuntimeError(f"{plan.name}: {done.stderr[-2000:]}")
    (run,) = Path(f"{image}.runs").glob("mask-*")
    return _figures(plan, run) | {"seconds": round(time.perf_counter() - started, 1)}


def _figures(plan: Plan, run: Path) -> dict[str, Any]:
    (attempt,) = json.loads((run / "timings.json").read_text())["attempts"]
    document = json.loads((run / "run.json").read_text())["plan"]
    planned, measured = attempt["projected_bytes"], attempt["peak_bytes"]
    return {
        "name": plan.name,
        "planned_mib": round(planned / MEBIBYTE),
        "measured_mib": round(measured / MEBIBYTE),
        "share": round(measured / planned, 3),
        "shards": attempt["shards"],
        "shard": document["shard_shape"],
        "tile": document["tiling"]["tile"],
        "batch": document["batch"],
    }


def _least(request: list[str], folder: Path) -> int:
    """Bytes of the smallest budget that is enough, as the refusal of a smaller one says."""
    refused = _maskmill(folder, "segment", *request, "--memory", "1MiB")
    found = LEAST.search(refused.stderr)
    if found is None:
        raise RuntimeError(f"a budget of 1 MiB was not refused: {refused.stderr[-2000:]}")
    return int(found[1]) * MEBIBYTE


def _maskmill(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with a Prefect of its own."""
    program = Path(sys.executable).parent / "maskmill"
    home = {"PREFECT_HOME": str(folder / "prefect")}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=os.environ | home
    )


def _region(shape: tuple[int, ...]) -> str:
    return ",".join(f"{axis}=0:{size}" for axis, size in zip("zyx", shape, strict=True))


def _text(report: dict[str, Any]) -> str:
    """A table of the plans, and the verdict."""
    rows = [COLUMNS, *([str(one[c]) for c in COLUMNS] for one in report["plans"])]
    lines = [" | ".join(row) for row in rows]
    verdict = {key: value for key, value in report.items() if key != "plans"}
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in verdict.items()), ""])


if __name__ == "__main__":
    main()
