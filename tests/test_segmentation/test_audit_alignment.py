"""Labels beside their images are found; labels that only may be are not."""

import numpy as np
import pytest
from scipy import ndimage

from segmentation.audit.alignment import QUARTERS, borders, edges, find_shift
from segmentation.audit.misaligned import Placement, alignment_findings, misaligned
from segmentation.audit.thresholds import DataThresholds

LIMITS = DataThresholds()


def section(seed, size=192, noise=1.0, contrast=3.0):
    """Blobs of another grey than their surroundings, and their label."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=(size, size)), 5)
    label = (field > np.quantile(field, 0.7)).astype("uint8")
    return contrast * label + random.normal(0, noise, label.shape), label


def found_for(pairs):
    shift = find_shift([image for image, _ in pairs], [label for _, label in pairs])
    if shift is None:
        return []
    image, label = pairs[0]
    return alignment_findings([Placement("fly1.zarr", shift, image, label)], LIMITS)


@pytest.mark.parametrize(("y", "x"), [(5, -3), (0, 4), (-9, 9), (-3, 0)])
def test_a_label_that_was_moved_is_found_with_its_way_back(y, x):
    pairs = [section(seed) for seed in range(3)]
    moved = [(image, np.roll(label, (y, x), (0, 1))) for image, label in pairs]
    (finding,) = found_for(moved)
    assert (finding.code, finding.severity) == ("DATA-MISALIGNED", "warning")
    assert f"a shift of {-y} voxels along y and {-x} along x." in finding.statement
    assert finding.evidence[0].rows[0][1:3] == (-y, -x)
    assert finding.evidence[1].pixels.shape == (128, 128, 3)
    assert found_for(pairs) == []


# What must not be said to be misaligned: near enough, noise, no border, no edge, too small.
SILENT = {
    "two voxels": [(image, np.roll(label, 2, 0)) for image, label in [section(0)]],
    "unrelated": [(section(0)[0], section(1)[1])],
    "noise": [(np.random.default_rng(0).random((192, 192)), section(1)[1])],
    "no border": [(section(0)[0], np.ones((192, 192), "uint8"))],
    "no edge": [(np.ones((192, 192)), section(0)[1])],
    "small": [(section(0, 40)[0], np.roll(section(0, 40)[1], 6, 0))],
    "none": [],
}


@pytest.mark.parametrize("name", SILENT)
def test_weak_evidence_is_none(name):
    assert found_for(SILENT[name]) == []


def test_chance_finds_nothing():
    """Fifty images with the labels of others: at a true threshold not one of them is believed."""
    for seed in range(50):
        shift = find_shift([section(seed, 128)[0]], [section(seed + 100, 128)[1]])
        assert shift is None or not misaligned(shift, LIMITS)


def test_a_weak_image_still_tells():
    pairs = [section(seed, noise=2.0) for seed in range(4)]
    shift = find_shift(
        [i for i, _ in pairs], [np.roll(label, (6, 0), (0, 1)) for _, label in pairs]
    )
    assert (shift.y, shift.x, shift.agreeing) == (-6, 0, QUARTERS)
    assert shift.correlation > shift.unmoved


def test_edges_and_borders_meet():
    label = np.zeros((8, 8), "uint8")
    label[:, 4:] = 1
    assert np.flatnonzero(borders(label).all(axis=0)).tolist() == [3, 4]
    assert not borders(label)[:, [0, 1, 2, 5, 6, 7]].any()
    assert set(edges(label.astype(float)).argmax(axis=1).tolist()) <= {3, 4}
