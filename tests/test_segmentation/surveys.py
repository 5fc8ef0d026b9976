"""Surveys to find something in, and one in which there is nothing to be found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segmentation.audit.intensity import Intensities
from segmentation.audit.survey import Survey, SurveyItem

NAMES = ("background", "membrane", "synapse")
# Nine groups are enough for an interval of ± 0.05 where specimens spread by 0.06.
SIZES = {"train": 20, "validation": 9, "test": 9}


def parts_of(sizes):
    """Items in a row: the first ones train, then validation, then test."""
    ends = np.cumsum([0, *(sizes[part] for part in ("train", "validation", "test"))])
    return {
        part: tuple(range(ends[k], ends[k + 1]))
        for k, part in enumerate(("train", "validation", "test"))
    }


def intensities(mean, sd=10.0):
    """An image of 8 bits."""
    return Intensities(mean, sd, max(0.0, mean - 60), mean - 25, mean + 25, min(255.0, mean + 60))


def voxel_survey(counts=None, sizes=None, means=None, groups=None, **changes):
    """Volumes in parts; by default every one a group of its own, with the same counts."""
    sizes = SIZES | (sizes or {})
    number = sum(sizes.values())
    counts = [(50, 25, 25)] * number if counts is None else counts
    random = np.random.default_rng(1)
    means = random.normal(120, 5, number) if means is None else means
    groups = [f"fly{n}" for n in range(number)] if groups is None else groups
    items = tuple(
        SurveyItem(f"fly{n}.zarr", group, tuple(row), intensities=intensities(float(mean)))
        for n, (group, row, mean) in enumerate(zip(groups, counts, means, strict=True))
    )
    made = Survey("segmentation", NAMES, items, (parts_of(sizes),))
    return replace(made, **changes)


def sample_survey(labels, folds, names=("healthy", "ill"), **changes):
    """Samples of these classes, every one a group of its own, in these parts."""
    items = tuple(
        SurveyItem(f"{n:03}.png", f"{n:03}.png", tuple(int(label == v) for v in range(len(names))))
        for n, label in enumerate(labels)
    )
    return replace(Survey("classification", names, items, (folds,)), **changes)


def codes(found):
    return [finding.code for finding in found]
