"""Histories that `maskmill train` would leave of trainings with a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.faults.logs import own_curves, own_log

if TYPE_CHECKING:
    from collections.abc import Callable


def over_fitted() -> str:
    """Training goes on rising after epoch 10, validation falls."""
    curves = own_curves()
    time = np.arange(len(curves["val"]))
    falling = 0.012 * np.maximum(0, time - 10)
    for name in ("val", "val_batchstats"):
        curves[name] = (np.array(curves[name]) - falling).tolist()
    for name in ("train_eval", "train_running"):
        curves[name] = (np.array(curves[name]) + 0.06 * time / len(time)).tolist()
    return own_log(curves)


def jumping(*names: str) -> Callable[[], str]:
    """These curves jump from epoch to epoch, all by the same amount."""

    def text() -> str:
        curves = own_curves()
        jumps = 0.06 * np.random.default_rng(3).standard_normal(len(curves["val"]))
        for name in names:
            curves[name] = np.clip(np.array(curves[name]) + jumps, 0, 1).tolist()
        return own_log(curves)

    return text


def unfinished() -> str:
    """Stopped while validation was still rising."""
    curves = own_curves()
    rise = np.linspace(0.1, 0.75, len(curves["val"]))
    noise = 0.004 * np.random.default_rng(4).standard_normal(len(rise))
    return own_log({name: (rise + noise).tolist() for name in curves})
