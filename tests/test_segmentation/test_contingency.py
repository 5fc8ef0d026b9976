"""Pairs of object ids are counted once each, and add up over shards, whatever their order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.metrics.codec import pack_arrays, unpack_arrays
from segmentation.metrics.contingency import Contingency, distinct

HUGE = 2**64 - 1


def oracle(truth, mask, ignore=None):
    """Pairs and counts by a Counter of Python ints."""
    pairs = list(zip(truth.ravel().tolist(), mask.ravel().tolist(), strict=True))
    return Counter(pair for pair in pairs if pair[0] != ignore)


def as_counter(table):
    columns = (table.truth.tolist(), table.mask.tolist(), table.counts.tolist())
    return Counter({(t, m): n for t, m, n in zip(*columns, strict=True)})


@st.composite
def id_arrays(draw, shape, dtypes=("uint8", "int32", "uint64")):
    """Ids that repeat and differ, from 0 to the greatest the dtype holds."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    most = int(np.iinfo(dtype).max)
    extreme = st.sampled_from(sorted({most, most - 1, min(2**32 + 7, most)}))
    return draw(hnp.arrays(dtype, shape, elements=st.integers(0, 4) | extreme))


@st.composite
def pairs_of_labels(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    return draw(id_arrays(shape)), draw(id_arrays(shape))


@given(pairs_of_labels(), st.none() | st.sampled_from([-1, 0, 3, 255, 2**32 + 7, HUGE]))
def test_every_voxel_is_in_one_pair_or_ignored(labels, ignore):
    truth, mask = labels
    table = Contingency.from_labels(truth, mask, ignore_label=ignore)
    expected = oracle(truth, mask, ignore)
    assert as_counter(table) == expected
    assert list(zip(table.truth.tolist(), table.mask.tolist(), strict=True)) == sorted(expected)
    assert table.ignored == truth.size - sum(expected.values())
    assert table.voxels == truth.size


@given(pairs_of_labels(), st.randoms(use_true_random=False), st.sampled_from([None, 3]))
def test_parts_merge_in_any_order_and_any_tree(labels, random, ignore):
    truth, mask = (array.ravel() for array in labels)
    cuts = sorted(random.randint(0, truth.size) for _ in range(3))
    edges = zip([0, *cuts], [*cuts, truth.size], strict=True)
    parts = [Contingency.from_labels(truth[a:b], mask[a:b], ignore_label=ignore) for a, b in edges]
    whole = Contingency.from_labels(truth, mask, ignore_label=ignore)
    assert Contingency.merge(parts) == whole
    while len(parts) > 1:
        random.shuffle(parts)
        parts = [Contingency.merge(parts[:2]), *parts[2:]]
    assert parts == [whole]


def test_a_shard_that_came_twice_counts_once_by_its_key():
    truth = np.array([1, 1, 2, 0], np.uint8)
    halves = [(key, Contingency.from_labels(truth[key:][:2], truth[key:][:2])) for key in (0, 2)]
    whole = Contingency.from_labels(truth, truth)
    came = [halves[1], halves[0], halves[1]]
    assert Contingency.merge(dict(came).values()) == whole
    assert Contingency.merge(table for _, table in came) != whole


def test_more_pairs_than_the_hash_table_starts_with():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2**63, 5000, dtype=np.uint64).repeat(3)
    mask = rng.integers(0, 50, truth.size, dtype=np.int16)
    assert as_counter(Contingency.from_labels(truth, mask)) == oracle(truth, mask)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_negative_ids_are_refused_unless_ignored(dtype):
    truth, mask = np.array([1, -1], dtype), np.array([1, 1], dtype)
    table = Contingency.from_labels(truth, mask, ignore_label=-1)
    assert as_counter(table) == {(1, 1): 1}
    assert table.ignored == 1
    for labels in ((truth, mask), (mask, truth)):
        with pytest.raises(ValueError, match="is negative; ids start at 1"):
            Contingency.from_labels(*labels)


def test_minus_one_ignores_nothing_in_a_dtype_without_it():
    truth = np.array([255, 1], np.uint8)
    assert Contingency.from_labels(truth, truth, ignore_label=-1).ignored == 0


