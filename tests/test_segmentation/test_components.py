"""Components joined over any shards are those of the whole array, and so are their overlaps."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segmentation.metrics.codec import pack_arrays, unpack_arrays
from segmentation.metrics.component_counts import component_counts
from segmentation.metrics.components import (
    Face,
    component_values,
    face,
    faces,
    label_components,
    resolve,
    touching,
)
from segmentation.metrics.contingency import Contingency
from segmentation.metrics.instances import instance_scores
from segmentation.metrics.partitions import partition_scores

SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)
CLASSES = ["background", "membrane", "nucleus"]


def scipy_components(labels):
    """Components by scipy, class by class: ids in some order, and the class of each."""
    ids, values = np.zeros(labels.shape, np.int64), [0]
    for value in np.unique(labels[labels != 0]).tolist():
        found, count = ndimage.label(labels == value)
        ids[found > 0] = found[found > 0] + len(values) - 1
        values += [value] * count
    return ids, np.array(values)


def same_partition(first, second):
    """Whether two id arrays differ by a renumbering alone, 0 being 0 in both."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return (
        np.array_equal(first == 0, second == 0)
        and np.unique(pairs[0]).size == np.unique(pairs[1]).size == pairs.shape[1]
    )


@st.composite
def grids(draw, shape):
    """A partition of every axis, of its own: slices per shard, by the place in the grid."""
    parts = []
    for size in shape:
        cuts = sorted(draw(st.sets(st.integers(1, size - 1)))) if size > 1 else []
        parts.append([slice(a, b) for a, b in itertools.pairwise([0, *cuts, size])])
    places = list(np.ndindex(*map(len, parts)))
    return {p: tuple(part[i] for part, i in zip(parts, p, strict=True)) for p in places}


@st.composite
def tiled_labels(draw, count=1):
    """Label arrays of one shape, most of it foreground, and a grid over it."""
    shape = draw(SHAPES)
    labels = [
        draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 1, 2, 2])))
        for _ in range(count)
    ]
    return *labels, draw(grids(shape))


def joined(labels, grid, random=None, axes=None):
    """Local components by shard, and what `resolve` makes of the faces that were stored."""
    keys = list(grid)
    if random:
        random.shuffle(keys)
    local, planes = {}, {}
    for key in keys:
        local[key] = label_components(labels[grid[key]])
        stored = pack_arrays(faces(local[key].ids, local[key].values))
        planes[key] = unpack_arrays(stored)
    joins = []
    for key in keys:
        for axis in range(labels.ndim) if axes is None else axes:
            following = tuple(i + (a == axis) for a, i in enumerate(key))
            if following in grid:
                pairs = touching(
                    face(planes[key], "high", axis), face(planes[following], "low", axis)
                )
                joins.append((keys.index(key), keys.index(following), pairs))
    if random:
        random.shuffle(joins)
    numbered = resolve([local[key].count for key in keys], joins)
    return local, dict(zip(keys, numbered, strict=True))


def assembled(shape, grid, local, numbered):
    whole = np.zeros(shape, np.int64)
    for key, place in grid.items():
        whole[place] = numbered[key][local[key].ids]
    return whole


@given(hnp.arrays(np.int16, SHAPES, elements=st.integers(-1, 2)))
def test_components_are_those_of_scipy_class_by_class(labels):
    components = label_components(labels)
    assert components.ids.dtype == np.uint32
    assert same_partition(components.ids, scipy_components(labels)[0])
    assert np.array_equal(components.values[components.ids], labels)


@given(hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2)))
def test_ids_ascend_with_the_first_voxel(labels):
    for array in (labels, np.asfortranarray(labels)):
        components = label_components(array)
        ids, firsts = np.unique(components.ids, return_index=True)
        assert set(ids.tolist()) | {0} == set(range(components.count + 1))
        assert np.all(np.diff(firsts[ids > 0]) > 0)


@given(tiled_labels(), st.randoms(use_true_random=False))
def test_shards_join_to_the_components_of_the_whole(tiled, random):
    labels, grid = tiled
    local, numbered = joined(labels, grid, random)
    whole = assembled(labels.shape, grid, local, numbered)
    expected, values = scipy_components(labels)
    assert same_partition(whole, expected)
    assert sorted(set(whole.ravel().tolist()) | {0}) == list(range(values.size))
    by_id = component_values(list(numbered.values()), [local[key].values for key in numbered])
    assert np.array_equal(by_id[whole], labels)


@given(tiled_labels(count=2), st.randoms(use_true_random=False))
def test_overlaps_and_scores_are_those_of_the_whole(tiled, random):
    truth, mask, grid = tiled
    truths, truth_ids = joined(truth, grid)
    masks, mask_ids = joined(mask, grid)
    shards = {
        key: Contingency.from_labels(truths[key].ids, masks[key].ids).relabelled(
            truth_ids[key], mask_ids[key]
        )
        for key in random.sample(list(grid), len(grid))
    }
    table = Contingency.merge(shards.values())
    whole = scipy_components(truth), scipy_components(mask)
    expected = Contingency.from_labels(whole[0][0], whole[1][0])
    canonical = [
        canonical_ids(ids, assembled(truth.shape, grid, local, numbered))
        for (ids, _), local, numbered in zip(
            whole, (truths, masks), (truth_ids, mask_ids), strict=True
        )
    ]
    assert expected.relabelled(*canonical) == table
    assert partition_scores([table]) == partition_scores([expected])
    by_id = [
        component_values(list(numbered.values()), [local[key].values for key in numbered])
        for local, numbered in ((truths, truth_ids), (masks, mask_ids))
    ]
    for scores in (object_scores, component_counts):
        found = scores([table], **classes_of(*by_id))
        assert found == scores([expected], **classes_of(whole[0][1], whole[1][1]))


