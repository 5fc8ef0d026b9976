"""Catalogs audited: what a training would refuse, and what it would only be worse for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import ndimage

from flows.audit_catalog import catalog_findings
from flows.errors import RequestError
from flows.jobs import AuditJob
from segmentation.audit.thresholds import Thresholds
from tests.test_flows.images import make_image, make_label, unchanged, voxels_like
from tests.test_flows.test_train_bad_input import add_faults, stored

SHAPE = (4, 40, 36)
FLIES = 6


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Flies with good labels, and one with all kinds of bad ones."""
    folder = tmp_path_factory.mktemp("shelf")
    for number in range(FLIES):
        voxels = voxels_like(SHAPE, seed=number)
        make_label(make_image(folder, voxels, name=f"fly{number}"), voxels % 3)
    bad = make_image(folder, voxels_like(SHAPE, seed=20), name="bad")
    make_label(bad, voxels_like(SHAPE, seed=20) % 3)
    add_faults(bad)
    make_label(bad, voxels_like(SHAPE, seed=20) % 3, name="unnamed", classes=None, instances=True)
    make_label(bad, voxels_like(SHAPE, seed=20) % 2, name="other", classes=("nothing", "cell"))
    for name, gap in (("planar", False), ("gappy", True)):
        planes = np.moveaxis(np.eye(3, dtype="uint8")[voxels_like(SHAPE, seed=20) % 3], -1, 0)
        planes[0] *= not gap
        made = make_image(folder, planes, name=name, axes="czyx")
        shutil.copytree(made, Path(bad) / "labels" / name)
    make_label(
        make_image(folder, voxels_like((3, 40, 36)), name="short"), voxels_like((3, 40, 36)) % 3
    )
    shutil.copytree(folder / "short.zarr" / "labels" / "truth", Path(bad) / "labels" / "short")
    colour = voxels_like((2, *SHAPE), seed=30)
    make_label(make_image(folder, colour, name="colour", axes="czyx"), colour[0] % 3)
    shutil.copytree(folder / "fly0.zarr", folder / "copy.zarr")
    flat = make_image(folder, np.full(SHAPE, 7, "uint8"), name="flat")
    make_label(flat, voxels_like(SHAPE, seed=40) % 3)
    hot = voxels_like(SHAPE, seed=41, dtype="uint16")
    hot[0, 20, 18] = 60000
    make_label(make_image(folder, hot, name="hot"), hot % 3)
    add_blobs(folder)
    return folder


def add_blobs(folder):
    """Bright blobs, a label that lies on them and one that lies beside them."""
    noise = np.random.default_rng(0).normal(size=(4, 160, 160))
    field = ndimage.gaussian_filter(noise, (0, 5, 5))
    label = np.digitize(field, np.quantile(field, (0.6, 0.9))).astype("uint8")
    image = make_image(
        folder, (60 * label + 5 * noise + 60).clip(0, 255).astype("uint8"), name="blobs"
    )
    make_label(image, label)
    make_label(image, np.roll(label, (6, -4), (1, 2)), name="beside")


def fly(number, **fields):
    return {"image": f"fly{number}.zarr", "label": "truth", **fields}


def bad(label, **fields):
    return {"image": "bad.zarr", "label": label, **fields}


def other(image, label="truth", **fields):
    return {"image": f"{image}.zarr", "label": label, **fields}


GOOD = [fly(n) for n in range(FLIES)]
FIXED = [fly(n, split=part) for n, part in enumerate(["train"] * 3 + ["validation"] + ["test"] * 2)]
# What six groups of one item cannot but have.
SMALL = {"SPLIT-CLASS-SUPPORT", "SPLIT-TINY-VAL"}


def audited(folder, volumes, thresholds=None, **fields):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"volumes": volumes, **fields}))
    with unchanged(folder):
        return catalog_findings(AuditJob(target=str(path)), thresholds or Thresholds())


