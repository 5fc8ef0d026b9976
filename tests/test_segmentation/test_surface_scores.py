import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.metrics.surface import SurfaceCounts, SurfaceOptions, surface_scores
from tests.test_segmentation.label_tilings import PLANE, SIZES, label_pairs, square, whole

NAMES = ["background", "membrane", "nucleus"]


def scored(truth, mask, options, tolerances=(1.0,)):
    """Scores of class 1."""
    names = NAMES[: options.num_classes]
    counts = whole(truth, mask, options)
    return surface_scores(counts, options=options, tolerances=tolerances, class_names=names)[0]


def deepmind(truth, mask, voxel_size):
    """The oracle, which imports names that scipy is about to drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return surface_distance.compute_surface_distances(truth, mask, voxel_size)


def robust_hausdorff(distances, percent):
    """The oracle's percentile, a hair below: at a tie its own rounding decides (see below)."""
    return surface_distance.compute_robust_hausdorff(distances, percent * (1 - 1e-7))


@settings(deadline=None)
@given(st.data(), label_pairs())
def test_scores_are_those_of_deepmind(data, labels):
    truth, mask = (np.where(array > 2, 0, array) for array in labels)
    size = tuple(data.draw(SIZES) for _ in truth.shape)
    options = SurfaceOptions(3, size, cap=100.0)
    tolerances = data.draw(st.lists(st.floats(0, 20), min_size=1, max_size=3))
    counts = whole(truth, mask, options)
    classes = surface_scores(counts, options=options, tolerances=tolerances, class_names=NAMES)
    for entry in classes:
        pair = (truth == entry["value"], mask == entry["value"])
        if not (pair[0].any() and pair[1].any()):
            continue
        distances = deepmind(*pair, size)
        nsd = [surface_distance.compute_surface_dice_at_tolerance(distances, t) for t in tolerances]
        assert entry["nsd"] == pytest.approx(nsd, rel=1e-12)
        assert entry["hd50"] == pytest.approx(robust_hausdorff(distances, 50), rel=1e-12)
        assert entry["hd95"] == pytest.approx(robust_hausdorff(distances, 95), rel=1e-12)
        areas = [distances["surfel_areas_gt"].sum(), distances["surfel_areas_pred"].sum()]
        assert [entry["truth_area"], entry["mask_area"]] == pytest.approx(areas, rel=1e-12)
        assert entry["censored_share"] == 0
        assert entry["undefined"] == {}


@pytest.mark.parametrize("threshold", [0.7, 2.2])
def test_large_volumes_have_the_distances_of_deepmind(threshold):
    random = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(random.normal(size=(20, 70, 80)), 3) for _ in range(2)]
    truth, mask = (array > threshold * array.std() for array in smooth)
    size = (4.0, 1.0, 0.5)
    options = SurfaceOptions(2, size, cap=200.0)
    counts = whole(truth.astype(np.uint8), mask.astype(np.uint8), options)
    distances = deepmind(truth, mask, size)
    for direction, name in enumerate(["distances_gt_to_pred", "distances_pred_to_gt"]):
        rows = counts.direction == direction
        found = np.sort(np.repeat(np.sqrt(counts.squared[rows]), counts.count[rows]))
        np.testing.assert_array_equal(found, distances[name])


def test_a_tolerance_that_is_a_distance_counts_it_as_deepmind_does():
    # √3 · √3 rounds to less than 3: squares alone would lose the distance.
    truth = square((4, 4, 4), (8, 8, 8), (12, 12, 12))
    mask = square((5, 5, 5), (8, 8, 8), (12, 12, 12))
    size = (1.0, 1.0, 1.0)
    distances = deepmind(truth == 1, mask == 1, size)
    assert 3.0**0.5 in distances["distances_gt_to_pred"]
    entry = scored(truth, mask, SurfaceOptions(2, size, cap=3.0**0.5), (3.0**0.5,))
    assert entry["nsd"] == [1.0]
    assert surface_distance.compute_surface_dice_at_tolerance(distances, 3.0**0.5) == 1
    assert entry["censored_share"] == 0


def test_deepmind_has_no_number_where_neither_has_a_surface():
    nothing = np.zeros((4, 4), bool)
    distances = deepmind(nothing, nothing, (1, 1))
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(surface_distance.compute_surface_dice_at_tolerance(distances, 1))
    entry = scored(nothing.astype(np.uint8), nothing.astype(np.uint8), PLANE)
    assert (entry["nsd"], entry["hd50"], entry["hd95"]) == ([None], None, None)


def test_deepmind_fails_with_numpy_2_where_one_side_has_no_surface(monkeypatch):
    truth, nothing = square((4, 4), (8, 8)) == 1, np.zeros((12, 12), bool)
    with pytest.raises(AttributeError, match=r"np\.Inf"):
        deepmind(truth, nothing, (1, 1))
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    distances = deepmind(truth, nothing, (1, 1))
    assert surface_distance.compute_surface_dice_at_tolerance(distances, 4) == 0
    assert np.isinf(surface_distance.compute_robust_hausdorff(distances, 95))


