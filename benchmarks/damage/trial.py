"""One damage: planted in a copy, looked for, mended, and compared with what was there before."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.damage.scene import NAME, Scene
from flows.check import verify_labels
from flows.errors import VerificationError
from flows.jobs import RepairJob, VerifyJob
from flows.repair import repair_labels

if TYPE_CHECKING:
    from benchmarks.damage.plants import Planted


@dataclass(frozen=True)
class Trial:
    """What came of one damage.

    Attributes
    ----------
    kind : str
        Of the damage.
    number : int
        Which of its kind.
    damaged : list of str
        Objects that were damaged, and items whose record was.
    found : bool
        Whether the verification named them and nothing else.
    restored : bool
        Whether every byte of the mask is what it was.
    recomputed : int
        Shards and cells that were made again.
    exact : bool
        Whether these are the damaged ones and no others.
    sound : bool
        Whether a verification after the repair finds nothing.
    seconds : float
        Of verification and repair.
    """

    kind: str
    number: int
    damaged: list[str]
    found: bool
    restored: bool
    recomputed: int
    exact: bool
    sound: bool
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all of it is as it should be."""
        return self.found and self.restored and self.exact and self.sound

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return asdict(self) | {"passed": self.passed}


def copy_of(scene: Scene, folder: Path) -> Scene:
    """The same scene in another folder; times are kept, as they belong to the image's digest."""
    source = Path(scene.image).parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)

    def moved(path: Path) -> Path:
        return folder / path.relative_to(source)

    return Scene(
        str(moved(Path(scene.image))), moved(scene.label), moved(scene.run), moved(scene.other)
    )


def try_damage(scene: Scene, plant: Any, number: int, seed: int) -> Trial:
    """Plant one damage, verify, repair, verify.

    Parameters
    ----------
    scene : Scene
        A copy, to be damaged.
    plant : callable
        One of `benchmarks.damage.plants.PLANTS`.
    number, seed : int
        Which of its kind, of which series.
    """
    before, attempts = scene.digests(), scene.attempts()
    place = np.random.default_rng([seed, number, *plant.__name__.encode()])
    planted: Planted = plant(scene, place)
    started = time.perf_counter()
    problems = _verify(scene)
    repair_labels(RepairJob(image=scene.image, labels=NAME, executor="serial"))
    seconds = round(time.perf_counter() - started, 2)
    redone = scene.recorded_by(scene.attempts() - attempts)
    return Trial(
        plant.__name__,
        number,
        sorted(planted.keys) or [f"{stage} {item}" for stage, item in sorted(planted.lost)],
        _is_found(planted, problems),
        scene.digests() == before,
        len(redone),
        redone == {(stage, item) for stage, item in planted.lost if stage != "metadata"},
        _verify(scene) == [],
        seconds,
    )


def _verify(scene: Scene) -> list[dict[str, Any]]:
    job = VerifyJob(image=scene.image, labels=NAME)
    try:
        result = verify_labels(job)
    except VerificationError as error:
        result = error.result
    problems: list[dict[str, Any]] = result["problems"]
    return problems


def _is_found(planted: Planted, problems: list[dict[str, Any]]) -> bool:
    """Whether every damaged object and item is named, and no other item."""
    named = {problem["key"] for problem in problems}
    of_objects = [p for p in problems if p["kind"].endswith("record") == (p["kind"] == "no record")]
    items = {(p["stage"], p.get("shard", p.get("item"))) for p in of_objects if "stage" in p}
    return planted.keys <= named and items == planted.lost
