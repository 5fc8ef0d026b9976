"""The model against what was measured, and from there to 10¹² voxels.

Figures of the driver and of two workers come from this machine. What only a cluster with GPUs
could show is assumed, and is called so in what is printed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.scale.model import Load, Parts, estimate, scaled

PLENTY = 1e15
TERA = 1e12
CROWD = (1, 8, 64, 512)
# A shard of a big volume: eight write-grid cells of 32 MiB.
SHARD_VOXELS = 2.0**28
# Not measured: what a current data-centre GPU and an object store may give. Change them at will.
ASSUMED = {
    "device_voxels": 5e7,
    "host_voxels": 2e8,
    "worker_bytes": 5e8,
    "store_bytes": 2e10,
    "pyramid_voxels": 2e8,
    "verify_bytes": 5e8,
    "start_seconds": 60.0,
}
ASSUMED_LOAD = {"amplification": 1.3, "read_bytes": 1.0, "written_bytes": 0.1}


def check_and_extrapolate(figures: dict[str, Any]) -> dict[str, Any]:
    """What the model says of the measured points, and of more.

    Parameters
    ----------
    figures : dict
        What ``driver`` and, for a check, ``workers`` printed, by part.
    """
    runs = figures["driver"]["runs"]
    found: dict[str, Any] = {
        "driver_check": [_driver_check(runs[0], runs[1], one) for one in runs[2:]]
    }
    if "workers" in figures:
        found["workers_check"] = _workers_check(figures["workers"])
    driver = {
        f"{part}_seconds": seconds / runs[-1]["shards"]
        for part, seconds in _driver_seconds(runs[-1]).items()
    }
    parts = Parts(**ASSUMED, **driver)
    load = Load(TERA, SHARD_VOXELS, workers=1, **ASSUMED_LOAD)
    found["assumed"] = ASSUMED | ASSUMED_LOAD
    found["shards"] = load.shards
    found["by_workers"] = {
        count: _told(one, count) for count, one in scaled(parts, load, CROWD).items()
    }
    return found


def _driver_seconds(run: dict[str, Any]) -> dict[str, float]:
    """Seconds of the driver, by the parts of the model."""
    last = ("aggregate", "timings", "verify")
    return {
        "driver": run["record"]["seconds"],
        "plan": run["plan"]["seconds"],
        "end": sum(run[name]["seconds"] for name in last),
    }


def _driver_check(
    small: dict[str, Any], large: dict[str, Any], other: dict[str, Any]
) -> dict[str, Any]:
    """What two runs predict of a larger one: a fixed part, and one that grows with the shards."""
    first, second, measured = map(_driver_seconds, (small, large, other))
    share = (other["shards"] - small["shards"]) / (large["shards"] - small["shards"])
    predicted = {part: first[part] + share * (second[part] - first[part]) for part in first}
    return {"shards": other["shards"]} | {
        part: {
            "predicted_s": predicted[part],
            "measured_s": measured[part],
            "ratio": predicted[part] / measured[part],
        }
        for part in measured
    }


def _workers_check(figures: dict[str, Any]) -> dict[str, float]:
    """What one worker's rate predicts of two: twice as much, as nothing else is in the way."""
    amplification = figures["amplification"]
    parts = Parts(
        device_voxels=figures["one_voxels_per_s"] * amplification,
        **dict.fromkeys(("host_voxels", "worker_bytes", "store_bytes"), PLENTY),
        **dict.fromkeys(("driver_seconds", "end_seconds", "plan_seconds"), 0.0),
        **dict.fromkeys(("pyramid_voxels", "verify_bytes"), PLENTY),
        start_seconds=0.0,
    )
    voxels = figures["shards"] * figures["shard_voxels"]
    load = Load(voxels, figures["shard_voxels"], amplification, 0.0, 0.0, workers=2)
    predicted = voxels / estimate(parts, load).total
    measured = figures["strong_voxels_per_s"]
    return {
        "predicted_voxels_per_s": predicted,
        "measured_voxels_per_s": measured,
        "ratio": predicted / measured,
    }


def _told(found: Any, workers: int) -> dict[str, Any]:
    hours = found.total / 3600
    return asdict(found) | {"hours": hours, "worker_hours": hours * workers}
