from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from segmentation.metrics.probability import ProbabilityHistogram
from segmentation.metrics.probability_scores import probability_scores

FLOATS: Any = np.zeros(3)
NAMES = ("background", "membrane", "vesicle", "synapse")
Pair = tuple[NDArray[Any], NDArray[Any]]


@st.composite
def truths_and_levels(draw: st.DrawFn, dtype: str = "uint8") -> Pair:
    """Few levels, so that ties are common, among them the ends and both sides of one half."""
    top = int(np.iinfo(dtype).max)
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6))
    num_classes = draw(st.integers(2, 4))
    truth = draw(hnp.arrays("int16", shape, elements=st.integers(-1, num_classes)))
    near = st.sampled_from([0, 1, top // 2, top // 2 + 1, top - 1, top])
    elements = near | st.integers(0, top)
    levels = draw(hnp.arrays(dtype, (num_classes, *shape), elements=elements))
    return truth, levels


def counted(pair: Pair) -> list[tuple[NDArray[np.bool_], NDArray[Any]]]:
    """Membership and level of every counted voxel, per class, by boolean masks."""
    truth, levels = pair
    inside = (truth >= 0) & (truth < len(levels))
    return [(truth[inside] == value, levels[value][inside]) for value in range(len(levels))]


def scores_of(pair: Pair) -> dict[str, Any]:
    return probability_scores(ProbabilityHistogram.from_levels(*pair), NAMES[: len(pair[1])])


@settings(deadline=None, max_examples=50)
@given(truths_and_levels("uint8") | truths_and_levels("uint16"))
def test_every_voxel_stands_once_in_every_class(pair: Pair) -> None:
    histogram = ProbabilityHistogram.from_levels(*pair)
    expected = np.zeros((len(pair[1]), 2, 2 ** (8 * pair[1].dtype.itemsize)), np.int64)
    for value, (member, level) in enumerate(counted(pair)):
        np.add.at(expected[value], (member.astype(np.int64), level), 1)
    assert np.array_equal(histogram.counts, expected)
    assert histogram.voxels == len(counted(pair)[0][0])


@settings(deadline=None)
@given(truths_and_levels(), st.randoms(use_true_random=False))
def test_parts_add_up_in_any_order(pair: Pair, random: Any) -> None:
    truth, levels = pair[0].ravel(), pair[1].reshape(len(pair[1]), -1)
    cuts = sorted(random.randint(0, truth.size) for _ in range(3))
    edges = list(zip([0, *cuts], [*cuts, truth.size], strict=True))
    random.shuffle(edges)
    parts = [
        ProbabilityHistogram.from_levels(truth[start:stop], levels[:, start:stop], 2)
        for start, stop in edges
    ]
    whole = ProbabilityHistogram.from_levels(*pair, 2)
    assert sum(parts, ProbabilityHistogram.empty(len(levels), 256)) == whole


def test_a_voxel_counted_in_two_parts_is_seen() -> None:
    truth, levels = np.array([0, 1, 1]), np.array([[250, 9, 3], [5, 246, 252]], np.uint8)
    parts = [
        ProbabilityHistogram.from_levels(truth[part], levels[:, part])
        for part in (slice(0, 2), slice(1, 3))
    ]
    assert parts[0] + parts[1] != ProbabilityHistogram.from_levels(truth, levels)


@settings(deadline=None)
@given(truths_and_levels("uint8") | truths_and_levels("uint16"))
def test_agrees_with_scikit_learn(pair: Pair) -> None:
    for entry, (member, level) in zip(scores_of(pair)["classes"], counted(pair), strict=True):
        probability = level / np.iinfo(level.dtype).max
        assert (entry["positives"], entry["negatives"]) == (member.sum(), (~member).sum())
        if member.all() or not member.any():
            assert entry["auroc"] is None
            continue
        assert entry["auroc"] == pytest.approx(roc_auc_score(member, probability), rel=0, abs=1e-12)
        precision = average_precision_score(member, probability)
        assert entry["average_precision"] == pytest.approx(precision, rel=0, abs=1e-12)
        assert entry["brier"] == pytest.approx(
            brier_score_loss(member, probability), rel=0, abs=1e-12
        )


@settings(deadline=None)
@given(truths_and_levels())
def test_dice_scores_agree_with_their_definitions(pair: Pair) -> None:
    for entry, (member, level) in zip(scores_of(pair)["classes"], counted(pair), strict=True):
        y, p = member.astype(int), level.astype(int)
        whole = int(p.sum() + 255 * y.sum())
        assert entry["soft_dice"] == (int(2 * (p * y).sum()) / whole if whole else None)
        half = int((2 * p >= 255).sum() + y.sum())
        assert entry["dice_at_half"] == (int(2 * y[2 * p >= 255].sum()) / half if half else None)
        if not y.any():
            assert entry["best_threshold"] is entry["best_threshold_dice"] is None
            continue
        every = [
            Fraction(int(2 * y[p >= level].sum()), int((p >= level).sum() + y.sum()))
            for level in range(256)
        ]
        assert entry["best_threshold_dice"] == float(max(every))
        assert entry["best_threshold"] == every.index(max(every)) / 255


def naive_bins(level: NDArray[Any]) -> NDArray[np.int64]:
    """Bin of every voxel: the levels laid side by side, none longer than a tenth of the line."""
    values, voxels = np.unique(level, return_counts=True)
    sizes = [Fraction(int(count)) for count in voxels]
    if len(sizes) <= 10:
        return np.searchsorted(values, level)
    caps = [Fraction(sum(sorted(sizes)[: len(sizes) - k]), 10 - k) for k in range(10)]
    cap = next(cap for cap in caps if sum(min(size, cap) for size in sizes) == 10 * cap)
    lengths = [min(size, cap) for size in sizes]
    centres = [sum(lengths[:i], Fraction(0)) + length / 2 for i, length in enumerate(lengths)]
    return np.array([centre // cap for centre in centres])[np.searchsorted(values, level)]


@settings(deadline=None)
@given(
    hnp.arrays("uint8", st.integers(1, 120), elements=st.integers(0, 40) | st.just(255)),
    st.randoms(use_true_random=False),
)
def test_calibration_agrees_with_a_naive_loop_over_voxels(level: Any, random: Any) -> None:
    member = np.array([random.random() < value / 255 for value in level])
    entry = scores_of((member.astype(int), np.stack([255 - level, level])))["classes"][1]
    bins, probability = naive_bins(level), level / 255
    rows = [(probability[bins == b], member[bins == b]) for b in np.unique(bins)]
    gaps = [abs(p.mean() - y.mean()) for p, y in rows]
    shares = [len(p) / len(level) for p, _ in rows]
    assert entry["ece"] == pytest.approx(np.dot(shares, gaps), rel=0, abs=1e-12)
    assert entry["mce"] == pytest.approx(max(gaps), rel=0, abs=1e-12)
    assert len(entry["reliability"]) == min(10, len(np.unique(level)))
    for row, (p, y) in zip(entry["reliability"], rows, strict=True):
        assert (row["low"], row["high"], row["count"]) == (p.min(), p.max(), len(p))
        assert row["mean_probability"] == pytest.approx(p.mean(), rel=0, abs=1e-12)
        assert row["observed"] == pytest.approx(y.mean(), rel=0, abs=1e-12)


def test_bins_hold_equal_mass() -> None:
    level = np.arange(200, dtype=np.uint8).repeat(7)
    rows = scores_of((np.zeros(1400, int), np.stack([level, level])))["classes"][1]["reliability"]
    assert [row["count"] for row in rows] == [140] * 10
    assert [row["low"] * 255 for row in rows] == pytest.approx(range(0, 200, 20))


def test_voxels_at_probability_zero_and_one_leave_bins_to_the_rest() -> None:
    # 100 and 50 thousand sure voxels, one at each of the 254 levels between: a plain tenth of
    # the voxels would hold all 254; here the ends take about a bin each, and eight are left.
    level = np.concatenate([np.zeros(10**5), np.arange(1, 255), np.full(50_000, 255)])
    level = level.astype(np.uint8)
    rows = scores_of((np.zeros(len(level), int), np.stack([level, level])))["classes"][1]
    between = [row["count"] for row in rows["reliability"][1:-1]]
    assert len(between) == 8
    assert max(between) - min(between) <= 1


# Levels 51, 102, 153, 204 are 0.2, 0.4, 0.6, 0.8; the class is at 102, 153 and 204.
def test_small_table_by_hand() -> None:
    truth = np.array([0, 1, 0, 1, 1])
    levels = np.array([51, 102, 102, 153, 204], np.uint8)
    entry = scores_of((truth, np.stack([255 - levels, levels])))["classes"][1]
    assert entry["auroc"] == pytest.approx(5.5 / 6)  # of six pairs one is tied
    assert entry["average_precision"] == pytest.approx(1 / 3 + 1 / 3 + 1 / 3 * 3 / 4)
    assert entry["brier"] == pytest.approx((0.04 + 0.36 + 0.16 + 0.16 + 0.04) / 5)
    # four bins: |0.2 - 0|, |0.4 - 1/2| twice, |0.6 - 1|, |0.8 - 1|
    assert entry["ece"] == pytest.approx((0.2 + 2 * 0.1 + 0.4 + 0.2) / 5)
    assert entry["mce"] == pytest.approx(0.4)
    assert entry["soft_dice"] == pytest.approx(2 * 1.8 / (2.4 + 3))
    assert entry["dice_at_half"] == pytest.approx(2 * 2 / (2 + 3))
    # taking 102 and above finds all three with one false; every level from 52 does the same
    assert entry["best_threshold"] == 52 / 255
    assert entry["best_threshold_dice"] == pytest.approx(6 / 7)
    assert entry["undefined"] == {}


def test_of_equally_good_thresholds_the_lowest_is_given() -> None:
    # taking the one voxel at 200 gives 2 / (1 + 2), taking the three at 50 too gives 4 / (4 + 2)
    truth, levels = np.array([1, 1, 0, 0]), np.array([200, 50, 50, 50], np.uint8)
    entry = scores_of((truth, np.stack([255 - levels, levels])))["classes"][1]
    assert entry["best_threshold_dice"] == 2 / 3
    assert entry["best_threshold"] == 0


def test_ignored_and_unknown_truth_is_not_counted() -> None:
    truth = np.array([[0, 1, 255], [-3, 1, 2]], np.int16)
    levels = np.zeros((2, 2, 3), np.uint8)
    assert ProbabilityHistogram.from_levels(truth, levels).voxels == 3
    assert ProbabilityHistogram.from_levels(truth, levels, 1).voxels == 1
    assert ProbabilityHistogram.from_levels(truth, levels, 255).voxels == 3
    huge = np.array([2**64 - 1, 0], np.uint64)
    assert (
        ProbabilityHistogram.from_levels(huge, np.zeros((1, 2), np.uint16), 2**64 - 1).voxels == 1
    )


def test_absent_class_is_undefined_with_a_reason() -> None:
    truth = np.array([0, 0, 1, 1])
    levels = np.array([[255, 200, 0, 9], [0, 55, 255, 200], [0, 0, 0, 0]], np.uint8)
    result = scores_of((truth, levels))
    absent = result["classes"][2]
    nowhere = "no voxel of the truth is this class"
    assert absent["undefined"] == {
        "auroc": nowhere,
        "average_precision": nowhere,
        "best_threshold": nowhere,
        "best_threshold_dice": nowhere,
        "soft_dice": "the truth has no voxel of this class and every probability is 0",
        "dice_at_half": "the truth has no voxel of this class and no probability reaches one half",
    }
    assert (absent["brier"], absent["ece"]) == (0, 0)
    assert result["macro_foreground_auroc"] == result["classes"][1]["auroc"] == 1
    assert result["foreground_ece"] == pytest.approx(result["classes"][1]["ece"] / 2)
    alone = scores_of((np.zeros(2, int), levels[:2, :2]))
    assert alone["classes"][0]["undefined"] == {"auroc": "every voxel of the truth is this class"}
    assert alone["undefined"] == {
        "macro_foreground_auroc": "no foreground class has voxels both inside and outside it in "
        "the truth"
    }


def test_nothing_counted_is_undefined_and_json() -> None:
    result = probability_scores(ProbabilityHistogram.empty(2, 256), NAMES[:2])
    for entry in (*result["classes"], result):
        assert set(entry["undefined"].values()) == {"no voxel was counted"}
        assert [key for key, value in entry.items() if value is None] == list(entry["undefined"])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    background = probability_scores(ProbabilityHistogram.empty(1, 256), NAMES[:1])
    assert set(background["undefined"].values()) == {"there is no foreground class"}


def test_counts_beyond_64_bits_when_squared_change_no_digit() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 500)
    levels = generator.integers(0, 2**16, (3, 500)).astype(np.uint16)
    small = ProbabilityHistogram.from_levels(truth, levels)
    large = ProbabilityHistogram(small.counts * 2**44)
    expected, scaled = (probability_scores(h, NAMES[:3]) for h in (small, large))
    for entry, other in zip(expected["classes"], scaled["classes"], strict=True):
        for key in entry.keys() - {"positives", "negatives", "reliability"}:
            assert entry[key] == other[key]


def test_memory_order_and_byte_order_do_not_matter() -> None:
    truth = np.arange(24).reshape(2, 3, 4) % 3
    levels = (np.arange(72).reshape(3, 2, 3, 4) * 907 % 65536).astype(np.uint16)
    expected = ProbabilityHistogram.from_levels(truth, levels)
    last = np.ascontiguousarray(np.moveaxis(levels, 0, -1))
    last.flags.writeable = False
    assert ProbabilityHistogram.from_levels(truth, np.moveaxis(last, -1, 0)) == expected
    swapped = np.asfortranarray(truth).astype(truth.dtype.newbyteorder("S"), order="F")
    foreign = levels.astype(levels.dtype.newbyteorder("S"))
    assert ProbabilityHistogram.from_levels(swapped, foreign) == expected


@settings(deadline=None, max_examples=30)
@given(truths_and_levels("uint16"))
def test_survives_json_in_proportion_to_its_occupied_levels(pair: Pair) -> None:
    histogram = ProbabilityHistogram.from_levels(*pair)
    text = json.dumps(histogram.to_dict())
    assert len(text) < 200 * len(pair[1]) + 20 * pair[1].size
    again = ProbabilityHistogram.from_dict(json.loads(text))
    assert again == histogram
    assert hash(again) == hash(histogram)
    assert histogram != "histogram"


def test_counts_cannot_be_changed_from_outside() -> None:
    counts = np.zeros((1, 2, 256), np.int64)
    histogram = ProbabilityHistogram(counts)
    counts[0, 1, 0] = 7
    assert histogram.voxels == 0
    with pytest.raises(ValueError, match="read-only"):
        histogram.counts[0, 0] = 7


BYTES = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProbabilityHistogram(np.zeros((2, 2, 100), int)), r"shape \(2, 2, 100\)"),
        (lambda: ProbabilityHistogram(FLOATS), "dtype float64"),
        (lambda: ProbabilityHistogram(np.full((1, 2, 256), -1)), "negative count"),
        (lambda: ProbabilityHistogram(np.ones((3, 2, 256), int)), "each voxel to be truly one"),
        (
            lambda: ProbabilityHistogram.empty(2, 256) + ProbabilityHistogram.empty(2, 65536),
            "2 classes in 256 levels and of 2 classes in 65536",
        ),
        (
            lambda: ProbabilityHistogram.from_levels(np.zeros(3, int), BYTES.astype(float)),
            "levels have dtype float64",
        ),
        (
            lambda: ProbabilityHistogram.from_levels(np.zeros(3, int), BYTES.astype("uint32")),
            "levels have dtype uint32",
        ),
        (
            lambda: ProbabilityHistogram.from_levels(FLOATS, BYTES),
            "truth has dtype float64",
        ),
        (
            lambda: ProbabilityHistogram.from_levels(np.zeros(2, int), BYTES),
            r"truth has shape \(2,\) and levels \(2, 3\)",
        ),
        (
            lambda: probability_scores(ProbabilityHistogram.empty(2, 256), NAMES[:3]),
            "3 class names for 2 classes",
        ),
    ],
)
def test_refuses_what_cannot_be_counted(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_adding_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        ProbabilityHistogram.empty(2, 256) + 1  # type: ignore[operator]