# Volumes, code and severity of the first finding, and words of it.
FAULTS = [
    ([*GOOD, bad("white")], "DATA-LABEL-RANGE", "error", "255 in"),
    ([*GOOD, bad("counted")], "DATA-LABEL-RANGE", "error", "hold the values 3 in"),
    ([*GOOD, bad("negative")], "DATA-LABEL-RANGE", "error", "hold the values -1 in"),
    ([*GOOD, bad("ids")], "DATA-LABEL-RANGE", "error", "The labels of 1 of 7 items hold"),
    ([*GOOD, bad("other")], "DATA-LABEL-RANGE", "error", "in 2 different ways"),
    ([bad("unnamed")], "DATA-LABEL-RANGE", "error", "No label of the catalog names its classes"),
    ([*GOOD, bad("fractional")], "DATA-FRACTIONAL-LABELS", "error", "such as 0.5"),
    ([*GOOD, bad("float")], "DATA-FRACTIONAL-LABELS", "error", "stored as float32"),
    ([*GOOD, bad("planar")], "DATA-ONEHOT-VS-INT", "error", "bad.zarr have 3 planes"),
    ([*GOOD, bad("gappy")], "DATA-ONEHOT-ZERO-ROWS", "error", "cannot exceed"),
    ([bad("gappy")], "DATA-ONEHOT-ZERO-ROWS", "error", "cannot exceed"),
    ([*GOOD, bad("short")], "DATA-SHAPE-MISMATCH", "error", "expected 4 × 40 × 36"),
    ([*GOOD, other("colour")], "DATA-SHAPE-MISMATCH", "error", "2 channels; expected 1, as fly0"),
    ([*GOOD, other("flat")], "DATA-UNSCALED", "error", "flat.zarr have no contrast"),
    ([*GOOD, other("hot")], "DATA-UNSCALED", "warning", "in hot.zarr the largest is"),
    ([*GOOD, other("blobs", "beside")], "DATA-MISALIGNED", "warning", "shift of -6 voxels along y"),
    (
        [bad("poor", group=str(n), region=f"z={n}:{n + 1}") for n in range(4)],
        *("DATA-IMBALANCE", "error", "None of the 4 items holds synapse"),
    ),
    ([*FIXED, other("copy", split="test")], "SPLIT-LEAK", "error", "hold the same image"),
    ([*FIXED, fly(0, region="z=3:4", split="test")], "SPLIT-LEAK", "error", "hold the same image"),
    ([*GOOD, other("copy")], "DATA-DUPLICATE", "warning", "fly0.zarr and copy.zarr"),
    (
        [
            bad("half", region="z=0:2", split="train"),
            bad("half", region="z=2:4", split="validation"),
        ],
        *("SPLIT-SINGLE-CLASS-VAL", "error", "membrane, synapse in the validation part"),
    ),
    ([fly(0)], "SPLIT-TINY-VAL", "error", "Nothing is left to validate on: 1 groups without"),
    (
        [fly(0, split="train")],
        "SPLIT-TINY-VAL",
        "error",
        "Nothing is left to validate on: no item has the split validation.",
    ),
    (
        [fly(0, region="z=0:2", split="train"), fly(0, region="z=2:4", split="validation")],
        *("SPLIT-GROUP-DIVIDED", "warning", "divides fly0.zarr between parts"),
    ),
    ([f for f in FIXED if f["split"] != "test"], "SPLIT-NO-TEST", "warning", "no test part"),
]


@pytest.mark.parametrize(("volumes", "code", "severity", "words"), FAULTS)
def test_faults_come_first_among_their_severity(shelf, volumes, code, severity, words):
    found = [f for f in audited(shelf, volumes) if f.severity == severity]
    assert found[0].code == code
    assert words in found[0].statement
    assert all((found[0].evidence, found[0].rule, found[0].advice, found[0].proves_not))


# Twins without the faults; what remains is that they are few.
TWINS = [
    GOOD,
    FIXED,
    [*GOOD, bad("truth")],
    [fly(n, region="z=0:3") for n in range(FLIES)],
]


@pytest.mark.parametrize("volumes", TWINS)
def test_clean_catalogs_have_only_what_few_items_have(shelf, volumes):
    found = {finding.code for finding in audited(shelf, volumes)}
    assert found <= SMALL
    assert "SPLIT-TINY-VAL" in found


def test_a_label_on_its_image_is_not_misaligned(shelf):
    found = {finding.code for finding in audited(shelf, [*GOOD, other("blobs")])}
    assert found <= SMALL | {"SPLIT-PRIOR-SHIFT"}


def test_names_in_the_catalog_are_enough(shelf):
    volumes = [bad("unnamed", group=str(n), region=f"z={n}:{n + 1}") for n in range(4)]
    found = audited(shelf, volumes, classes=["a", "b", "c"])
    assert "DATA-LABEL-RANGE" not in {f.code for f in found}


def test_a_value_that_a_label_names_as_ignored_does_not_count(shelf, tmp_path):
    voxels = voxels_like(SHAPE, seed=50)
    image = make_image(tmp_path, voxels, name="marked")
    make_label(image, voxels % 3, classes=("background", "membrane", "ignore"))
    volumes = [
        {"image": image, "label": "truth", "group": str(n), "region": f"z={n}:{n + 1}"}
        for n in range(4)
    ]
    (table,) = next(f for f in audited(tmp_path, volumes) if f.code == "SPLIT-TINY-VAL").evidence
    assert table.columns[3:] == ("share of background", "share of membrane")


