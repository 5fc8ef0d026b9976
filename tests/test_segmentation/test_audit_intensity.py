"""Intensities as a network gets them, and the windows that are looked at."""

import numpy as np
import pytest

from segmentation.audit.intensity import Intensities, intensity_findings
from segmentation.audit.thresholds import DataThresholds
from segmentation.audit.windows import image_window, label_window, windows
from segmentation.region import Region
from tests.test_segmentation.surveys import codes

LIMITS = DataThresholds()


def ct(seed=0):
    """A grey image of 8 bits."""
    return np.random.default_rng(seed).normal(120, 30, (64, 64)).clip(0, 255).round()


def found_in(image, *, normalised):
    one = Intensities.of([image])
    return intensity_findings(["a.png"], [one], LIMITS, normalised=normalised)


HOT = np.where(np.arange(4096).reshape(64, 64) == 9, 60000.0, ct())
FAR = 1000 + ct() / 255
# Image, whether it is normalised first, severity or None; each beside its twin.
INTENSITIES = [
    (ct(), False, "warning"),
    (ct() / 255, False, None),
    (FAR, False, "warning"),
    (FAR - 1000, False, None),
    (20 + ct() / 255, False, "warning"),
    (HOT, True, "warning"),
    (ct(), True, None),
    (np.full((64, 64), 7.0), True, "error"),
    (np.where(HOT > 1000, np.nan, HOT), True, "error"),
    (ct() * 200, True, None),
]


@pytest.mark.parametrize(("image", "normalised", "severity"), INTENSITIES)
def test_intensities_far_from_what_a_network_needs(image, normalised, severity):
    found = found_in(image, normalised=normalised)
    assert [(f.code, f.severity) for f in found] == [("DATA-UNSCALED", severity)] * bool(severity)


def test_s4_9_grey_values_of_8_bits_into_a_network_that_does_not_scale_them():
    image = ct()
    (finding,) = found_in(image, normalised=False)
    assert finding.code == "DATA-UNSCALED"
    assert f"the largest is {image.max():.4g}, as they are." in finding.statement
    assert "--intensity-percentiles" in finding.advice
    assert finding.evidence[0].rows[0] == (
        "a.png",
        image.min(),
        *map(pytest.approx, (np.percentile(image, 1), image.mean(), image.std())),
        pytest.approx(np.percentile(image, 99)),
        image.max(),
    )
    assert found_in(image / 255, normalised=False) == []


def test_both_kinds_are_told_apart():
    images = [np.zeros((8, 8)), ct()]
    found = intensity_findings(
        ["a", "b"], [Intensities.of([i]) for i in images], LIMITS, normalised=False
    )
    assert codes(found) == ["DATA-UNSCALED"] * 2
    assert [f.severity for f in found] == ["error", "warning"]
    assert "The images a have no contrast" in found[0].statement


def test_windows_are_middles_of_sections_at_even_distances():
    found = windows(Region((10, 0, 5), (26, 2000, 505)), most=4)
    assert [w.start[0] for w in found] == [12, 16, 20, 24]
    assert {(w.start[1:], w.stop[1:]) for w in found} == {((488, 5), (1512, 505))}
    assert [w.shape for w in windows(Region((0, 0), (30, 40)))] == [(30, 40)]
    assert len(windows(Region((0, 0, 0), (3, 30, 40)))) == 3


def test_windows_are_read_with_and_without_channels():
    stack = np.random.default_rng(0).random((3, 2, 6, 7))
    box = Region((1, 2, 3), (2, 5, 7))
    np.testing.assert_allclose(image_window(stack, box, 1), stack[1, :, 2:5, 3:7].mean(axis=0))
    np.testing.assert_array_equal(label_window(stack[:, 0], box), stack[1, 0, 2:5, 3:7])
    np.testing.assert_array_equal(image_window(stack[:, 0], box, None), stack[1, 0, 2:5, 3:7])
