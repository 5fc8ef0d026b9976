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


def contenders(spec: Spec, folder: Path, planes: int) -> list[Contender]:
    """All contenders, with the best settings of those that have any."""
    few = replace(spec, planes=planes, target=str(folder / "search.zarr"))

    def best(name: str, candidates: Callable[[Spec], list[Settings]]) -> Contender:
        return _best(few, folder, name, candidates(few))

    monai = best("monai", monai_window.candidates)
    found = [
        Contender("maskmill", "maskmill", {}),
        best("keras predict, half overlap", keras_loops.overlap_candidates),
        best("keras compiled", keras_loops.compiled_candidates),
        best("dask map_overlap", dask_overlap.candidates),
        best("ray data", ray_data.candidates),
        Contender("monai, default", "monai", monai_window.DEFAULT),
        Contender("monai, nnU-Net's setting", "monai", monai_window.NNUNET),
        replace(monai, label="monai, best"),
        Contender("monai, best, bfloat16", "monai", monai.settings | {"precision": BFLOAT16}),
    ]
    if own.has_precision():
        found.insert(1, Contender("maskmill, bfloat16", "maskmill", {"precision": BFLOAT16}))
    return found


def _best(few: Spec, folder: Path, name: str, candidates: list[Settings]) -> Contender:
    """The fastest of some settings; of a quick run the last, untried."""
    if few.quick:
        return Contender(name, name, candidates[-1], "not searched")
    seconds = []
    for settings in candidates:
        seconds.append(run_child(few, name, settings, folder).figures["seconds"])
        tell(f"search: {name} {settings}: {seconds[-1]:.3f} s")
    chosen = candidates[int(np.argmin(seconds))]
    shown = ", ".join(f"{key} {value}" for key, value in chosen.items())
    return Contender(name, name, chosen, f"{shown} (of {len(candidates)})")


def agreement(mask: str, reference: str) -> float:
    """Share of voxels that two masks have in common."""
    first, second = (zarr.open_array(place, mode="r") for place in (mask, reference))
    same = sum(int(np.count_nonzero(first[z] == second[z])) for z in range(second.shape[0]))
    return same / second.size
