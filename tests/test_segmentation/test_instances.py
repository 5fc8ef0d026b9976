"""Object scores against slow and obvious counting, and by hand."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.metrics.component_counts import component_counts
from segmentation.metrics.contingency import Contingency
from segmentation.metrics.instances import NO_MASK, NO_MATCH, NO_OBJECTS, NO_TRUTH, instance_scores
from segmentation.metrics.instances import object_hits as hits_of
from segmentation.metrics.matching import matches, overlaps

THRESHOLDS = [0.0, 0.1, 0.25, 0.4, 0.5, 0.75]
SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)


@st.composite
def images(draw):
    """Truth and mask that mostly agree, so that there are matches at every threshold."""
    shape = draw(SHAPES)
    truth = draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, 4)))
    other = draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, 6)))
    changed = draw(hnp.arrays(bool, shape))
    return truth, np.where(changed, other, truth)


def voxel_sets(labels, classes, value):
    """The voxels of each object of a class, as sets of positions."""
    flat = labels.ravel().tolist()
    ids = sorted({i for i in flat if i and (classes is None or classes[i] == value)})
    return [{p for p, i in enumerate(flat) if i == object_id} for object_id in ids]


def ious(truth, mask):
    """Exact IoU of all overlapping pairs."""
    return {
        (i, j): Fraction(len(t & m), len(t | m))
        for (i, t), (j, m) in itertools.product(enumerate(truth), enumerate(mask))
        if t & m
    }


def best_matching(iou, threshold):
    """Most pairs, then most IoU, by trying everything."""
    edges = [pair for pair, value in iou.items() if value > Fraction(threshold)]

    def best(remaining):
        if not remaining:
            return (0, Fraction(0))
        (i, j), *rest = remaining
        pairs, total = best([(a, b) for a, b in rest if a != i and b != j])
        return max(best(rest), (pairs + 1, total + iou[i, j]))

    return best(edges)


def shared(whole, parts):
    """Whether several parts share an object, by the definition in words."""
    inside = [len(part & whole) for part in parts if Fraction(len(part & whole), len(part)) > 0.1]
    return bool(inside) and max(inside) < Fraction(9, 10) * sum(inside)


def uncovered(whole, others):
    return Fraction(len(whole & set().union(*others)), len(whole)) <= Fraction(1, 10)


def naive(pictures, threshold, classes=None, value=1):
    """TP, FP, FN, the sum of IoU and the errors of one class over all images."""
    total = dict.fromkeys(("tp", "fp", "fn", "iou", "splits", "merges", "missed", "invented"), 0)
    for truth_labels, mask_labels in pictures:
        truth = voxel_sets(truth_labels, classes, value)
        mask = voxel_sets(mask_labels, classes, value)
        pairs, iou = best_matching(ious(truth, mask), threshold)
        total["tp"] += pairs
        total["fp"] += len(mask) - pairs
        total["fn"] += len(truth) - pairs
        total["iou"] += iou
        total["splits"] += sum(shared(t, mask) for t in truth)
        total["merges"] += sum(shared(m, truth) for m in mask)
        total["missed"] += sum(uncovered(t, mask) for t in truth)
        total["invented"] += sum(uncovered(m, truth) for m in mask)
    return total


def check(entry, pictures, classes=None, value=1):
    """Compare one class with the naive counts."""
    for match in entry["matches"]:
        count = naive(pictures, match["threshold"], classes, value)
        tp, fp, fn = count["tp"], count["fp"], count["fn"]
        names = ("true_positives", "false_positives", "false_negatives")
        assert tuple(match[name] for name in names) == (tp, fp, fn)
        assert match["average_precision"] == (tp / (tp + fp + fn) if tp + fp + fn else None)
        assert match["f1"] == (2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None)
        assert match["precision"] == (tp / (tp + fp) if tp + fp else None)
        assert match["recall"] == (tp / (tp + fn) if tp + fn else None)
    count = naive(pictures, 0.5, classes, value)
    tp, objects = count["tp"], 2 * count["tp"] + count["fp"] + count["fn"]
    if tp:
        assert entry["sq"] == entry["mean_matched_iou"] == pytest.approx(float(count["iou"] / tp))
        assert entry["pq"] == pytest.approx(entry["sq"] * entry["rq"], rel=1e-12)
    assert entry["rq"] == (2 * tp / objects if objects else None)
    for name in ("splits", "merges", "missed", "invented"):
        assert entry[name] == count[name]
    assert entry["truth_objects"] == tp + count["fn"]
    assert entry["mask_objects"] == tp + count["fp"]
    json.dumps(entry, allow_nan=False)


@given(st.lists(images(), max_size=3))
def test_scores_are_those_of_counting_by_hand(pictures):
    tables = [Contingency.from_labels(*picture) for picture in pictures]
    (entry,) = instance_scores(tables, class_names=["cell"], thresholds=THRESHOLDS)
    assert (entry["value"], entry["name"]) == (None, "cell")
    check(entry, pictures)


@given(images(), hnp.arrays(np.int64, 7, elements=st.integers(0, 3)))
def test_only_objects_of_one_class_match(picture, drawn):
    classes = np.append(0, drawn[1:])
    table = Contingency.from_labels(*picture)
    options = {"class_names": ["background", "cell", "nucleus"], "thresholds": THRESHOLDS}
    known = {"truth_classes": [classes], "mask_classes": [dict(enumerate(classes.tolist()))]}
    entries = instance_scores([table], **options, **known)
    assert [(entry["value"], entry["name"]) for entry in entries] == [(1, "cell"), (2, "nucleus")]
    for entry in entries:
        check(entry, [picture], classes, entry["value"])


@given(images(), st.permutations(range(1, 7)))
def test_other_ids_give_the_same_digits(picture, order):
    truth, mask = picture
    new = np.array([0, *order]) * 2**33
    options = {"class_names": ["cell"], "thresholds": [0.5, 0.75]}
    first = instance_scores([Contingency.from_labels(truth, mask)], **options)
    assert instance_scores([Contingency.from_labels(new[truth], new[mask])], **options) == first


@given(images(), st.sampled_from(THRESHOLDS))
def test_the_matching_has_the_most_pairs_and_then_the_most_iou(picture, threshold):
    truth, mask = picture
    overlap = overlaps([Contingency.from_labels(truth, mask)])
    chosen = matches(overlap, threshold)
    expected = best_matching(ious(voxel_sets(truth, None, 1), voxel_sets(mask, None, 1)), threshold)
    assert (chosen.size, overlap.iou[chosen].sum()) == pytest.approx(tuple(map(float, expected)))
    assert np.all(overlap.iou[chosen] > threshold)


@given(images(), st.sampled_from([0.5, 0.6, 0.9]))
def test_from_one_half_on_a_match_is_unique(picture, threshold):
    overlap = overlaps([Contingency.from_labels(*picture)])
    pairs = overlap.pairs[matches(overlap, threshold)]
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)


def test_an_overlap_of_exactly_one_half_is_no_match():
    # Two halves of one object both have IoU 1/2: with >= the partner would be a choice.
    truth, mask = np.array([[1, 1]]), np.array([[1, 2]])
    (entry,) = instance_scores(
        [Contingency.from_labels(truth, mask)], class_names=["cell"], thresholds=[0.5, 0.49]
    )
    strict, lower = entry["matches"]
    assert (strict["true_positives"], strict["false_positives"]) == (0, 2)
    assert (lower["true_positives"], lower["false_positives"]) == (1, 1)
    assert entry["pq"] == 0
    assert entry["sq"] is None
    assert entry["undefined"] == {"sq": NO_MATCH, "mean_matched_iou": NO_MATCH}
    assert (entry["splits"], entry["merges"], entry["missed"], entry["invented"]) == (1, 0, 0, 0)


def test_below_one_half_more_matches_win_over_a_better_one():
    # Truth 1 shares 4 with mask 1 and 3 with mask 2; truth 2 shares 3 with mask 1 alone. Taking
    # the best pair (1, 1) first would leave one match; (1, 2) and (2, 1) are two.
    table = Contingency(*np.array([[1, 1, 2], [1, 2, 1], [4, 3, 3]]))
    overlap = overlaps([table])
    assert overlap.iou.tolist() == [4 / 10, 3 / 7, 3 / 7]
    assert overlap.pairs[matches(overlap, 0.1)].tolist() == [[1, 2], [2, 1]]


@pytest.mark.parametrize(
    ("counts", "expected"), [([4, 1, 1, 4], [[1, 1], [2, 2]]), ([1, 4, 4, 1], [[1, 2], [2, 1]])]
)
def test_below_one_half_the_sum_of_iou_decides_between_equally_many(counts, expected):
    # 4/6 + 4/6 against 1/9 + 1/9
    overlap = overlaps(
        [Contingency(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2]), np.array(counts))]
    )
    assert overlap.pairs[matches(overlap, 0.05)].tolist() == expected


def test_the_area_of_an_object_takes_in_what_lies_on_nothing_and_on_other_classes():
    truth = np.array([[1, 1, 1, 1, 0]])
    mask = np.array([[1, 1, 2, 0, 1]])
    overlap = overlaps([Contingency.from_labels(truth, mask)], [{1: 1}], [{1: 1, 2: 2}])
    assert overlap.truth.areas.tolist() == [0, 4]
    assert overlap.mask.areas.tolist() == [0, 3, 1]
    assert overlap.iou.tolist() == [2 / 5]
    assert overlap.pairs.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("truth", "mask", "expected", "reasons"),
    [
        ([0, 0], [0, 0], (None, None, None, None), (NO_OBJECTS, NO_MASK, NO_TRUTH)),
        ([0, 0], [1, 1], (0, 0, None, 0), (None, None, NO_TRUTH)),
        ([1, 1], [0, 0], (0, None, 0, 0), (None, NO_MASK, None)),
        ([1, 1], [7, 7], (1, 1, 1, 1), (None, None, None)),
    ],
)
def test_empty_labels(truth, mask, expected, reasons):
    table = Contingency.from_labels(np.array(truth), np.array(mask))
    (entry,) = instance_scores([table], class_names=["cell"], thresholds=[0.5])
    (match,) = entry["matches"]
    scores = ("average_precision", "precision", "recall", "f1")
    assert tuple(match[score] for score in scores) == expected
    found = tuple(match["undefined"].get(s) for s in ("f1", "precision", "recall"))
    assert found == reasons
    assert entry["pq"] == expected[0]
    assert entry["undefined"].get("pq") == reasons[0]
    assert entry["missed"] == (max(truth) > 0 and max(mask) == 0)
    assert entry["invented"] == (max(mask) > 0 and max(truth) == 0)
    assert (entry["recall_interval"] is None) == (max(truth) == 0)
    assert (entry["precision_interval"] is None) == (max(mask) == 0)


def test_no_image_and_a_class_that_the_mask_never_gives():
    (entry,) = instance_scores([], class_names=["cell"], thresholds=[0.5])
    assert entry["undefined"]["pq"] == NO_OBJECTS
    table = Contingency.from_labels(np.array([1, 2, 2]), np.array([1, 0, 0]))
    _, missed = instance_scores(
        [table],
        class_names=["background", "cell", "nucleus"],
        thresholds=[0.5],
        truth_classes=[np.array([0, 1, 2])],
        mask_classes=[np.array([0, 1])],
    )
    assert (missed["pq"], missed["missed"], missed["matches"][0]["recall"]) == (0, 1, 0)


def test_intervals_are_wilsons():
    truth = np.arange(1, 7)
    table = Contingency.from_labels(truth, np.zeros_like(truth))
    (entry,) = instance_scores([table], class_names=["cell"], thresholds=[])
    low, high, note = entry["recall_interval"].values()
    # none of six: high = z² / (6 + z²) with z = 1.959964
    assert (low, high) == (0, pytest.approx(3.841459 / 9.841459, abs=1e-6))
    assert "not independent" in note


def line(*runs):
    """A row of voxels from (id, length) runs."""
    return np.concatenate([np.full(length, value) for value, length in runs])


@pytest.mark.parametrize(
    ("truth", "mask", "expected"),
    [
        # two halves of one object
        (line((1, 20)), line((1, 10), (2, 10)), {"splits": 1}),
        # a crumb of exactly a tenth is no split, one voxel more is
        (line((1, 20)), line((1, 18), (2, 2)), {}),
        (line((1, 20)), line((1, 17), (2, 3)), {"splits": 1}),
        # twelve pieces, none of which has a tenth of the object
        (line((1, 36)), np.arange(36) // 3 + 1, {"splits": 1}),
        # twelve objects under one segment
        (np.arange(36) // 3 + 1, line((1, 36)), {"merges": 1}),
        # a large neighbour spills a tenth of itself over a small object: no error but a bad fit
        (line((1, 10), (2, 36)), line((1, 6), (2, 40)), {}),
        # a tenth is missed and invented, one voxel more is neither
        (line((1, 10), (0, 9)), line((0, 9), (1, 10)), {"missed": 1, "invented": 1}),
        (line((1, 10), (0, 8)), line((0, 8), (1, 10)), {}),
    ],
)
def test_errors_by_hand(truth, mask, expected):
    (entry,) = instance_scores(
        [Contingency.from_labels(truth, mask)], class_names=["cell"], thresholds=[]
    )
    names = ("splits", "merges", "missed", "invented")
    assert {name: entry[name] for name in names if entry[name]} == expected


def test_hits_name_the_truth_objects_for_any_mask():
    truth = np.array([5, 5, 9, 9, 2**40, 0, 77])
    good, bad = np.array([1, 1, 0, 3, 4, 4, 0]), np.zeros(7, int)
    for mask, expected in ((good, [True, False, False]), (bad, [False] * 3)):
        ids, hits = hits_of(Contingency.from_labels(truth, mask, ignore_label=77))
        assert ids.tolist() == [5, 9, 2**40]
        assert hits.tolist() == expected
    table = Contingency.from_labels(truth, truth, ignore_label=77)
    classes = {5: 1, 9: 0, 2**40: 2}
    ids, hits = hits_of(table, truth_classes=classes, mask_classes=classes | {5: 2})
    assert (ids.tolist(), hits.tolist()) == ([5, 2**40], [False, True])


def test_components_of_a_class_by_hand():
    truth = np.array([[1, 1, 0, 2], [0, 0, 0, 9]])
    mask = np.array([[1, 0, 3, 2], [1, 1, 0, 2]])
    table = Contingency.from_labels(truth, mask, ignore_label=9)
    options = {
        "class_names": ["background", "cell", "nucleus"],
        "truth_classes": [np.array([0, 1, 1])],
        "mask_classes": [np.array([0, 1, 2, 2])],
    }
    cell, nucleus = component_counts([table, table], **options | both(options), voxel_size=(4, 2.5))
    assert cell == {
        "value": 1,
        "name": "cell",
        "truth_voxels": 6,
        "truth_components": 4,
        "truth_volume": 60.0,
        "mask_voxels": 6,
        "mask_components": 2,
        "mask_volume": 60.0,
    }
    assert (nucleus["truth_components"], nucleus["mask_components"]) == (0, 4)
    assert nucleus["mask_voxels"] == 4
    assert component_counts([table], **options)[0]["truth_volume"] is None


def both(options):
    """The classes of one image for two."""
    return {name: 2 * options[name] for name in ("truth_classes", "mask_classes")}


TABLE = Contingency.from_labels(np.array([1]), np.array([3]))
NAMES = {"class_names": ["background", "cell"], "thresholds": [0.5]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (NAMES, "received 2 class names for objects without classes"),
        (NAMES | {"truth_classes": [{1: 1}]}, "only one label has classes"),
        (
            NAMES | {"truth_classes": [{1: 1}], "mask_classes": [{1: 1}]},
            r"class of an object is not known \(3\)",
        ),
        (
            NAMES | {"truth_classes": [np.array([0, 1])], "mask_classes": [np.array([0, 1])]},
            "class of an object is not known .index 3",
        ),
        (NAMES | {"truth_classes": [], "mask_classes": []}, "shorter than"),
        ({"class_names": ["cell"], "thresholds": [1.0]}, "threshold is 1.0"),
        ({"class_names": ["cell"], "thresholds": [-0.1]}, "threshold is -0.1"),
    ],
)
def test_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        instance_scores([TABLE], **options)