def test_memory_order_and_byte_order_do_not_matter():
    truth = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) // 5
    mask = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) % 3
    expected = Contingency.from_labels(truth, mask)
    swapped = np.asfortranarray(truth).astype(truth.dtype.newbyteorder("S"))
    assert Contingency.from_labels(swapped, mask) == expected
    assert Contingency.from_labels(np.repeat(truth, 2, axis=1)[:, ::2], mask) == expected


@given(pairs_of_labels(), st.data())
def test_new_ids_before_or_after_counting(labels, data):
    truth, mask = (np.minimum(array, 9).astype(np.uint8) for array in labels)
    new = [
        np.append(0, data.draw(hnp.arrays(np.int64, 9, elements=st.integers(0, 3))))
        for _ in range(2)
    ]
    table = Contingency.from_labels(truth, mask)
    relabelled = Contingency.from_labels(new[0][truth], new[1][mask])
    assert table.relabelled(*new) == relabelled
    assert table.relabelled(new[0], None).relabelled(None, new[1]) == relabelled


def test_equal_ids_of_different_images_are_different_objects():
    first = Contingency.from_labels(np.array([0, 9, 9, 4]), np.array([0, 7, 0, 7]))
    second = Contingency.from_labels(
        np.array([9, 9, 0, 255]), np.array([7, 7, 5, 1]), ignore_label=255
    )
    table = distinct([first, second])
    # first image: truth 4, 9 → 1, 2 and mask 7 → 1; second: truth 9 → 3 and mask 5, 7 → 2, 3
    assert as_counter(table) == {(0, 0): 1, (1, 1): 1, (2, 0): 1, (2, 1): 1, (0, 2): 1, (3, 3): 2}
    assert table.ignored == 1
    assert distinct([]) == Contingency.merge([])


@given(st.lists(pairs_of_labels(), max_size=3))
def test_distinct_keeps_every_voxel_and_object(images):
    tables = [Contingency.from_labels(*labels) for labels in images]
    table = distinct(tables)
    assert table.voxels == sum(part.voxels for part in tables)
    for column in ("truth", "mask"):
        objects = sum(np.unique(a[a > 0]).size for a in (getattr(t, column) for t in tables))
        assert set(getattr(table, column).tolist()) - {0} == set(range(1, objects + 1))


@given(pairs_of_labels())
def test_survives_storage(labels):
    table = Contingency.from_labels(*labels, ignore_label=2)
    again = Contingency.from_arrays(unpack_arrays(pack_arrays(table.to_arrays())))
    assert again == table
    assert hash(again) == hash(table)
    assert table != "table"


def test_counts_cannot_be_changed_from_outside():
    counts = np.array([3])
    table = Contingency(np.array([1]), np.array([1]), counts)
    counts[0] = 7
    assert table.voxels == 3
    with pytest.raises(ValueError, match="read-only"):
        table.counts[0] = 7
    assert table != Contingency(np.array([1]), np.array([1]), np.array([3]), ignored=1)


ONE = np.array([1])
TABLE = Contingency(ONE, ONE, ONE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contingency(ONE, ONE, np.array([1.0])), "counts has dtype float64"),
        (lambda: Contingency(ONE, np.array([1, 2]), ONE), r"shapes \(1,\), \(2,\) and \(1,\)"),
        (lambda: Contingency(-ONE, ONE, ONE), "truth holds -1"),
        (lambda: Contingency(ONE, ONE, 0 * ONE), "start at 1"),
        (lambda: Contingency(ONE, ONE, ONE, -1), "start at 1"),
        (lambda: Contingency(*np.array([[1, 1], [2, 2], [1, 1]])), "not ascending"),
        (lambda: Contingency(*np.array([[2, 1], [1, 2], [1, 1]])), "not ascending"),
        (lambda: Contingency.from_labels(ONE, np.array([1, 2])), r"shape \(1,\) and mask \(2,\)"),
        (lambda: Contingency.from_labels(ONE, ONE > 0), "mask has dtype bool"),
        (lambda: TABLE.relabelled(np.array([0]), None), "1 entries for old ids up to 1"),
        (lambda: TABLE.relabelled(None, np.array([1, 1])), "0 for id 0"),
        (lambda: TABLE.relabelled(None, np.array([0, -1])), "at least 0"),
    ],
)
def test_refuses_what_cannot_be_counted(make, message):
    with pytest.raises(ValueError, match=message):
        make()
