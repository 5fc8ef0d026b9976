"""What a dry run says against what the run takes: real commands, each with a process of its own.

A run is its flow: a dry run cannot know how long the command and Prefect take to start. Estimate
and run follow each other, so that both meet the same machine; of several pairs the median of the
ratios counts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from tests.test_flows.conftest import make_bundle
from tests.test_flows.images import make_image, maskmill_process

PAIRS = 3
PLANES = 192
TOLERANCE = 0.15


@pytest.mark.slow
@pytest.mark.skipif(
    "MASKMILL_QUIET" not in os.environ,
    reason="measures time: set MASKMILL_QUIET=1 on a machine that does nothing else",
)
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("where", [("serial",), ("ray", "--workers", 1)], ids=lambda w: w[0])
def test_the_estimate_is_within_15_percent_of_the_run(tmp_path, where):
    ratios = [pair(*stack(tmp_path), where, tmp_path / "prefect", n) for n in range(PAIRS)]
    for name in ("total", "infer"):
        found = [ratio[name] for ratio in ratios]
        print(f"{where[0]}: estimated / measured, {name}: {[round(f, 3) for f in found]}")
        assert abs(median(found) - 1) <= TOLERANCE, ratios


def stack(folder):
    """An image and a network that work for about half a minute; made once."""
    image, bundle = folder / "stack.zarr", folder / "bundle"
    if not image.exists():
        rng = np.random.default_rng(0)
        make_image(folder, rng.integers(0, 200, (PLANES, 1024, 1024), np.uint8))
        intensity = {"rule": "percentiles", "low": 1.0, "high": 99.0}
        make_bundle(bundle, intensity, width=12, depth=3)
    return image, bundle


def pair(image, bundle, where, home, number):
    """Estimated seconds / seconds of the run, as its timings.json has them."""
    command = [image, "--model", bundle, "--memory", "3GiB", "--executor", *where]
    environment = os.environ | {"PREFECT_HOME": str(home), "XDG_CACHE_HOME": f"{home}-cache"}
    planned = maskmill_process("plan", *command, "--json", timeout=600, env=environment)
    assert planned.code == 0, planned.err
    name = f"mask{number}"
    made = maskmill_process("segment", *command, "--name", name, timeout=600, env=environment)
    assert made.code == 0, made.err
    (path,) = Path(f"{image}.runs").glob(f"{name}-*/timings.json")
    (attempt,) = json.loads(path.read_text())["attempts"]
    stages, seconds = planned.document["stages"], attempt["seconds"]
    print(json.dumps(stages), json.dumps(seconds))
    # The run's report comes after its timings, Ray starts before its flow does, and its workers
    # open the network while they infer.
    apart = stages["report"]["seconds"] + stages["start"]["cluster"]
    expected = planned.document["estimated_seconds"] - apart
    opening = stages["start"]["workers"]
    return {
        "total": expected / (sum(seconds.values()) - seconds["start"]),
        "infer": (stages["infer"]["seconds"] + opening) / seconds["infer"],
        "stages": (stages, seconds),
    }
