"""Labels: every finding fires on its fault and is silent on the twin without it."""

import numpy as np
import pytest
from scipy import ndimage

from segmentation.audit.label_values import LabelValues, label_values, unset_share
from segmentation.audit.labels import (
    cap,
    label_findings,
    one_hot_findings,
    shape_findings,
)
from segmentation.audit.resizing import lost_components, resize_findings
from segmentation.audit.thresholds import DataThresholds
from segmentation.region import Region
from tests.test_segmentation.surveys import codes

THREE = ("background", "membrane", "synapse")


def found_in(label, names=THREE, **options):
    values = label_values(label, Region.whole(label.shape), "fly1.zarr")
    return label_findings([values], names, **options)


def blobs(classes=3, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((40, 40)), 3)
    edges = np.quantile(noise, np.linspace(0, 1, classes + 1)[1:-1])
    return np.digitize(noise, edges).astype("uint8")


GOOD = blobs()
# Fault, code, words of the advice, and the twin without the fault.
LABELS = [
    ((GOOD > 1).astype("uint8") * 255, "DATA-LABEL-RANGE", "255 → 1", (GOOD > 1).astype("uint8")),
    (GOOD + 1, "DATA-LABEL-RANGE", "1 → 0, 2 → 1, 3 → 2", GOOD),
    (GOOD.astype("int16") - 1, "DATA-LABEL-RANGE", "--ignore-label 255", GOOD.astype("int16")),
    (np.arange(1600, dtype="uint32").reshape(40, 40), "DATA-LABEL-RANGE", "ids of objects", GOOD),
    (np.where(GOOD == 2, 7, GOOD), "DATA-LABEL-RANGE", "Name every class", GOOD),
    (GOOD / np.float32(2), "DATA-FRACTIONAL-LABELS", "the nearest one", GOOD // 2),
    (np.where(GOOD == 2, np.nan, GOOD), "DATA-FRACTIONAL-LABELS", "the nearest one", GOOD),
    (GOOD.astype("float32"), "DATA-FRACTIONAL-LABELS", "astype('uint8')", GOOD),
]


@pytest.mark.parametrize(("fault", "code", "advice", "twin"), LABELS)
def test_labels_that_are_no_classes(fault, code, advice, twin):
    (finding,) = found_in(fault)
    assert (finding.code, finding.severity) == (code, "error")
    assert advice in finding.advice
    assert finding.evidence
    assert finding.proves_not
    assert found_in(twin) == []


def test_a_value_that_does_not_count_is_no_fault():
    label = np.where(GOOD == 2, 255, GOOD)
    assert found_in(label, THREE[:2], ignore_label=255) == []
    assert codes(found_in(label, THREE[:2])) == ["DATA-LABEL-RANGE"]


def test_s3_3_masks_of_0_and_255():
    """Of 1000 voxels 300 are foreground: overlap metrics would leave these out."""
    values = LabelValues("fly1.zarr", "uint8", ((0, 700), (255, 300)))
    (finding,) = label_findings([values], ("background", "cell"))
    assert finding.code == "DATA-LABEL-RANGE"
    assert "hold the values 255 in 300 voxels (30.0%)" in finding.statement
    assert "leave such voxels out without a word: 30.0% of these labels" in finding.rule
    assert finding.evidence[0].rows == (
        ("fly1.zarr", 0, 700, True),
        ("fly1.zarr", 255, 300, False),
    )
    good = LabelValues("fly1.zarr", "uint8", ((0, 700), (1, 300)))
    assert label_findings([good], ("background", "cell")) == []


def test_s2_6_masks_mixed_by_augmentation():
    """Turned by interpolation a mask of 0 and 1 has values between; by the nearest voxel not."""
    mask = (GOOD > 1).astype("float32")
    turned = ndimage.rotate(mask, 20, order=1, reshape=False)
    found = found_in(turned, ("background", "leg"), origin="turning by 20°")
    assert codes(found) == ["DATA-FRACTIONAL-LABELS"]
    between = int(((turned != 0) & (turned != 1)).sum())
    assert f"after turning by 20° have {between:,} voxels between" in found[0].statement
    nearest = ndimage.rotate(mask.astype("uint8"), 20, order=0, reshape=False)
    assert found_in(nearest, ("background", "leg")) == []


@pytest.mark.parametrize(("share", "most"), [(0.1, 0.182), (0.2, 0.333), (0.3, 0.462)])
def test_s0_6_background_without_a_plane_caps_the_dice(share, most):
    """Share of the voxels with a class, and the Dice that even a perfect mask cannot exceed."""
    planes = np.zeros((4, 10, 10), "uint8")
    planes[1].ravel()[: round(100 * share)] = 1
    unset = unset_share(planes, 0)
    assert unset == pytest.approx(1 - share)
    (finding,) = one_hot_findings({"fly1.zarr": (4, unset)})
    assert (finding.code, finding.severity) == ("DATA-ONEHOT-ZERO-ROWS", "error")
    assert f"cannot exceed {most:.3f}" in finding.statement
    # The Dice pooled over channels of a perfect prediction that gives the rest to the background.
    perfect = planes.copy()
    perfect[0] = ~planes.any(axis=0)
    pooled = 2 * (planes * perfect).sum() / (planes.sum() + perfect.sum())
    assert cap(share) == pytest.approx(pooled)
    assert round(cap(share), 3) == most


def test_one_plane_per_class_is_told_from_one_that_is_missing():
    whole = np.eye(3, dtype="uint8")[GOOD]
    assert unset_share(whole, 2) == 0
    assert codes(one_hot_findings({"a": (3, 0.0)})) == ["DATA-ONEHOT-VS-INT"]
    assert codes(one_hot_findings({"a": (3, 0.0), "b": (3, 0.5)})) == [
        "DATA-ONEHOT-ZERO-ROWS",
        "DATA-ONEHOT-VS-INT",
    ]
    assert one_hot_findings({}) == []


def test_shapes_that_differ():
    (finding,) = shape_findings([("a.zarr", "a label of 4 × 5 voxels", "4 × 6")])
    assert finding.code == "DATA-SHAPE-MISMATCH"
    assert finding.statement == "a.zarr has a label of 4 × 5 voxels; expected 4 × 6."
    assert shape_findings([]) == []


def test_s0_17_what_resizing_loses():
    """Of 20 dots of one voxel 10 lie where every second row is left out; blocks of 4 all stay."""
    label = np.zeros((512, 512), "uint8")
    label[0:200:20, 0] = 1
    label[1:200:20, 100] = 1
    label[300:304, 0:400:40] = 2
    label[301:304, 0:400:40] = 2
    half = label[::2, ::2]
    assert lost_components(label, half, 1) == (20, 10)
    assert lost_components(label, half, 2) == (10, 0)
    (finding,) = resize_findings(label, half, THREE, DataThresholds())
    assert (finding.code, finding.severity) == ("DATA-RESIZE-LOSS", "warning")
    assert "from 512 × 512 to 256 × 256 voxels" in finding.statement
    assert "50% of the components of membrane." in finding.statement
    assert resize_findings(label, label, THREE, DataThresholds()) == []
    assert resize_findings(label, half, THREE, DataThresholds(lost_components=0.5)) == []


def test_values_are_counted_in_blocks(monkeypatch):
    monkeypatch.setattr("segmentation.audit.label_values.BLOCK_VOXELS", 100)
    values = label_values(GOOD, Region((5, 0), (40, 40)), "a")
    assert dict(values.counts) == {v: int((GOOD[5:] == v).sum()) for v in range(3)}
    assert values.by_class(2) == (
        int((GOOD[5:] == 0).sum()),
        int((GOOD[5:] == 1).sum()),
        int((GOOD[5:] == 2).sum()),
    )
    odd = GOOD + np.float32(0.5) * (GOOD == 1)
    values = label_values(odd, Region.whole(odd.shape), "a")
    assert (values.fractional, values.example) == (int((GOOD == 1).sum()), 1.5)
    assert values.by_class(3) == (
        int((GOOD == 0).sum()),
        0,
        int((GOOD == 2).sum()),
        values.fractional,
    )
