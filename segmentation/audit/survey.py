"""What is known of the items of a training before it starts: counts, groups, parts, likeness.

Items are volumes, planes or samples; the findings on data and split read nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from segmentation.training.fingerprint import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segmentation.audit.finding import Picture
    from segmentation.audit.intensity import Intensities

Task = Literal["segmentation", "classification"]
Pair = tuple[int, int]
PARTS = ("train", "validation", "test")
SCORED = PARTS[1:]
SAME = 1.0


@dataclass(frozen=True, slots=True)
class SurveyItem:
    """One volume, plane or sample.

    Attributes
    ----------
    name : str
        As the catalog writes it.
    group : str
        What must not be divided.
    counts : tuple of int
        Voxels of every class; of a sample, 1 for its class and 0 for the others.
    specimen : str
        What it was taken from; of a plane the stack, else the group.
    intensities : Intensities or None
        Of its image.
    """

    name: str
    group: str
    counts: tuple[int, ...]
    specimen: str = ""
    intensities: Intensities | None = None

    @property
    def origin(self) -> str:
        """Its specimen, or its group where no specimen is known."""
        return self.specimen or self.group


@dataclass(frozen=True, slots=True)
class Survey:
    """Items and how they are divided.

    Attributes
    ----------
    task : "segmentation" or "classification"
        In a segmentation class 0 is the background.
    class_names : tuple of str
        By value.
    items : tuple of SurveyItem
        In the order of the catalog.
    folds : tuple of mapping
        Numbers of the items by part, one mapping for each fold; none where nothing can be divided.
    fixed : bool
        Whether the catalog itself says the parts of all items.
    pairs : mapping
        Correlation of items that look alike; 1 for the same voxels.
    pictures : mapping
        Some of these pairs, to look at.
    agreements : mapping
        Of items with the same image and different labels: Dice of the two labels by class, None
        where neither has the class. Empty for samples, whose classes differ.
    linked : tuple of tuple of str
        Groups that are kept together because they look alike.
    alike : float
        Correlation above which items do.
    """

    task: Task
    class_names: tuple[str, ...]
    items: tuple[SurveyItem, ...]
    folds: tuple[Mapping[str, tuple[int, ...]], ...]
    fixed: bool = True
    pairs: Mapping[Pair, float] = field(default_factory=dict)
    pictures: Mapping[Pair, Picture] = field(default_factory=dict)
    agreements: Mapping[Pair, tuple[float | None, ...]] = field(default_factory=dict)
    linked: tuple[tuple[str, ...], ...] = ()
    alike: float = THRESHOLD

    @property
    def noun(self) -> str:
        """What an item is called in a sentence."""
        return "samples" if self.task == "classification" else "items"

    @property
    def foreground(self) -> range:
        """Values of the classes that are no background."""
        return range(int(self.task == "segmentation"), len(self.class_names))

    def part_of(self, fold: int = 0) -> dict[int, str]:
        """Part of every item that is in one."""
        return {n: part for part, numbers in self.folds[fold].items() for n in numbers}

    def scored(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Validation and test part of an undivided training, where they are not empty."""
        if len(self.folds) == 1:
            yield from ((part, self.folds[0][part]) for part in SCORED if self.folds[0][part])
