"""What is stored against what is recorded: of a run before it is published, or of any mask.

Records are checked against the plan, the folder's listing against the cells that the region
touches, and the bytes of every object (or of a sample) against their checksums. A voxel that no
record covers would read as background, so every item of every stage has to have a record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.record_check import fitting, record_problems
from flows.recorded_mask import is_kept
from flows.run import INFER
from flows.staging import METADATA_STAGE
from flows.work import PROBABILITIES
from storage.verify import Listing, Problem, check_objects, in_sample, list_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.recorded_mask import RecordedMask, RecordedStage
    from storage.graphs import Scheduler

PROBLEMS_SHOWN = 3
NO_RECORD = "no record"


@dataclass(frozen=True, slots=True)
class Sample:
    """Which objects are read; the others are looked up in the listing.

    Attributes
    ----------
    share : float
        Of the objects, in (0, 1].
    seed : int
        Which ones.
    """

    share: float = 1.0
    seed: int = 0


@dataclass(slots=True)
class Inspection:
    """What a verification has found.

    Attributes
    ----------
    problems : list of Problem
        Of records, then of objects stage by stage, then objects that belong to nothing.
    objects : dict of str to int
        Recorded objects by stage.
    checked : int
        Objects whose bytes were read.
    """

    problems: list[Problem] = field(default_factory=list)
    objects: dict[str, int] = field(default_factory=dict)
    checked: int = 0

    def items(self, stage: str) -> frozenset[int]:
        """Items of a stage that have no record, or objects that are not what it says."""
        return frozenset(
            problem.item
            for problem in self.problems
            if problem.stage == stage and problem.item is not None and not problem.of_record
        )

    def message(self) -> str:
        """One line for what was found."""
        shown = "; ".join(map(str, self.problems[:PROBLEMS_SHOWN]))
        return f"{len(self.problems)} stored objects disagree with the records: {shown}"


def inspect(mask: RecordedMask, scheduler: Scheduler, sample: Sample | None = None) -> Inspection:
    """Check records, listing and bytes of a mask.

    Parameters
    ----------
    mask : RecordedMask
        What has to be there.
    scheduler : str or callable
        What ``dask.compute`` takes; objects are read where its tasks run.
    sample : Sample, optional
        Objects to read; all of them without it.
    """
    found = Inspection(list(record_problems(mask)))
    reader = _Reader(mask, scheduler, sample or Sample(), found, *_listings(mask))
    for stage in mask.stages():
        found.problems += reader.problems(stage)
    found.problems = _with_swaps(mask, found.problems)
    for key in (*reader.label.strays, *reader.kept.strays):
        found.problems.append(Problem("foreign", key, detail="no record names it"))
    return found


def _listings(mask: RecordedMask) -> tuple[Listing, Listing]:
    """What the label's folder holds, and the probabilities in the run's."""
    ours = [key for key in mask.metadata if not is_kept(key)]
    label = list_objects(mask.url, mask.levels, ours)
    if mask.kept is None:
        return label, Listing()
    theirs = [key for key in mask.metadata if is_kept(key)]
    return label, list_objects(mask.run.url, [mask.kept], theirs, PROBABILITIES)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Compares the objects of one stage after the other with their records."""

    mask: RecordedMask
    scheduler: Scheduler
    sample: Sample
    found: Inspection
    label: Listing
    kept: Listing

    def problems(self, stage: RecordedStage) -> list[Problem]:
        """Objects of a stage that are not what its records say, and items without a record."""
        done = np.zeros(stage.planned, bool)
        unread: list[Problem] = []
        self.found.objects[stage.name] = 0
        read = check_objects(
            self.mask.url, self._label_objects(stage, done, unread), scheduler=self.scheduler
        )
        problems = list(read)
        if self.mask.kept is not None and stage.cells is None:
            kept = self._objects(stage, self.kept, unread)
            problems += check_objects(self.mask.run.url, kept, scheduler=self.scheduler)
        absent = [_absent(stage, item) for item in stage.wanted() if not done[item]]
        return [replace(problem, stage=stage.name) for problem in (*absent, *problems, *unread)]

    def _label_objects(
        self, stage: RecordedStage, done: np.ndarray, unread: list[Problem]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        for item, objects in self._objects(stage, self.label, unread):
            done[item] = True
            yield item, objects

    def _objects(
        self, stage: RecordedStage, listing: Listing, unread: list[Problem]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Item and objects to read of one folder; the others are compared with its listing."""
        levels = [*self.mask.levels, *([self.mask.kept] if self.mask.kept else [])]
        for line in fitting(stage):
            wanted = []
            for stored in line.record["objects"]:
                if is_kept(stored["key"]) != (listing is self.kept):
                    continue
                self.found.objects[stage.name] += 1
                if self._is_read(stage, stored["key"]):
                    wanted.append(stored)
                    self.found.checked += 1
                elif (size := listing.size(levels, stored["key"])) != stored["size"]:
                    unread.append(_unlike(line.record["item"], stored, size))
            yield line.record["item"], wanted

    def _is_read(self, stage: RecordedStage, key: str) -> bool:
        """Whether an object is read; metadata always is."""
        chosen = in_sample(key, self.sample.share, self.sample.seed)
        return chosen or stage.name == METADATA_STAGE


def _unlike(item: int, stored: dict[str, Any], size: int) -> Problem:
    """A listed object of another size than recorded; -1 is none at all."""
    if size < 0:
        return Problem("missing", stored["key"], item)
    detail = f"{stored['size']} bytes recorded, {size} stored"
    return Problem("changed", stored["key"], item, detail)


def _absent(stage: RecordedStage, item: int) -> Problem:
    """An item without a record: nothing says what its voxels are."""
    keys = stage.keys(item)
    detail = f"{'shard' if stage.name == INFER else 'item'} {item} of the stage {stage.name}"
    return Problem(NO_RECORD, keys[0], item, detail + f", {len(keys)} objects" * (len(keys) > 1))


def _with_swaps(mask: RecordedMask, problems: list[Problem]) -> list[Problem]:
    """The same problems; an object that holds what belongs elsewhere says where."""
    stored = {problem.stored for problem in problems} - {""}
    if not stored:
        return problems
    owners = {
        owned["checksum"]: owned["key"]
        for stage in mask.stages()
        for line in fitting(stage)
        for owned in line.record["objects"]
        if owned["checksum"] in stored
    }
    return [
        replace(problem, kind="swapped", detail=f"it holds {owners[problem.stored]}")
        if problem.stored in owners
        else problem
        for problem in problems
    ]
