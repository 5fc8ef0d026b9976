"""Contenders with their settings: searched on a few sections, then run in rounds."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from benchmarks.bench import MEBIBYTE, ROOT, Watched, tell, watch
from benchmarks.peers import dask_overlap, keras_loops, monai_window, ray_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Of the voxels, what a setting must have in common with the untiled network to give its masks.
SAME = 0.999
# Of a plan's memory, the next budget that is tried.
LESS = 0.98


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
    peak_bytes : int
        In the search; 0 where there was none.
    """

    label: str
    name: str
    settings: Settings
    searched: str = ""
    peak_bytes: int = 0

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
    of all and the fastest with the masks of the untiled network are contenders. Of maskmill's, what
    it takes without asking, and the largest budget that stays below the peak of every peer.
    """
    few = replace(spec, planes=planes, target=str(folder / "search.zarr"))

    def best(name: str, candidates: Callable[[Spec], list[Settings]]) -> Contender:
        tried = candidates(few)
        return _chosen(few, name, tried, _trials(few, folder, name, tried, reference))

    windows = monai_window.candidates(few)
    trials = _trials(few, folder, "monai", windows, reference)
    monai = _chosen(few, "monai", windows, trials)
    same = [one for one in trials if one.agreement >= SAME]
    peers = [
        best("keras predict, half overlap", keras_loops.overlap_candidates),
        best("keras compiled", keras_loops.compiled_candidates),
        best("dask map_overlap", dask_overlap.candidates),
        best("ray data", ray_data.candidates),
    ]
    limit = min(one.peak_bytes for one in peers)
    found = [
        *_own(spec, folder, limit),
        *peers,
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
    return found


def _own(spec: Spec, folder: Path, limit: int) -> list[Contender]:
    """Ours in both precisions: as it is, and in no more memory than a peer."""
    found = []
    for label, settings in {"maskmill": {}, "maskmill, bfloat16": {"precision": BFLOAT16}}.items():
        found.append(Contender(label, "maskmill", settings))
        if limit:
            found += with_less_memory(spec, folder, found[-1], limit)
    return found


def with_less_memory(spec: Spec, folder: Path, usual: Contender, limit: int) -> list[Contender]:
    """The same with the largest budget whose peak is within a limit, if there is one."""
    few, settings = replace(spec, target=str(folder / "search.zarr")), usual.settings
    while True:
        try:
            figures = run_child(few, usual.name, settings, folder).figures
        except RuntimeError as error:
            # A budget in which nothing fits; the child has said so, or what else went wrong.
            tell(f"search: {usual.label}: no smaller budget, {error}")
            return []
        peak, budget = figures["peak_bytes"], settings.get("memory", "none")
        tell(f"search: {usual.label}, budget {budget}: {peak / MEBIBYTE:.0f} MiB")
        if peak <= limit:
            searched = f"budget {budget}"
            return [Contender(f"{usual.label}, less memory", usual.name, settings, searched, peak)]
        # What the plan needs, and a little less: another plan.
        less = int(LESS * figures["projected_bytes"] / MEBIBYTE)
        settings = settings | {"memory": f"{less}MiB"}


@dataclass(frozen=True, slots=True)
class _Trial:
    """One setting in the search: what it took, and the share of voxels as in the reference."""

    settings: Settings
    seconds: float
    agreement: float
    peak_bytes: int


def _trials(
    few: Spec, folder: Path, name: str, candidates: list[Settings], reference: str
) -> list[_Trial]:
    """Every setting on a few sections; of a quick run none."""
    found = []
    for settings in [] if few.quick else candidates:
        figures = run_child(few, name, settings, folder).figures
        same = agreement(figures["mask"], reference, few.planes)
        found.append(_Trial(settings, figures["seconds"], same, figures["peak_bytes"]))
        tell(f"search: {name} {settings}: {figures['seconds']:.3f} s, {same:.5f} the same")
    return found


def _chosen(few: Spec, name: str, candidates: list[Settings], trials: list[_Trial]) -> Contender:
    """The fastest of some settings; of a quick run the last, untried."""
    if few.quick:
        return Contender(name, name, candidates[-1], "not searched")
    fastest = min(trials, key=lambda trial: trial.seconds)
    shown = ", ".join(f"{key} {value}" for key, value in fastest.settings.items())
    searched = f"{shown} (of {len(candidates)})"
    return Contender(name, name, fastest.settings, searched, fastest.peak_bytes)


def agreement(mask: str, reference: str, planes: int | None = None) -> float:
    """Share of voxels that two masks have in common, in the first planes or in all."""
    first, second = (zarr.open_array(place, mode="r") for place in (mask, reference))
    shares = [np.mean(first[z] == second[z]) for z in range(planes or second.shape[0])]
    return float(np.mean(shares))