def test_thresholds_are_kept_to(shelf):
    limits = Thresholds.changed({"data.half_width": 1.0, "data.fewest_items": 0})
    few = Thresholds.changed(
        {"data.half_width": 1.0, "data.fewest_items": 0, "data.fewest_groups": 0}
    )
    assert {f.code for f in audited(shelf, GOOD, limits)} == {"SPLIT-CLASS-SUPPORT"}
    assert audited(shelf, GOOD, few) == []


def test_the_same_catalog_has_the_same_findings(shelf):
    volumes = [*GOOD, other("copy"), bad("white")]
    first, second = (audited(shelf, volumes) for _ in range(2))
    assert [f.to_dict() for f in first] == [f.to_dict() for f in second]


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n", "no volumes"), ("volumes: []\n", "no volumes"), ("a: b: c\n", "is not YAML")],
)
def test_a_file_that_is_no_catalog(tmp_path, text, message):
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=message):
        catalog_findings(AuditJob(target=str(path)), Thresholds())


def test_planes_of_one_image_are_items(shelf):
    volumes = [fly(n, images_along="z") for n in range(3)]
    found = audited(shelf, volumes)
    assert {f.code for f in found} <= SMALL
    stored(str(shelf / "bad.zarr"), "half", voxels_like(SHAPE, seed=20) % 3)


def write_samples(folder, labels, splits=None, images=None, groups=None):
    """A table of pictures of noise."""
    rows = ["image,label,group,split"]
    for number, label in enumerate(labels):
        image = images[number] if images else number
        pixels = np.random.default_rng(image).integers(0, 255, (48, 40), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        group = groups[number] if groups else f"p{number}"
        rows.append(f"{number:03}.png,{label},{group},{splits[number] if splits else ''}")
    (folder / "truth.csv").write_text("\n".join(rows))
    path = folder / "samples.yaml"
    path.write_text(yaml.safe_dump({"samples": "truth.csv", "classes": ["healthy", "ill"]}))
    return AuditJob(target=str(path))


SORTED = [0] * 20 + [1] * 20
LAST = ["train"] * 32 + ["validation"] * 8
# Labels, parts, numbers of the pictures, groups; code and severity of the first finding.
TABLES = [
    (SORTED, LAST, None, None, "SPLIT-SINGLE-CLASS-VAL", "error"),
    ([0, 1] * 20, LAST, [*range(39), 0], None, "SPLIT-LEAK", "error"),
    ([0, 1] * 20, None, [*range(39), 0], None, "DATA-DUP-CONFLICT", "warning"),
    ([0, 1] * 20, None, [*range(39), 1], None, "DATA-DUPLICATE", "warning"),
    ([0, 1] * 20, LAST, None, [f"p{n // 3}" for n in range(40)], "SPLIT-GROUP-DIVIDED", "warning"),
    ([0] * 40, None, None, None, "DATA-IMBALANCE", "error"),
    ([0, 1] * 20, None, None, ["p"] * 40, "SPLIT-TINY-VAL", "error"),
    ([0, 1] * 20, None, None, None, "SPLIT-CLASS-SUPPORT", "warning"),
    ([0] * 20 + [1] * 20, ["train"] * 40, None, None, "SPLIT-TINY-VAL", "error"),
]


@pytest.mark.parametrize(("labels", "splits", "images", "groups", "code", "severity"), TABLES)
def test_tables_of_samples(tmp_path, labels, splits, images, groups, code, severity):
    job = write_samples(tmp_path, labels, splits, images, groups)
    found = [f for f in catalog_findings(job, Thresholds()) if f.severity == severity]
    assert found[0].code == code
    assert found[0].evidence


def test_a_clean_table_has_no_errors(tmp_path):
    found = catalog_findings(write_samples(tmp_path, [0, 1] * 20), Thresholds())
    assert {f.code for f in found} == {"SPLIT-TINY-VAL", "SPLIT-CLASS-SUPPORT"}


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_audited(tmp_path):
    job = write_samples(tmp_path, SORTED, LAST)
    (tmp_path / "003.png").write_bytes(b"no picture")
    found = catalog_findings(job, Thresholds())
    assert [f.code for f in found][:2] == ["DATA-SHAPE-MISMATCH", "SPLIT-SINGLE-CLASS-VAL"]
    assert "003.png has no image that can be read" in found[0].statement
