"""Where the seconds of a short command go: ``maskmill segment`` on a tiny stack, stage by stage.

Run ``python -m benchmarks.startup [--rounds 5] [--json]``. The serial executor and Ray take turns,
each command with ``--force``, so that all of them make the same mask anew; one command of each
before the first round warms the disk cache and makes Prefect's database. The times are those that
the command itself tells: its lines of log (``MASKMILL_LOG=json``) say when something was there,
its result what each stage took; start and end of the process are seen from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import bench
from storage.convert import import_image, import_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

MASKMILL = Path(sys.executable).with_name("maskmill")
CLASSES = ("background", "membrane", "synapse")
SHAPE = (4, 256, 256)
EXECUTORS = ("serial", "ray")
TARGETS = {"serial": 15.0, "ray": 25.0}
COMMAND_SECONDS = 900.0
# Names of none of these: the command is to find neither a server nor a cluster.
NAMED = ("PREFECT_API_URL", "PREFECT_PROFILE", "RAY_ADDRESS")
# When something was there, counted from the start of the process; several go on side by side.
MOMENTS = {
    "process started": "command-began",
    "request checked": "request-checked",
    "Prefect imported": "flow-imported",
    "server answers": "server-ready",
    "Ray is ready": "cluster-ready",
    "planned": "stage-started",
    "network loaded": "worker-opened",
    "first shard": "shard-done",
    "all shards": "stage-ended",
    "masks published": "published",
    "flow ended": "flow-ended",
    "all stopped": "command-ended",
}
EXITED = "exited"
CPU = "CPU, command and server"
STAGES = ("start", "plan", "infer", "pyramid", "verify", "aggregate", "publish", "report")

Seconds = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        scene.make()
        for executor in EXECUTORS:
            bench.tell(f"warming up: {executor}")
            scene.command(executor)
        contenders = {name: lambda name=name: scene.command(name) for name in EXECUTORS}
        found = bench.rounds(contenders, options.rounds, bench.tell)
    figures = summary(found) | {"machine": bench.machine(("prefect", "ray", "tensorflow-cpu"))}
    bench.print_figures(figures, rows(figures), as_json=options.json)


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder with a tiny stack and a tiny network.

    Attributes
    ----------
    folder : Path
        Empty at first.
    """

    folder: Path

    def make(self) -> None:
        """Write stack, truth and bundle."""
        from segmentation.bundle import ClassInfo, save_bundle
        from segmentation.networks.unet import build_unet
        from segmentation.packing import make_card

        voxels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
        image = str(self.folder / "stack.zarr")
        np.save(self.folder / "stack.npy", voxels)
        np.save(self.folder / "truth.npy", voxels // 86)
        import_image([str(self.folder / "stack.npy")], image, axes="zyx")
        truth = [str(self.folder / "truth.npy")]
        import_labels(truth, image, name="truth", classes=CLASSES, axes="zyx")
        model = build_unet("yx", channels=1, num_classes=3, width=4, depth=2, seed=1)
        classes = [ClassInfo(i, name, (80 * i, 90, 160, 255)) for i, name in enumerate(CLASSES)]
        rule = {"rule": "percentiles", "low": 1.0, "high": 99.0}
        card = make_card(model, classes, axes="yx", intensity=rule)
        (self.folder / "bundle").mkdir()
        save_bundle(self.folder / "bundle", model, card)

    def command(self, executor: str) -> Seconds:
        """Segment the stack; the moments of the command and the seconds of its stages.

        Raises
        ------
        RuntimeError
            If the command fails.
        """
        request = ["--model", "bundle", "--name", "cells", "--truth", "truth", "--force", "--json"]
        environment = {k: v for k, v in os.environ.items() if k not in NAMED}
        environment |= {"PREFECT_HOME": str(self.folder / "prefect"), "MASKMILL_LOG": "json"}
        began, before = time.time(), os.times()
        done = subprocess.run(
            [str(MASKMILL), "segment", "stack.zarr", *request, "--executor", executor],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        ended, after = time.time(), os.times()
        if done.returncode:
            raise RuntimeError(f"segment ended with exit code {done.returncode}: {done.stderr}")
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        found = moments(done.stderr, began) | stages(json.loads(done.stdout))
        return found | {EXITED: ended - began, CPU: spent}


def moments(log: str, began: float) -> Seconds:
    """When something was there first, in seconds after the begin, from lines of JSON.

    Parameters
    ----------
    log : str
        What the command wrote on stderr; other lines are passed over.
    began : float
        When its process was started, as `time.time` gives it.
    """
    first: Seconds = {}
    for line in log.splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            when = datetime.fromisoformat(event["time"]).timestamp()
            first.setdefault(event["event"], when - began)
    return {name: first[event] for name, event in MOMENTS.items() if event in first}


def stages(result: Mapping[str, Any]) -> Seconds:
    """Seconds of each stage, from the result of the command."""
    return {f"stage {name}": float(result["seconds"][name]) for name in STAGES}


def summary(found: Mapping[str, list[Seconds]]) -> dict[str, Any]:
    """Median of every figure for each executor, and whether the targets are met."""
    figures: dict[str, Any] = {"rounds": {name: len(runs) for name, runs in found.items()}}
    for executor, runs in found.items():
        names = [*MOMENTS, EXITED, CPU, *(f"stage {name}" for name in STAGES)]
        figures[executor] = {
            name: round(bench.median([one[name] for one in runs]), 2)
            for name in names
            if all(name in one for one in runs)
        }
        figures[executor]["target"] = TARGETS[executor]
    return figures


def rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for every figure, a column for every executor."""
    names = dict.fromkeys(name for executor in EXECUTORS for name in figures[executor])
    order = [*MOMENTS, EXITED, "target", CPU, *(f"stage {name}" for name in STAGES)]
    return [
        {"seconds": name} | {executor: figures[executor].get(name) for executor in EXECUTORS}
        for name in order
        if name in names
    ]


if __name__ == "__main__":
    main()
