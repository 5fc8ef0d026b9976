"""Splits: every finding fires on its fault and is silent on the twin without it."""

import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest

from segmentation.audit.finding import in_order
from segmentation.audit.split import split_findings
from segmentation.audit.split_changes import changed_findings
from segmentation.audit.split_classes import half_width, no_parts_finding
from segmentation.audit.thresholds import DataThresholds
from tests.test_segmentation.surveys import codes, parts_of, sample_survey, voxel_survey

LIMITS = DataThresholds()
WHOLE, POOR = (50, 25, 25), (50, 25, 0)
RANDOM = np.random.default_rng(5)
# Brightness of 38 items without any order, and the same with the last nine much brighter.
EVEN = RANDOM.normal(120, 5, 38)
BRIGHT = EVEN + np.repeat([0.0, 40.0], [29, 9])
# Of item n: its foreground rises along the list, or is the same in every other order.
RISING = [(1000 - 10 * n, 500, 500 + 10 * n) for n in range(38)]
MIXED = [RISING[n] for n in RANDOM.permutation(38)]


def rare(holders):
    """Synapses in these items of the scored parts, as many in all as if each had its share."""
    counts = [WHOLE] * 20
    for part in (range(20, 29), range(29, 38)):
        held = [n for n in part if n in holders]
        counts += [(50, 25, 225 // len(held)) if n in held else POOR for n in part]
    return {"counts": counts}


def without(items):
    """No synapses in these items."""
    return {"counts": [POOR if n in items else WHOLE for n in range(38)]}


def grouped(names):
    return {"groups": names}


NINE = [f"g{n}" for n in range(38)]
SHARED = [*NINE[:20], *NINE[19:37]]
IN_TWOS = [*NINE[:20], *(f"g{20 + n // 2}" for n in range(9)), *NINE[29:]]
ONE_SIDE = {"validation": tuple(range(20, 29)), "test": ()}
NO_TEST = ({"train": tuple(range(20)), **ONE_SIDE},)

# Code, severity, what makes it (and may make more), and the twin beside it.
SPLITS = [
    ("SPLIT-LEAK", "error", {"pairs": {(0, 20): 1.0}}, {"pairs": {(0, 1): 1.0}}),
    ("SPLIT-LEAK", "error", {"pairs": {(0, 30): 0.99}}, {"pairs": {(30, 31): 0.99}}),
    ("SPLIT-SINGLE-CLASS-VAL", "error", without(range(20, 29)), rare(range(20, 38))),
    ("SPLIT-SINGLE-CLASS-VAL", "error", without(range(29, 38)), rare(range(20, 38))),
    ("SPLIT-SINGLE-CLASS-VAL", "error", without(range(20)), rare(range(20, 38))),
    ("SPLIT-CLASS-SUPPORT", "warning", rare([20, 21, 22, 23, *range(29, 38)]), rare(range(20, 38))),
    ("SPLIT-CLASS-SUPPORT", "warning", rare([*range(20, 29), 30]), rare([*range(20, 34)])),
    ("SPLIT-CLASS-SUPPORT", "warning", rare([22, 29, 33, 34, 35]), rare([*range(23, 34)])),
    ("SPLIT-TINY-VAL", "warning", {"sizes": {"validation": 8}}, {"sizes": {"validation": 9}}),
    ("SPLIT-TINY-VAL", "warning", grouped(IN_TWOS), grouped(NINE)),
    ("SPLIT-TAIL", "error", {"counts": RISING}, {"counts": MIXED}),
    ("SPLIT-TAIL", "error", {"means": np.sort(EVEN)}, {"means": EVEN}),
    ("SPLIT-GROUP-DIVIDED", "warning", grouped(SHARED), grouped(NINE)),
    (
        "SPLIT-PRIOR-SHIFT",
        "warning",
        {"counts": [WHOLE] * 20 + [(68, 16, 16)] * 18},
        {"counts": [WHOLE] * 20 + [(53, 23, 24)] * 18},
    ),
    (
        "SPLIT-PRIOR-SHIFT",
        "warning",
        {"counts": [WHOLE] * 20 + [(58, 21, 21)] * 9 + [WHOLE] * 9},
        {"counts": [WHOLE] * 20 + [(54, 23, 23)] * 9 + [WHOLE] * 9},
    ),
    ("SPLIT-INTENSITY-SHIFT", "warning", {"means": BRIGHT}, {"means": EVEN}),
    ("SPLIT-NO-TEST", "warning", {"folds": NO_TEST}, {}),
    ("SPLIT-LINKED", "info", {"linked": (("fly0", "fly1"),)}, {}),
]


@pytest.mark.parametrize(("code", "severity", "fault", "twin"), SPLITS)
def test_split_findings_fire_and_are_silent(code, severity, fault, twin):
    found = in_order(split_findings(voxel_survey(**fault), LIMITS))
    assert (found[0].code, found[0].severity) == (code, severity)
    for finding in found:
        assert all((finding.rule, finding.advice, finding.proves_not, finding.evidence))
    assert code not in codes(split_findings(voxel_survey(**twin), LIMITS))


def test_the_clean_survey_has_no_finding():
    assert split_findings(voxel_survey(), LIMITS) == []
    assert split_findings(voxel_survey(folds=()), LIMITS) == []


def test_another_brightness_by_chance_is_worth_knowing_only():
    """Where maskmill divides, one division in twenty is as unusual as one in twenty is."""
    drawn = replace(voxel_survey(means=BRIGHT), fixed=False)
    found = [f for f in split_findings(drawn, LIMITS) if f.code == "SPLIT-INTENSITY-SHIFT"]
    assert {finding.severity for finding in found} == {"info"}
    assert all("--folds" in finding.advice for finding in found)


def test_a_leak_shouts_and_names_the_pair():
    (finding, *_) = split_findings(voxel_survey(pairs={(3, 21): 0.991}), LIMITS)
    assert "THE SCORES ARE NOT VALID" in finding.statement
    assert "fly3.zarr (train) and fly21.zarr (validation) look alike in a section (correlation "
    assert "(correlation 0.991)" in finding.statement
    assert finding.evidence[0].rows == (("fly3.zarr", "fly21.zarr", "train", "validation", 0.991),)


def test_sections_of_one_specimen_that_look_alike_are_a_warning():
    """There may be only one specimen; the same voxels on both sides are a leak all the same."""
    groups = [*NINE[:20], NINE[19], *NINE[21:]]
    near = voxel_survey(groups=groups, pairs={(19, 20): 0.995})
    found = split_findings(near, LIMITS)
    (finding,) = found
    assert (finding.code, finding.severity) == ("SPLIT-GROUP-DIVIDED", "warning")
    assert "If there is only one specimen, this is the best that can be done" in finding.advice
    assert finding.evidence[0].rows == (("g19", 1, 1, 0),)
    assert finding.evidence[1].rows[0][4] == 0.995
    same = voxel_survey(groups=groups, pairs={(19, 20): 1.0})
    assert codes(split_findings(same, LIMITS))[0] == "SPLIT-LEAK"


def test_planes_of_one_stack_in_blocks_are_a_warning():
    """All planes are of one specimen, in the order of z: nothing better may be possible."""
    survey = voxel_survey(counts=RISING)
    items = tuple(replace(item, specimen="fly") for item in survey.items)
    tails = [f for f in split_findings(replace(survey, items=items), LIMITS) if "TAIL" in f.code]
    assert {f.severity for f in tails} == {"warning"}
    assert tails


def test_whole_specimens_held_out_are_no_tail():
    """Two stacks of planes, of other brightness: the second one validates, as it should."""
    survey = voxel_survey(means=BRIGHT, counts=RISING, sizes={"train": 29, "test": 0})
    items = tuple(
        replace(item, specimen="fly" if n < 29 else "moth") for n, item in enumerate(survey.items)
    )
    assert "SPLIT-TAIL" not in codes(split_findings(replace(survey, items=items), LIMITS))


def test_s4_1_sorted_classes_and_the_last_tenth():
    """Samples 90 to 99 of a sorted list validate: they hold one class, and any order but that
    of the list would not."""
    labels = [0] * 50 + [1] * 50
    last = {"train": tuple(range(90)), "validation": tuple(range(90, 100)), "test": ()}
    found = in_order(split_findings(sample_survey(labels, last), LIMITS))
    assert codes(found)[:2] == ["SPLIT-SINGLE-CLASS-VAL", "SPLIT-TAIL"]
    assert {f.severity for f in found[:2]} == {"error"}
    assert "healthy in the validation part" in found[0].statement
    assert "always answers the same class is perfect" in found[0].statement
    assert "SPLIT-TINY-VAL" in codes(found)
    # 50 and 40 samples in 2 runs, as few as there can be: 2 of so many orders.
    assert f"measured {2 / comb(90, 40):.2g}" in found[1].rule
    mixed = np.random.default_rng(100).permutation(labels).tolist()
    found = codes(split_findings(sample_survey(mixed, last), LIMITS))
    assert "SPLIT-SINGLE-CLASS-VAL" not in found
    assert "SPLIT-TAIL" not in found


def test_a_sorted_list_that_is_drawn_from_everywhere_is_no_tail():
    labels = [0] * 50 + [1] * 50
    every = tuple(range(4, 100, 10))
    fold = {"train": tuple(n for n in range(100) if n % 10 != 4), "validation": every, "test": ()}
    found = codes(split_findings(sample_survey(labels, fold), LIMITS))
    assert "SPLIT-TAIL" not in found
    assert "SPLIT-SINGLE-CLASS-VAL" not in found


def divided(train, test):
    """Samples of the classes 0 and 1 in the train and test part, in mixed order."""
    labels = [0] * train[0] + [1] * train[1] + [0] * test[0] + [1] * test[1]
    number = sum(train)
    fold = {"train": tuple(range(number)), "test": tuple(range(number, len(labels)))}
    return sample_survey(labels, fold | {"validation": ()})


def test_s4_12_half_and_half_against_6_and_21():
    found = split_findings(divided((50, 50), (6, 21)), LIMITS)
    (finding,) = [f for f in found if f.code == "SPLIT-PRIOR-SHIFT"]
    assert "healthy goes from 50.0% to 22.2%" in finding.statement
    assert "measured 27.8%" in finding.rule
    rows = {row[0]: row[3:] for row in finding.evidence[0].rows}
    assert rows["test"] == (pytest.approx(6 / 27), pytest.approx(21 / 27))
    assert "SPLIT-PRIOR-SHIFT" not in codes(split_findings(divided((50, 50), (13, 14)), LIMITS))


# Samples that validate, lower bound of Wilson where all are right, and whether they are too few.
WILSON = [(10, 0.722, True), (34, 0.898, True), (35, 0.901, False)]


@pytest.mark.parametrize(("samples", "low", "expected"), WILSON)
def test_s4_13_ten_samples_validate(samples, low, expected):
    """One of ten is ten points, and even ten of ten prove no more than 0.72."""
    labels = [0, 1] * 50
    fold = {"train": tuple(range(samples, 100)), "validation": tuple(range(samples)), "test": ()}
    survey = sample_survey(labels, fold)
    assert half_width(survey, samples, LIMITS) == pytest.approx((1 - low) / 2, abs=1e-3)
    found = [f for f in split_findings(survey, LIMITS) if f.code == "SPLIT-TINY-VAL"]
    assert bool(found) is expected
    if samples == 10:
        assert "one of them is 10 points of accuracy" in found[0].statement
        assert "even 10 right of 10 prove no more than 0.72" in found[0].statement


@pytest.mark.parametrize(("groups", "half"), [(1, 0.5), (2, 0.5), (4, 0.0955), (9, 0.0461)])
def test_half_width_of_a_dice(groups, half):
    """Student's t at 1, 3 and 8 degrees of freedom: 12.706, 3.182 and 2.306; spread 0.06."""
    assert half_width(voxel_survey(), groups, LIMITS) == pytest.approx(half, abs=1e-4)


def test_s0_10_a_class_in_few_validation_images_and_a_split_that_changed():
    survey = voxel_survey(**rare([20, 21, 22, 23, *range(29, 38)]))
    (finding,) = split_findings(survey, LIMITS)
    assert "Few items of the validation part hold synapse (4)" in finding.statement
    first, second = document(train=(0, 1), validation=(2,)), document(train=(0, 2), validation=(1,))
    (finding,) = changed_findings(first, second)
    assert (finding.code, finding.severity) == ("SPLIT-CHANGED", "error")
    assert "2 are in another part or in one training alone, and 2 of them" in finding.statement
    assert finding.evidence[0].rows == (
        ("fly1", "train", "validation"),
        ("fly2", "validation", "train"),
    )
    assert changed_findings(first, json.loads(json.dumps(first))) == []


def document(digest=None, images=3, seed=0, **parts):
    fold = {"train": [], "validation": [], "test": []} | {p: list(n) for p, n in parts.items()}
    items = [
        {"image": f"fly{n}", "image_digest": f"{n:064}", "label_digest": f"{n:064}"}
        for n in range(images)
    ]
    found = {"items": items, "folds": [fold], "seed": seed, "shares": [0.7, 0.15, 0.15]}
    return found | {"digest": digest or json.dumps(found)}


def test_other_images_and_other_seeds_are_told_apart():
    first = document(train=(0, 1), validation=(2,))
    (more,) = changed_findings(first, document(images=4, train=(0, 1), validation=(2, 3)))
    assert more.evidence[0].rows == (("fly3", "none", "validation"),)
    assert "and 0 of them were trained on" in more.statement
    (seed,) = changed_findings(first, document(seed=1, train=(0, 1), validation=(2,)))
    assert seed.evidence[0].rows[0] == ("seed", "0", "1")


def test_s0_18_no_test_part():
    found = split_findings(voxel_survey(folds=NO_TEST), LIMITS)
    (finding,) = [f for f in found if f.code == "SPLIT-NO-TEST"]
    assert "The epoch is chosen on the validation part" in finding.statement
    assert "SPLIT-NO-TEST" not in codes(split_findings(voxel_survey(), LIMITS))


def test_folds_count_by_the_poorest_of_them():
    """In fold 1 the validation part has two synapses; no part of it is compared with others."""
    counts = [WHOLE if n < 22 else POOR for n in range(30)]
    folds = tuple(
        {"train": tuple(range(20)), "validation": val, "test": test}
        for val, test in (((20, 21, *range(22, 29)), (29,)), (tuple(range(10)), (20, 21)))
    )
    found = split_findings(voxel_survey(counts=counts, sizes={"test": 1}, folds=folds), LIMITS)
    support = [f for f in found if f.code == "SPLIT-CLASS-SUPPORT"]
    assert "Few items of the validation part of every fold hold synapse (2)" in support[0].statement
    assert "SPLIT-SINGLE-CLASS-VAL" in codes(found)
    assert not {"SPLIT-TAIL", "SPLIT-PRIOR-SHIFT", "SPLIT-GROUP-DIVIDED"} & {*codes(found)}


def test_differences_of_divided_groups_are_no_accident_that_can_be_drawn():
    """A group on both sides: only a difference that is large by itself is said."""
    groups = [*NINE[:20], NINE[19], *NINE[21:]]
    eight = [WHOLE] * 20 + [(58, 21, 21)] * 9 + [WHOLE] * 9
    found = split_findings(voxel_survey(counts=eight, groups=groups, means=BRIGHT), LIMITS)
    assert "SPLIT-PRIOR-SHIFT" not in codes(found)
    large = [WHOLE] * 20 + [(80, 10, 10)] * 9 + [WHOLE] * 9
    found = split_findings(voxel_survey(counts=large, groups=groups), LIMITS)
    (finding,) = [f for f in found if f.code == "SPLIT-PRIOR-SHIFT"]
    assert "groups are divided, so that this is not known" in finding.rule


def test_random_divisions_are_hardly_ever_said_to_be_shifted():
    """Three findings on chance, of 5, 5 and 1 %: of 40 splits 4.4 on average, seldom over 9."""
    random, fired = np.random.default_rng(11), 0
    for _ in range(40):
        share = random.normal(40, 6, 38).clip(10, 90).round().astype(int)
        counts = [(100 - s, s // 2, s - s // 2) for s in share.tolist()]
        survey = voxel_survey(counts=counts, means=random.normal(120, 5, 38))
        found = codes(split_findings(survey, replace(LIMITS, null_splits=60)))
        fired += any("SHIFT" in code or "TAIL" in code for code in found)
    assert fired <= 9


def test_nothing_to_validate_on():
    finding = no_parts_finding("1 groups cannot make two parts", ["fly1"])
    assert (finding.code, finding.severity) == ("SPLIT-TINY-VAL", "error")
    assert "each with a region of its own and a split" in finding.advice
    assert parts_of({"train": 1, "validation": 0, "test": 2})["test"] == (1, 2)
