"""Skipping of empty blocks: what is asked for made concrete, what it did, what it would save."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from segmentation.coarse_level import CoarseLevel, coarse_level
from segmentation.shard import read_block
from segmentation.skipping import Selection, SkipRule, select_blocks
from storage.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from flows.jobs import PlanJob
    from flows.model import Model
    from flows.prepare import Prepared
    from segmentation.plan import Shard, ShardPlan
    from segmentation.region import Region
    from storage.labels import LabelLayout
    from storage.volume import Image, Volume

SAMPLE = 0.02
# A voxel of the level that is looked at by default averages at most so many along an axis.
MOST_REDUCED = 8
LEVEL = 0.95
MOST_SHARDS = 64


@dataclass(frozen=True, slots=True)
class Skipping:
    """What workers need to find empty blocks.

    Attributes
    ----------
    volume : Volume
        Level of the image that is looked at.
    number : int
        Of that level; 0 is the finest.
    rule : SkipRule
        When a block is not computed.
    channels : tuple of int or None
        Channels that the network gets; None for all.
    """

    volume: Volume
    number: int
    rule: SkipRule
    channels: tuple[int, ...] | None

    def select(self, shard: Shard, plan: ShardPlan) -> Selection:
        """Which blocks of a shard are computed; the level is read, the finest one is not."""
        return select_blocks(shard, plan, self.rule, partial(_read, self.volume, self.channels))

    def identity(self) -> dict[str, Any]:
        """What of it can change a voxel."""
        level = {
            "path": self.volume.path,
            "shape": list(self.rule.level.shape),
            "factors": list(self.rule.level.factors),
            # The image's own digest covers the finest level.
            "objects": _listing(self.volume) if self.number else None,
        }
        return {
            "below": self.rule.below,
            "sample": self.rule.sample,
            "seed": self.rule.seed,
            "block": list(self.rule.block),
            "level": level,
        }


def _read(volume: Volume, channels: Sequence[int] | None, region: Region) -> np.ndarray:
    axis = volume.axes.find("c")
    return read_block(volume, region, axis if axis >= 0 else None, channels)


def _listing(volume: Volume) -> str:
    """Digest of the listing of a level: one made anew may show other blocks as empty."""
    versions = Blobs(volume.url).versions(volume.path)
    lines = (f"{key} {size} {version}\n" for key, size, version in versions)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def plan_skipping(job: PlanJob, image: Image, model: Model, layout: LabelLayout) -> Skipping | None:
    """The level and the rule that a job asks for; None if it asks for none.

    Raises
    ------
    RequestError
        If the job has no network, or the image no level that can be looked at.
    """
    if job.skip_below is None:
        _check_nothing_else(job)
        return None
    if model.card is None:
        raise RequestError(
            "--skip-below leaves out what a network would call background, and --model identity "
            "has no network; leave it out"
        )
    number, level = _chosen_level(job.skip_level, image)
    sample = SAMPLE if job.skip_sample is None else job.skip_sample
    rule = SkipRule(job.skip_below, layout.chunks[0], level, sample)
    return Skipping(image.volumes[number], number, rule, job.channels)


def _check_nothing_else(job: PlanJob) -> None:
    for name in ("skip_level", "skip_sample"):
        if getattr(job, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise RequestError(f"{option} says how --skip-below works; give that too, or neither")


def _chosen_level(wanted: int | None, image: Image) -> tuple[int, CoarseLevel]:
    """The level that is asked for; else the coarsest whose voxels average few enough."""
    count = len(image.volumes)
    if wanted is not None and wanted >= count:
        raise RequestError(
            f"--skip-level {wanted}: the image has the levels 0 to {count - 1}; choose one of them"
        )
    if wanted is not None:
        return wanted, _level(wanted, image)
    if count == 1:
        raise RequestError(
            "--skip-below looks at a coarser level and the image has only one; import it again, "
            "which makes levels, or let --skip-level 0 look at the image itself, which saves "
            "computing but no reading"
        )
    fine_enough = (1, _level(1, image))
    for number in range(2, count):
        level = _level(number, image)
        if max(level.factors) > MOST_REDUCED:
            break
        fine_enough = number, level
    return fine_enough


def _level(number: int, image: Image) -> CoarseLevel:
    """How a level lies over the finest one.

    Raises
    ------
    RequestError
        If metadata and arrays do not fit each other.
    """
    base, volume = image.volumes[0], image.volumes[number]
    here = f"level {number} of {image.url}"
    if volume.dtype != base.dtype:
        raise RequestError(
            f"{here} holds {volume.dtype} and the finest one {base.dtype}, so --skip-below may "
            "mean another intensity there; choose another --skip-level"
        )
    kept = [axis for axis, name in enumerate(base.axes) if name != "c"]
    if "c" in base.axes and volume.shape[base.axes.index("c")] != base.shape[base.axes.index("c")]:
        raise RequestError(f"{here} has not all channels; choose another --skip-level")
    try:
        return coarse_level(
            [base.shape[axis] for axis in kept],
            [volume.shape[axis] for axis in kept],
            [volume.voxel_size[axis] / base.voxel_size[axis] for axis in kept],
            [base.axes[axis] for axis in kept],
        )
    except ValueError as error:
        raise RequestError(f"{here} {error} (--skip-level)") from error


def add_counts(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several shards, added up; the same in any order."""
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return dict(total)