def canonical_ids(old, new):
    """Which new id each old one has become."""
    ids = np.zeros(int(old.max()) + 1, np.int64)
    ids[old.ravel()] = new.ravel()
    return ids


def classes_of(truth, mask):
    return {"class_names": CLASSES, "truth_classes": [truth], "mask_classes": [mask]}


def object_scores(tables, **options):
    return instance_scores(tables, thresholds=[0.2, 0.5, 0.75], **options)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_leaving_out_an_axis_is_noticed(axis):
    # One object that is cut once along every axis: without a join along one, it is two.
    labels = np.ones((2, 4, 6), np.uint8)
    grid = {
        place: tuple(
            slice(i * size // 2, (i + 1) * size // 2)
            for i, size in zip(place, labels.shape, strict=True)
        )
        for place in np.ndindex(2, 2, 2)
    }
    whole = assembled(labels.shape, grid, *joined(labels, grid))
    assert whole.max() == 1
    others = [a for a in range(3) if a != axis]
    mutant = assembled(labels.shape, grid, *joined(labels, grid, axes=others))
    assert mutant.max() == 2
    assert not same_partition(mutant, label_components(labels).ids)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4).flatmap(
        lambda counts: st.tuples(
            st.just(counts),
            st.lists(
                st.sampled_from(
                    [(s, i) for s, count in enumerate(counts) for i in range(1, count + 1)] or [0]
                ),
                max_size=8,
            ).map(lambda ends: list(itertools.pairwise(ends)) if 0 not in ends else []),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_global_ids_follow_the_first_shard_in_any_order_of_joins(graph, random):
    counts, links = graph
    joins = [(a, b, np.array([[i, j]])) for (a, i), (b, j) in links]
    expected = walked(counts, links)
    assert [ids.tolist() for ids in resolve(counts, joins)] == expected
    swapped = [(b, a, pairs[:, ::-1]) for a, b, pairs in random.sample(joins, len(joins))]
    assert [ids.tolist() for ids in resolve(counts, swapped)] == expected


def walked(counts, links):
    """Global ids by walking from each component to all it reaches, one after the other."""
    ids = {}
    for start in ((s, i) for s, count in enumerate(counts) for i in range(1, count + 1)):
        if start not in ids:
            number = len(set(ids.values())) + 1
            reached = {start}
            while True:
                more = {b for link in links for b in link if reached & set(link)}
                if more <= reached:
                    break
                reached |= more
            ids |= dict.fromkeys(reached, number)
    return [
        [0, *(ids[shard, i] for i in range(1, count + 1))] for shard, count in enumerate(counts)
    ]


def test_only_equal_classes_join_across_a_border():
    high = Face(np.array([1, 1, 2, 0, 3, 3]), np.array([7, 7, 8, 0, 7, 7]))
    low = Face(np.array([4, 4, 5, 6, 0, 5]), np.array([7, 7, 7, 7, 0, 7]))
    assert touching(high, low).tolist() == [[1, 4], [3, 5]]


def test_no_shard_and_empty_shards():
    assert resolve([], []) == []
    assert [ids.tolist() for ids in resolve([0, 0], [])] == [[0], [0]]
    assert label_components(np.zeros((3, 2), np.uint8)).values.tolist() == [0]


def test_foreign_bytes_and_great_labels():
    labels = np.array([[2**63 - 1, 0], [0, 5]], np.uint64)
    components = label_components(labels.astype(labels.dtype.newbyteorder("S")))
    assert components.values.tolist() == [0, 2**63 - 1, 5]
    assert components.ids.tolist() == [[1, 0], [0, 2]]


LINE = Face(np.array([1]), np.array([1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: label_components(np.zeros(3, int)), r"shape \(3,\)"),
        (lambda: label_components(np.zeros((1, 1, 1, 1), int)), "2D or 3D"),
        (lambda: label_components(np.zeros((2, 2))), "dtype float64"),
        (lambda: label_components(np.full((1, 1), 2**63, np.uint64)), r"above 2\*\*63 - 1"),
        (lambda: touching(LINE, Face(np.ones(2, int), np.ones(2, int))), "do not meet"),
        (lambda: resolve([1, 1], [(0, 1, np.array([[1, 2]]))]), "beyond their 1 and 1"),
        (lambda: resolve([1, 1], [(0, 1, np.array([[0, 1]]))]), "start at 1"),
        (
            lambda: component_values(
                [np.array([0, 1]), np.array([0, 1])], [np.array([0, 3]), np.array([0, 4])]
            ),
            "different labels were joined",
        ),
    ],
)
def test_refuses_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
