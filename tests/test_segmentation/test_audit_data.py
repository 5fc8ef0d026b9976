"""Items: every finding fires on its fault and is silent on the twin without it."""

import numpy as np
import pytest

from segmentation.audit.data import data_findings
from segmentation.audit.finding import Picture
from segmentation.audit.likeness import label_agreement, pair_picture
from segmentation.audit.thresholds import DataThresholds
from segmentation.region import Region
from segmentation.training.fingerprint import fingerprint
from tests.test_segmentation.surveys import codes, sample_survey, voxel_survey

LIMITS = DataThresholds()
WHOLE = (50, 25, 25)


def everywhere(*row):
    return {"counts": [row] * 38}


def mixed(**rows):
    """Counts of 38 items: so many of each kind."""
    return {"counts": [row for row, number in rows.values() for _ in range(number)]}


def some_empty(number):
    return mixed(empty=((9, 0, 0), number), full=((9, 9, 9), 38 - number))


# Code, severity, what makes it, and the twin beside it.
DATA = [
    ("DATA-IMBALANCE", "error", everywhere(50, 50, 0), everywhere(50, 50, 5)),
    ("DATA-IMBALANCE", "warning", everywhere(980, 15, 5), everywhere(980, 12, 12)),
    ("DATA-IMBALANCE", "warning", everywhere(10**6, 9900, 10000), everywhere(10**5, 9900, 10000)),
    ("DATA-IMBALANCE", "warning", everywhere(99, 5000, 5000), everywhere(51, 5000, 5000)),
    ("DATA-IMBALANCE", "warning", everywhere(49, 5000, 5000), everywhere(51, 5000, 5000)),
    ("DATA-EMPTY-TARGET", "warning", some_empty(20), some_empty(19)),
    ("DATA-DUPLICATE", "warning", {"pairs": {(0, 1): 1.0}}, {"pairs": {(0, 1): 0.999}}),
    ("DATA-DUPLICATE", "warning", {"pairs": {(0, 1): 1.0}}, {"pairs": {(0, 25): 1.0}}),
    (
        "DATA-DUP-CONFLICT",
        "warning",
        {"pairs": {(0, 1): 1.0}, "agreements": {(0, 1): (0.9, 0.8, None)}},
        {},
    ),
]
# The fourth is no fault: foreground is not rare, and the background has its ninety-ninth part.
DATA.pop(3)


@pytest.mark.parametrize(("code", "severity", "fault", "twin"), DATA)
def test_data_findings_fire_and_are_silent(code, severity, fault, twin):
    (finding,) = data_findings(voxel_survey(**fault), LIMITS)
    assert (finding.code, finding.severity) == (code, severity)
    assert all((finding.rule, finding.advice, finding.proves_not, finding.evidence))
    assert data_findings(voxel_survey(**twin), LIMITS) == []


def test_s3_6_images_without_the_isolated_class():
    """One class alone: most images hold none of it, and what other classes are is said."""
    (finding,) = data_findings(voxel_survey(**some_empty(30)), LIMITS)
    assert finding.code == "DATA-EMPTY-TARGET"
    assert finding.statement == "30 of 38 items hold nothing but background."
    assert "measured 79%" in finding.rule
    assert "--other-classes ignore" in finding.advice
    assert data_findings(voxel_survey(), LIMITS) == []


def test_a_rare_class_is_named_with_its_share():
    (finding,) = data_findings(voxel_survey(**everywhere(980, 15, 5)), LIMITS)
    assert "synapse (0.50%)" in finding.statement
    assert "membrane" not in finding.statement
    assert "196 times" in finding.statement
    rows = {row[0]: row[1:] for row in finding.evidence[0].rows}
    assert rows["synapse"] == (5 * 38, 0.005, 38)


FOLD = {"train": tuple(range(30)), "validation": tuple(range(30, 40)), "test": ()}


@pytest.mark.parametrize(
    ("rare", "expected"), [(4, ["DATA-IMBALANCE"]), (5, []), (0, ["DATA-IMBALANCE"])]
)
def test_few_samples_of_a_class(rare, expected):
    found = data_findings(sample_survey([1] * rare + [0] * (40 - rare), FOLD), LIMITS)
    assert codes(found) == expected
    assert all(f.severity == ("warning" if rare else "error") for f in found)


def test_the_same_sample_with_two_classes():
    survey = sample_survey([0, 1] * 20, FOLD, pairs={(0, 1): 1.0}, agreements={(0, 1): ()})
    (finding,) = data_findings(survey, LIMITS)
    assert finding.code == "DATA-DUP-CONFLICT"
    assert finding.statement.endswith("different labels in 000.png and 001.png.")


def test_two_labels_of_one_image_show_what_can_be_reached(monkeypatch):
    monkeypatch.setattr("segmentation.audit.likeness.BLOCK_VOXELS", 50)
    first = np.zeros((20, 10), "uint8")
    second = first.copy()
    first[:10] = 1
    second[5:15] = 1
    regions = (Region((0, 0), (20, 10)),) * 2
    # Of 100 voxels each 50 are shared; so are those of the background.
    assert label_agreement(first, second, regions, 3) == (0.5, 0.5, None)
    first[0, 0] = 9
    assert label_agreement(first, second, regions, 2)[1] == pytest.approx(100 / 199)
    survey = voxel_survey(pairs={(0, 1): 1.0}, agreements={(0, 1): (0.9, 0.62, 0.71)})
    (finding,) = data_findings(survey, LIMITS)
    assert "agree with a Dice of 0.620 in the class where they differ most" in finding.statement


def test_pairs_are_shown_side_by_side():
    image = np.random.default_rng(0).random((3, 80, 80))
    region = Region.whole(image.shape)
    prints = [fingerprint(one, region, None) for one in (image, image[::-1] * 2)]
    picture = pair_picture(*prints, "a and b")
    assert picture.pixels.shape == (64, 132)
    np.testing.assert_array_equal(picture.pixels[:, :64], picture.pixels[:, 68:])
    flat = fingerprint(np.ones((3, 80, 80)), region, None)
    assert pair_picture(prints[0], flat, "nothing") is None
    survey = voxel_survey(pairs={(0, 1): 1.0}, pictures={(0, 1): picture})
    (finding,) = data_findings(survey, LIMITS)
    assert [type(one) for one in finding.evidence[1:]] == [Picture]