def skipping_result(prepared: Prepared, counts: Mapping[str, int]) -> dict[str, Any]:
    """``skipping`` of result.json.

    Parameters
    ----------
    prepared : Prepared
        Of a job that skips.
    counts : mapping
        `Selection.counts` and `Selection.false_counts` of all shards, added up.
    """
    skipping, card = prepared.skipping, prepared.model.card
    if skipping is None or card is None:
        raise ValueError("the job computes every block; there is nothing to tell")
    rule = skipping.rule
    names = ("blocks", "skipped_blocks", "sampled_blocks", "false_blocks")
    voxels = ("skipped_voxels", "sampled_voxels", "false_voxels")
    return {
        "below": rule.below,
        "level": skipping.number,
        "sample": rule.sample,
        "block": list(rule.block),
        "background": card.classes[0].name,
        **{name: counts[name] for name in (*names, *voxels)},
        **_rates(counts),
    }


def _rates(counts: Mapping[str, int]) -> dict[str, Any]:
    """The false-skip rate and the interval of the share of blocks; null where nothing was drawn."""
    drawn = counts["sampled_blocks"]
    if not drawn:
        why = "no block was drawn" if counts["skipped_blocks"] else "no block is empty"
        return {"false_skip_rate": None, "interval": None, "undefined": why}
    # SciPy, which a run that skips nothing does without.
    from segmentation.metrics.statistics import clopper_pearson

    low, high = clopper_pearson(counts["false_blocks"], drawn, LEVEL)
    interval = {
        "of": "empty blocks with a voxel that is not background",
        "method": "Clopper-Pearson",
        "level": LEVEL,
        "share": counts["false_blocks"] / drawn,
        "low": low,
        "high": high,
    }
    rate = counts["false_voxels"] / counts["sampled_voxels"]
    return {"false_skip_rate": rate, "interval": interval}


def skip_share(prepared: Prepared, most_shards: int = MOST_SHARDS) -> dict[str, Any]:
    """How much a job would skip, from the coarser level of shards spread evenly over the plan.

    Parameters
    ----------
    prepared : Prepared
        Of a job that skips.
    most_shards : int
        Shards to look at; the plan's, if it has no more.

    Returns
    -------
    dict
        ``shards`` looked at; shares of their ``blocks``, ``tiles`` and ``whole_shards`` that are
        not computed.
    """
    skipping, plan = prepared.skipping, prepared.plan
    if skipping is None:
        return {"shards": 0, "blocks": 0.0, "tiles": 0.0, "whole_shards": 0.0}
    looked = min(most_shards, len(plan))
    total: Counter[str] = Counter()
    for number in range(looked):
        shard = plan.shard(number * len(plan) // looked)
        counts = skipping.select(shard, plan).counts(plan)
        total.update(counts)
        total["whole_shards"] += counts["computed_tiles"] == 0
    return {
        "shards": looked,
        "blocks": total["skipped_blocks"] / total["blocks"],
        "tiles": 1 - total["computed_tiles"] / total["tiles"],
        "whole_shards": total["whole_shards"] / looked,
    }
