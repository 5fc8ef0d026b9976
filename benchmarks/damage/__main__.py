"""Planted damage: every one has to be found, every byte restored, and nothing else be made again.

Run ``python -m benchmarks.damage --seed 1 --out FOLDER [--damages 60]``. One line a damage goes
to ``FOLDER/damages.jsonl``; the table is printed at the end. Exit code 1 if any damage was not
found or not mended.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import cycle, islice
from pathlib import Path

from benchmarks.damage.plants import PLANTS
from benchmarks.damage.scene import make_scene
from benchmarks.damage.trial import Trial, copy_of, try_damage


def main() -> int:
    """Plant, tell, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damages", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scene = make_scene(options.out / "scene")
    trials = []
    with (options.out / "damages.jsonl").open("w") as log:
        for number, plant in enumerate(islice(cycle(PLANTS), options.damages)):
            copy = copy_of(scene, options.out / "copy")
            trials.append(try_damage(copy, plant, number // len(PLANTS), options.seed))
            log.write(json.dumps(trials[-1].to_dict()) + "\n")
            log.flush()
    sys.stdout.write(table(trials))
    return 0 if all(trial.passed for trial in trials) else 1


def table(trials: list[Trial]) -> str:
    """Trials by kind, as Markdown."""
    lines = [
        "| damage | planted | found | bytes restored | made again | nothing else |",
        "|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(trial.kind for trial in trials):
        lines.append(_row(kind, [trial for trial in trials if trial.kind == kind]))
    seconds = sum(trial.seconds for trial in trials)
    return "\n".join([*lines, _row("all", trials), "", f"{seconds:.0f} s in all", ""])


def _row(name: str, trials: list[Trial]) -> str:
    total = len(trials)
    counts = [
        total,
        f"{sum(t.found for t in trials)} of {total}",
        f"{sum(t.restored and t.sound for t in trials)} of {total}",
        sum(t.recomputed for t in trials),
        f"{sum(t.exact for t in trials)} of {total}",
    ]
    return f"| {name.replace('_', ' ')} | {' | '.join(map(str, counts))} |"


if __name__ == "__main__":
    sys.exit(main())
