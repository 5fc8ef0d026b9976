"""Contenders with their settings: searched on a few sections, then run in rounds."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from benchmarks.bench import ROOT, Watched, tell, watch
from benchmarks.peers import dask_overlap, keras_loops, monai_window, own, ray_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Of the voxels, what a setting must have in common with the untiled network to give its masks.
SAME = 0.999


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the table.

    Attributes
    ----------
    label : str
        As shown.
    name : str
        Of `benchmarks.peers.contender.CONTENDERS`.
    settings : dict
        What it is run with.
    searched : str
        What was found, for the table; empty where nothing was searched.
    """

    label: str
    name: str
    settings: Settings
    searched: str = ""

    @property
    def precision(self) -> str:
        """In which it computes."""
        return str(self.settings.get("precision", FLOAT32))


def run_child(spec: Spec, name: str, settings: Settings, folder: Path) -> Watched:
    """One contender in a process of its own."""
    path = folder / "spec.json"
    spec.save(path)
    threads = str(settings.get("threads", spec.threads))
    command = [sys.executable, "-m", "benchmarks.peers.contender", name, str(path)]
    # Ray's workers find this package by the path alone.
    environment = {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    return watch([*command, json.dumps(settings)], environment)


def contenders(spec: Spec, folder: Path, planes: int, reference: str) -> list[Contender]:
    """All contenders, with the best settings of those that have any.

    MONAI's fastest windows do not overlap, and show at their borders: of its settings the fastest
    of all and the fastest with the masks of the untiled network are contenders.
    """
    few = replace(spec, planes=planes, target=str(folder / "search.zarr"))

    def best(name: str, candidates: Callable[[Spec], list[Settings]]) -> Contender:
        tried = candidates(few)
        return _chosen(few, name, tried, _trials(few, folder, name, tried, reference))

    windows = monai_window.candidates(few)
    trials = _trials(few, folder, "monai", windows, reference)
    monai = _chosen(few, "monai", windows, trials)
    same = [one for one in trials if one.agreement >= SAME]
    found = [
        Contender("maskmill", "maskmill", {}),
        best("keras predict, half overlap", keras_loops.overlap_candidates),
        best("keras compiled", keras_loops.compiled_candidates),
        best("dask map_overlap", dask_overlap.candidates),
        best("ray data", ray_data.candidates),
        Contender("monai, default", "monai", monai_window.DEFAULT),
        Contender("monai, nnU-Net's setting", "monai", monai_window.NNUNET),
        replace(monai, label="monai, fastest"),
        Contender("monai, fastest, bfloat16", "monai", monai.settings | {"precision": BFLOAT16}),
    ]
    if same:
        exact = _chosen(few, "monai", windows, same)
        settings = exact.settings | {"precision": BFLOAT16}
        found += [
            replace(exact, label="monai, same masks"),
            Contender("monai, same masks, bfloat16", "monai", settings),
        ]
    if own.has_precision():
        found.insert(1, Contender("maskmill, bfloat16", "maskmill", {"precision": BFLOAT16}))
    return found


@dataclass(frozen=True, slots=True)
class _Trial:
    """One setting in the search: what it took, and the share of voxels as in the reference."""

    settings: Settings
    seconds: float
    agreement: float


def _trials(
    few: Spec, folder: Path, name: str, candidates: list[Settings], reference: str
) -> list[_Trial]:
    """Every setting on a few sections; of a quick run none."""
    found = []
    for settings in [] if few.quick else candidates:
        figures = run_child(few, name, settings, folder).figures
        same = agreement(figures["mask"], reference, few.planes)
        found.append(_Trial(settings, figures["seconds"], same))
        tell(f"search: {name} {settings}: {figures['seconds']:.3f} s, {same:.5f} the same")
    return found


def _chosen(few: Spec, name: str, candidates: list[Settings], trials: list[_Trial]) -> Contender:
    """The fastest of some settings; of a quick run the last, untried."""
    if few.quick:
        return Contender(name, name, candidates[-1], "not searched")
    chosen = min(trials, key=lambda trial: trial.seconds).settings
    shown = ", ".join(f"{key} {value}" for key, value in chosen.items())
    return Contender(name, name, chosen, f"{shown} (of {len(candidates)})")


def agreement(mask: str, reference: str, planes: int | None = None) -> float:
    """Share of voxels that two masks have in common, in the first planes or in all."""
    first, second = (zarr.open_array(place, mode="r") for place in (mask, reference))
    shares = [np.mean(first[z] == second[z]) for z in range(planes or second.shape[0])]
    return float(np.mean(shares))