def test_percentile_at_a_tie_does_not_depend_on_rounding():
    # Ten equal surfels at each of two distances: half of the area is reached at the first one.
    # Summed one by one as DeepMind does, 10 of 20 areas of 0.1 are 0.49999999999999994.
    areas = np.full(20, 0.1)
    distances = np.repeat([1.0, 2.0], 10)
    oracle = {
        "distances_gt_to_pred": distances,
        "distances_pred_to_gt": distances,
        "surfel_areas_gt": areas,
        "surfel_areas_pred": areas,
    }
    assert surface_distance.compute_robust_hausdorff(oracle, 50) == 2
    assert robust_hausdorff(oracle, 50) == 1
    options = SurfaceOptions(2, (0.1, 7.0), cap=4.0)
    columns = {
        "value": np.ones(4),
        "direction": np.array([0, 0, 1, 1]),
        "code": np.full(4, 0b0101),  # a line along the first axis: 0.1 long
        "squared": np.array([1.0, 4.0, 1.0, 4.0]),
        "count": np.full(4, 10),
        "excluded": np.zeros((2, 2)),
    }
    counts = SurfaceCounts.from_arrays(columns)
    entry = surface_scores(counts, options=options, tolerances=[1], class_names=NAMES[:2])[0]
    assert (entry["hd50"], entry["hd95"]) == (1, 2)


def test_a_class_without_a_surface_has_no_scores():
    entry = scored(square((0, 0), (1, 1)) * 0, square((0, 0), (1, 1)) * 0, PLANE, (1.0, 2.0))
    reason = "neither truth nor mask has a surface of this class"
    assert entry == {
        "value": 1,
        "name": "membrane",
        "nsd": [None, None],
        "hd50": None,
        "hd95": None,
        "truth_area": 0.0,
        "mask_area": 0.0,
        "censored_share": None,
        "excluded": 0,
        "undefined": dict.fromkeys(["nsd", "hd50", "hd95", "censored_share"], reason),
    }
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


@pytest.mark.parametrize("reason", ["missed", "invented"])
def test_a_structure_on_one_side_only_is_the_worst(reason):
    sides = [square((4, 4), (8, 8)), np.zeros((12, 12), np.uint8)]
    entry = scored(*(sides if reason == "missed" else sides[::-1]), PLANE)
    assert (entry["nsd"], entry["censored_share"]) == ([0.0], 1.0)
    assert (entry["hd50"], entry["hd95"]) == (None, None)
    assert entry["undefined"].keys() == {"hd50", "hd95"}
    assert entry["undefined"]["hd95"].startswith(f"{reason}, the worst there is")
    # Four sides of 3 and four blunted corners.
    area = 12 + 4 * np.sqrt(0.5)
    assert entry["truth_area"] + entry["mask_area"] == pytest.approx(area)


def test_a_percentile_beyond_the_cap_is_not_given():
    # A square that is found, and one that is missed: 4 · 7 + √8 and 4 · 1 + √8 of contour.
    truth = square((2, 2), (10, 10), (12, 40))
    mask = truth.copy()
    truth[5:7, 30:32] = 1
    entry = scored(truth, mask, PLANE)
    share = (4 + np.sqrt(8)) / (2 * (28 + np.sqrt(8)) + 4 + np.sqrt(8))
    assert entry["censored_share"] == pytest.approx(share)
    assert (entry["hd50"], entry["hd95"]) == (0, None)
    assert entry["undefined"] == {"hd95": "more than the cap of 4"}
    assert scored(truth, mask, replace(PLANE, cap=40.0))["hd95"] > 4


def test_where_all_surfaces_are_beside_ignored_voxels_the_reason_says_so():
    truth, mask = np.zeros((12, 12), np.uint8), square((5, 8), (7, 9))
    truth[4:8, 7:10] = 9
    entry = scored(truth, mask, replace(PLANE, ignore_label=9))
    reason = "neither truth nor mask has a surface of this class, except beside ignored voxels"
    assert set(entry["undefined"].values()) == {reason}
    assert entry["excluded"] == 6


def test_ignored_voxels_hide_where_the_mask_is_too_wide():
    truth, mask = square((4, 4), (8, 8)), square((4, 4), (8, 9))
    # Contours of 12 and 14 straight pieces and 4 corners each; of the truth 3 pieces, and of the
    # mask 3 and 2 corners, are off the other contour.
    share = (20 + 6 * np.sqrt(0.5)) / (26 + 8 * np.sqrt(0.5))
    assert scored(truth, mask, PLANE, (0.0, 1.0))["nsd"] == [pytest.approx(share), 1.0]
    truth[4:8, 8] = 9
    assert scored(truth, mask, replace(PLANE, ignore_label=9), (0.0,))["nsd"] == [1.0]


@pytest.mark.parametrize("tolerance", [4.1, -1.0, np.nan, np.inf])
def test_refuses_a_tolerance_beyond_the_cap(tolerance):
    with pytest.raises(ValueError, match=f"tolerance {tolerance} is not within 0 and the cap 4.0"):
        scored(*np.zeros((2, 3, 3), int), PLANE, (tolerance,))


def test_refuses_counts_and_names_of_other_classes():
    with pytest.raises(ValueError, match="3 class names and counts of 3 classes for 2"):
        surface_scores(SurfaceCounts.empty(3), options=PLANE, tolerances=[1], class_names=NAMES)
