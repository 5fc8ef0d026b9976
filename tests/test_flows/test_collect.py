"""The statistics of shards, merged, are those of the whole array: any cut, order, retry."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flows import count_work
from flows.collect import Statistics
from flows.count_work import CaseVoxels, CountWork
from flows.evaluation_result import THRESHOLDS
from flows.join_work import JoinWork
from segmentation.evaluation import COMPONENTS, IDS, Measures
from segmentation.metrics.instances import instance_scores
from segmentation.metrics.partitions import partition_scores
from segmentation.metrics.surface import SurfaceCounts, SurfaceOptions
from segmentation.plan import ShardPlan, trivial_plan
from segmentation.region import Region
from storage.blobs import Blobs

AXES = "tzyx"


@dataclass(frozen=True)
class Labels:
    """An array that knows its axes, as a volume does."""

    voxels: Any
    axes: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.voxels.shape)

    def __getitem__(self, slices: Any) -> Any:
        return self.voxels[slices]


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], dtype: str = "uint8") -> Any:
    """Blocks of equal labels, so that objects cross the borders of shards."""
    coarse = tuple(-(-n // 2) for n in shape)
    blocks = draw(hnp.arrays(dtype, coarse, elements=st.integers(0, 3)))
    for axis in range(len(shape)):
        blocks = np.repeat(blocks, 2, axis=axis)
    return blocks[tuple(slice(0, n) for n in shape)]


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[CountWork, CountWork]:
    """The same evaluation cut into shards, and in one piece."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=7))
    truth, *masks = (Labels(draw(arrays(shape)), AXES[-len(shape) :]) for _ in range(3))
    masks = masks[: draw(st.integers(1, 2))]
    image_axes = draw(st.integers(2, min(3, len(shape))))
    spacing = draw(st.tuples(*(st.sampled_from((0.1, 0.3, 1.0, 2.5)) for _ in range(image_axes))))
    cap = draw(st.sampled_from((0.3, 1.0, 2.9)))
    measures = Measures(
        num_classes=4,
        ignore_label=draw(st.sampled_from((None, 3))),
        image_axes=image_axes,
        objects=(COMPONENTS,) * (1 + len(masks)),
        surface=SurfaceOptions(
            num_classes=4,
            voxel_size=spacing,
            cap=cap,
            ignore_label=draw(st.sampled_from((None, 3))),
        ),
        tolerances=(cap / 2, cap),
    )
    measures = replace(
        measures, surface=replace(measures.surface, ignore_label=measures.ignore_label)
    )  # type: ignore[type-var]
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    region = Region(
        start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    )
    region = draw(st.sampled_from((region, Region.whole(shape))))
    cell = tuple(draw(st.integers(-(-n // 3), n)) for n in shape)
    levels = draw(st.none() | hnp.arrays(np.uint8, (4, *shape)))
    along = len(shape) - image_axes - 1 if draw(st.booleans()) and len(shape) > image_axes else None

    def work(plan: ShardPlan) -> CountWork:
        # Channels first among the axes but for t, as the run stores them.
        stored = None if levels is None else levels
        if stored is not None and len(shape) == 4:
            stored = stored.swapaxes(0, 1)
        voxels: Any = CaseVoxels(truth, tuple(masks), stored, plan)  # type: ignore[arg-type]
        return CountWork((voxels,), measures, None, along)

    return work(trivial_plan(shape, region, cell, cell)), work(
        trivial_plan(shape, region, shape, shape)
    )


def collected(work: CountWork, order: Any, folder: str) -> Statistics:
    """Count, join and merge, with every record through JSON, and some of them twice."""
    work = replace(work, url=folder)
    records: dict[int, Any] = {}
    for item in (*order, *order[:2]):
        records[item] = json.loads(json.dumps(work.count(item).record()))
    statistics = Statistics.empty(work)
    for item, record in records.items():
        statistics.add(item, record["statistics"])
        statistics.add_heavy(item, Blobs(folder), record["objects"])
    for item in order:
        statistics.joins += [(item, join) for join in JoinWork(work).join(item)]
    return statistics


def facts(statistics: Statistics) -> dict[str, Any]:
    """Everything that is reported, as plain data."""
    names = ("background", "a", "b", "c")
    found: dict[str, Any] = {
        f"planes {mask}": [v.planes.tolist() for v in statistics.volumes(mask, [("i", "g")])]
        for mask in range(len(statistics.planes))
    }
    found |= {name: array.tolist() for name, array in statistics.sums.items()}
    surface = SurfaceCounts.merge(statistics.surfaces).to_arrays()
    found |= {name: array.tolist() for name, array in surface.items()}
    for number, objects in enumerate(statistics.merged_objects()):
        tables = objects.tables
        found[f"objects {number}"] = instance_scores(
            tables,
            class_names=names,
            thresholds=THRESHOLDS,
            truth_classes=[objects.truth_classes] * len(tables),
            mask_classes=[objects.mask_classes] * len(tables),
        )
        found[f"partition {number}"] = partition_scores(tables)
    return found


@settings(max_examples=30)
@given(evaluations(), st.randoms(use_true_random=False))
def test_shards_add_up_to_the_whole(pair: tuple[CountWork, CountWork], random: Any) -> None:
    cut, whole = pair
    order = list(range(len(cut)))
    random.shuffle(order)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        parts = facts(collected(cut, order, folder))
        assert parts == facts(collected(whole, [0], other))


def cut_out(labels: Labels, region: Region) -> Labels:
    return Labels(labels[region.slices], labels.axes)


@settings(max_examples=15)
@given(evaluations())
def test_a_region_is_scored_as_if_it_had_been_cut_out(pair: tuple[CountWork, CountWork]) -> None:
    work, _ = pair
    (case,) = work.cases
    region = case.plan.region
    voxels = replace(
        case,
        truth=cut_out(case.truth, region),  # type: ignore[arg-type]
        masks=tuple(cut_out(mask, region) for mask in case.masks),  # type: ignore[arg-type]
        probabilities=None,
        plan=trivial_plan(region.shape, Region.whole(region.shape), region.shape, region.shape),
    )
    alone = replace(work, cases=(voxels,))
    within = replace(work, cases=(replace(case, probabilities=None),))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        parts = facts(collected(within, list(range(len(within))), folder))
        assert parts == facts(collected(alone, [0], other))


def plane_work(halo_change: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two surfaces exactly the cap apart, in shards of two planes, with a changed halo."""
    truth, mask = np.zeros((8, 4, 4), np.uint8), np.zeros((8, 4, 4), np.uint8)
    truth[0], mask[:4] = 1, 1
    options = SurfaceOptions(num_classes=2, voxel_size=(1.0, 1.0, 1.0), cap=3.0, ignore_label=None)
    measures = Measures(2, objects=(COMPONENTS, COMPONENTS), surface=options, tolerances=(1.0,))
    read = count_work.read_region

    def changed(core: Region, shape: Any, given: Measures) -> Region:
        box = read(core, shape, given)
        start = tuple(min(c, a - halo_change) for a, c in zip(box.start, core.start, strict=True))
        stop = tuple(max(c, b + halo_change) for b, c in zip(box.stop, core.stop, strict=True))
        return Region(tuple(max(0, a) for a in start), tuple(map(min, stop, shape)))

    monkeypatch.setattr(count_work, "read_region", changed)
    plan = trivial_plan((8, 4, 4), Region.whole((8, 4, 4)), (2, 4, 4), (2, 4, 4))
    voxels: Any = CaseVoxels(Labels(truth, "zyx"), (Labels(mask, "zyx"),), None, plan)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        return facts(collected(CountWork((voxels,), measures), list(range(4)), folder))


def test_a_halo_one_voxel_short_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = plane_work(0, monkeypatch)
    assert plane_work(1, monkeypatch) == right
    monkeypatch.undo()
    with pytest.raises(ValueError, match="does not reach the halo"):
        plane_work(-1, monkeypatch)


def test_a_halo_that_is_counted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = plane_work(0, monkeypatch)
    monkeypatch.undo()
    counted = count_work.count_block

    def greedy(block: Any, measures: Measures) -> Any:
        return counted(replace(block, core=block.read), measures)

    monkeypatch.setattr(count_work, "count_block", greedy)
    with pytest.raises((AssertionError, ValueError)):
        assert plane_work(0, monkeypatch) == right


def test_joins_left_out_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = plane_work(0, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr(JoinWork, "join", lambda _work, _item: [])
    wrong = plane_work(0, monkeypatch)
    assert right["objects 0"][0]["mask_objects"] == 1
    assert wrong["objects 0"][0]["mask_objects"] == 2


def test_an_ignored_id_is_not_every_object() -> None:
    truth = np.zeros((4, 8), np.uint16)
    truth[0], truth[1], truth[2] = 1, 300, 2
    mask = np.zeros_like(truth)
    mask[0], mask[1] = 5, 9
    plan = trivial_plan((4, 8), Region.whole((4, 8)), (4, 8), (4, 8))
    voxels: Any = CaseVoxels(Labels(truth, "yx"), (Labels(mask, "yx"),), None, plan)  # type: ignore[arg-type]
    found = []
    for ignored in (1, 300):
        measures = Measures(2, ignored, binary=True, image_axes=2, objects=(IDS, IDS))
        with tempfile.TemporaryDirectory() as folder:
            statistics = collected(CountWork((voxels,), measures), [0], folder)
        (volume,) = statistics.volumes(0, [("image", "image")])
        (scored,) = instance_scores(
            statistics.merged_objects()[0].tables, class_names=["object"], thresholds=[0.5]
        )
        found.append((volume.total.tolist(), scored["truth_objects"], scored["pq"]))
    # Eight voxels are ignored, eight background, eight of the other found object, eight missed.
    assert found == [([8, 0, 8, 8, 8, 0], 2, 2 / 3)] * 2


def test_ids_of_different_images_are_different_objects() -> None:
    labels = np.zeros((2, 4, 4), np.uint16)
    labels[:, :2] = 7
    plan = trivial_plan((2, 4, 4), Region.whole((2, 4, 4)), (1, 2, 4), (1, 2, 4))
    voxels: Any = CaseVoxels(Labels(labels, "zyx"), (Labels(labels, "zyx"),), None, plan)  # type: ignore[arg-type]
    measures = Measures(2, binary=True, image_axes=2, objects=(IDS, IDS))
    with tempfile.TemporaryDirectory() as folder:
        statistics = collected(CountWork((voxels,), measures, None, 0), [3, 1, 0, 2], folder)
    tables = statistics.merged_objects()[0].tables
    (scored,) = instance_scores(tables, class_names=["object"], thresholds=[0.5])
    assert (scored["truth_objects"], scored["pq"]) == (2, 1.0)
    (volume,) = statistics.volumes(0, [("image", "image")])
    assert volume.images.tolist() == [[8, 0, 0, 8, 0, 0]] * 2
