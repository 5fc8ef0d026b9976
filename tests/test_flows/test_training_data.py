"""What a training gets from a catalog: items, counts, classes, parts, findings, volumes."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import shutil

import numpy as np
import pytest
import yaml

from flows.jobs import TrainJob
from flows.slab_reader import SlabReader, slab_reader
from flows.training_data import prepare_data, volumes
from segmentation.training.isolate import IGNORED
from storage.volume import open_image
from tests.test_flows.images import CLASSES, make_image, make_label, voxels_like

FLIES = 7


def truth_of(number):
    """Class 2 in four flies of seven only, and rare."""
    truth = voxels_like((40, 36), seed=100 + number) % 2
    truth[:2, : 3 + number] = 2 if number % 2 == 0 else 0
    return truth


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Seven flies, and a stack whose sections have nothing to do with each other."""
    folder = tmp_path_factory.mktemp("shelf")
    for number in range(FLIES):
        image = make_image(folder, voxels_like((40, 36), seed=number), name=f"fly{number}")
        make_label(image, truth_of(number))
    stack = make_image(folder, voxels_like((5, 40, 36), seed=50), name="stack")
    make_label(stack, voxels_like((5, 40, 36), seed=51) % 3)
    return folder


def fly(number, **fields):
    return {"image": f"fly{number}.zarr", "label": "truth", **fields}


FIXED = [
    {"image": "stack.zarr", "label": "truth", "group": "s", "region": region, "split": split}
    for region, split in (("z=0:2", "train"), ("z=2:4,x=6:36", "validation"), ("z=4:5", "test"))
]


def job_of(folder, entries, catalog=None, **fields):
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"volumes": list(entries), **(catalog or {})}))
    return TrainJob(catalog=str(path), out=str(folder / "bundle"), **fields)


def prepared(folder, entries, catalog=None, **fields):
    return prepare_data(job_of(folder, entries, catalog, **fields))


def codes(data):
    return [(finding["code"], finding["severity"]) for finding in data.findings]


def test_a_catalog_that_says_everything(shelf):
    data = prepared(shelf, FIXED)
    truth = open_image(str(shelf / "stack.zarr" / "labels" / "truth")).volumes[0]
    boxes = (np.s_[0:2], np.s_[2:4, :, 6:36], np.s_[4:5])
    expected = [[(truth[box] == value).sum() for value in range(3)] for box in boxes]
    assert data.counts.tolist() == [[*row, 0] for row in expected]
    assert [c.name for c in data.classes] == list(CLASSES)
    assert (data.table, data.ignore_label) == (None, None)
    assert data.parts() == data.parts(0)
    assert (data.parts().train, data.parts().validation, data.parts().test) == ((0,), (1,), (2,))
    assert data.split["rule"] == "fixed by the catalog"
    assert data.split["items"][1]["region"] == {"start": [2, 0, 6], "stop": [4, 40, 36]}
    assert ("SPLIT-GROUP-DIVIDED", "warning") in codes(data)
    assert pickle.loads(pickle.dumps(data)).split == data.split  # noqa: S301 its own bytes


def test_a_split_that_is_searched_for(shelf):
    data = prepared(shelf, [fly(n) for n in range(FLIES)], seed=3)
    parts = data.parts()
    assert sorted(itertools.chain(parts.train, parts.validation, parts.test)) == list(range(FLIES))
    for part in (parts.train, parts.validation, parts.test):
        assert data.counts[list(part), :3].sum(axis=0).all()
    assert data.split["rule"] == "grouped, stratified"
    assert data.split["shares"] == [0.7, 0.15, 0.15]
    assert data.split["linked"] == []


def test_the_split_is_an_artefact(shelf, tmp_path):
    """The same bytes wherever the data lie; other bytes for another voxel or seed."""
    entries = [fly(n) for n in range(FLIES)]
    text = json.dumps(prepared(shelf, entries).split)
    moved = tmp_path / "moved"
    shutil.copytree(shelf, moved)
    split = prepared(moved, entries).split
    assert json.dumps(split) == text
    assert str(shelf) not in text
    digest = split.pop("digest")
    assert digest == hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()
    assert prepared(moved, entries, seed=1).split["digest"] != digest
    other = voxels_like((40, 36), seed=0)
    other[0, 0] += 1
    shutil.rmtree(moved / "fly0.zarr")
    make_label(make_image(moved, other, name="fly0"), truth_of(0))
    changed = prepared(moved, entries).split
    assert changed["items"][0]["label_digest"] == split["items"][0]["label_digest"]
    assert changed["items"][0]["image_digest"] != split["items"][0]["image_digest"]
    assert changed["digest"] != digest


def test_folds_test_every_group_once(shelf):
    entries = [*(fly(n, group=f"g{n}") for n in range(6)), fly(6, split="test")]
    data = prepared(shelf, entries, folds=3)
    tested = [data.parts(fold).test for fold in range(3)]
    assert sorted(itertools.chain(*tested)) == list(range(6))
    assert all(6 not in {*data.parts(k).train, *data.parts(k).validation} for k in range(3))
    assert ("SPLIT-NO-TEST", "warning") not in codes(data)


# With --other-classes, --ignore-label: the table, and where the voxels of classes 0, 1, 2 go.
ALONE = [
    ("background", None, (0, 0, 1, IGNORED), None, lambda a, b, c: [a + b, c, 0]),
    ("ignore", None, (0, IGNORED, 1, IGNORED), IGNORED, lambda a, b, c: [a, c, b]),
    ("background", 255, (0, 0, 1, IGNORED), IGNORED, lambda a, b, c: [a + b, c, 0]),
]


@pytest.mark.parametrize(("others", "ignored", "table", "after", "sums"), ALONE)
def test_one_class_alone(shelf, others, ignored, table, after, sums):
    whole = prepared(shelf, FIXED)
    fields = {"only_class": "synapse", "other_classes": others, "ignore_label": ignored}
    job = job_of(shelf, FIXED, **fields)
    data = prepare_data(job)
    assert [(c.value, c.name) for c in data.classes] == [(0, "background"), (1, "synapse")]
    assert data.classes[1].color == whole.classes[2].color
    assert (data.table, data.ignore_label) == (table, after)
    assert data.counts.tolist() == [sums(*row[:3]) for row in whole.counts.tolist()]
    assert data.split["classes"] == ["background", "synapse"]
    assert data.split["items"][0]["ignored"] == data.counts[0, 2]
    (volume,) = volumes(data, data.parts().test, job)
    (plain,) = volumes(whole, whole.parts().test, job)
    values = np.array(table)[plain.read(plain.region)[1]]
    np.testing.assert_array_equal(volume.read(volume.region)[1], values)


def test_an_ignored_value_is_no_class_and_is_counted_apart(shelf):
    data = prepared(shelf, FIXED, ignore_label=2)
    whole = prepared(shelf, FIXED)
    assert [c.name for c in data.classes] == list(CLASSES[:2])
    assert data.counts.tolist() == whole.counts[:, :3].tolist()
    assert data.ignore_label == 2


def test_volumes_to_train_on(shelf):
    job = job_of(shelf, FIXED, intensity_percentiles=(5, 95))
    data = prepare_data(job)
    image = open_image(str(shelf / "stack.zarr")).volumes[0][...]
    found = volumes(data, (2, 0), job)
    assert [(v.name, v.group) for v in found] == [("stack.zarr", "s")] * 2
    assert [v.region.shape for v in found] == [(1, 40, 36), (2, 40, 36)]
    low, high = np.percentile(image, (5, 95))
    expected = (image[4:5, ..., np.newaxis] - low) / (high - low)
    np.testing.assert_allclose(found[0].read(found[0].region)[0], expected, atol=1e-6)
    other = job.model_copy(update={"intensity_percentiles": (0.0, 100.0)})
    (volume,) = volumes(data, (0,), other)
    assert (volume.transform.low, volume.transform.high) == ((image.min(),), (image.max(),))


def test_planes_are_items_and_groups(shelf):
    stack = {"image": "stack.zarr", "label": "truth", "images_along": "z", "group": "s"}
    job = job_of(shelf, [stack], shares=(0.6, 0.2, 0.2))
    data = prepare_data(job)
    assert [item["group"] for item in data.split["items"]] == [f"s/{z}" for z in range(5)]
    parts = data.parts()
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [3, 1, 1]
    (volume,) = volumes(data, parts.test, job)
    assert (volume.name, volume.group) == (f"stack.zarr/{parts.test[0]}", f"s/{parts.test[0]}")
    assert volume.region.shape == (1, 40, 36)


def test_copies_stay_together(shelf, tmp_path):
    """A darker copy of fly 0 with less contrast is in the same part for every seed."""
    for number in range(5):
        shutil.copytree(shelf / f"fly{number}.zarr", tmp_path / f"fly{number}.zarr")
    darker = voxels_like((40, 36), seed=0) // 2
    make_label(make_image(tmp_path, darker, name="copy"), truth_of(0))
    entries = [*(fly(n) for n in range(5)), {"image": "copy.zarr", "label": "truth"}]
    for seed in range(4):
        data = prepared(tmp_path, entries, seed=seed)
        assert data.split["linked"] == [["copy.zarr", "fly0.zarr"]]
        where = [
            p for p in ("train", "validation", "test") if {0, 5} & {*data.split["folds"][0][p]}
        ]
        assert len(where) == 1
        assert ("SPLIT-LINKED", "info") in codes(data)
    # The copy follows an item that the catalog has put somewhere.
    entries[0]["split"] = "validation"
    assert 5 in prepared(tmp_path, entries).parts().validation


def test_overlap_that_is_allowed_shouts(shelf):
    entries = [FIXED[0], FIXED[0] | {"split": "validation"}]
    data = prepared(shelf, entries, allow_overlap=True)
    assert (data.parts().train, data.parts().validation) == ((0,), (1,))
    first = data.findings[0]
    assert (first["code"], first["severity"]) == ("SPLIT-LEAK", "error")
    assert "THE SCORES ARE NOT VALID" in first["statement"]
    assert (
        "stack.zarr (train) and stack.zarr (validation) hold the same image" in first["statement"]
    )


def test_overlap_is_seen_where_the_regions_do_not_look_alike(shelf):
    regions = (("y=0:30", "train"), ("y=10:40,x=10:36", "validation"))
    entries = [FIXED[0] | {"region": r, "split": split, "group": split} for r, split in regions]
    data = prepared(shelf, entries, allow_overlap=True)
    assert ("SPLIT-LEAK", "error") in codes(data)
    assert data.split["linked"] == []


def test_the_same_image_with_two_labels_is_told(shelf, tmp_path):
    for number, truth in ((0, 0), (1, 1), (2, 2), (3, 1)):
        voxels = voxels_like((40, 36), seed=number % 3)
        make_label(make_image(tmp_path, voxels, name=f"fly{number}"), truth_of(2 * truth))
    data = prepared(tmp_path, [fly(n) for n in range(4)])
    (finding,) = [f for f in data.findings if f["code"] == "DATA-DUP-CONFLICT"]
    assert "different labels in fly0.zarr and fly3.zarr;" in finding["statement"]
    first, second = (truth_of(2 * truth) for truth in (0, 1))
    dice = [
        2
        * ((first == value) & (second == value)).sum()
        / ((first == value).sum() + (second == value).sum())
        for value in range(3)
    ]
    assert finding["evidence"][0]["rows"] == [["fly0.zarr", "fly3.zarr", *map(pytest.approx, dice)]]


def test_planes_of_thick_chunks_are_read_once(tmp_path, monkeypatch):
    """With cubes as chunks, one plane after the other; each slab is decoded a single time."""
    voxels = voxels_like((70, 80, 80))
    volume = open_image(make_image(tmp_path, voxels, name="cube")).volumes[0]
    depth = volume.chunks[0]
    assert 1 < depth < 70
    reader, read = slab_reader(volume), []
    original = type(volume).__getitem__
    monkeypatch.setattr(
        type(volume), "__getitem__", lambda v, s: read.append(s[0]) or original(v, s)
    )
    assert isinstance(reader, SlabReader)
    assert reader.shape == volume.shape
    for z in range(70):
        box = (slice(z, z + 1), slice(3, 9), slice(0, 80))
        np.testing.assert_array_equal(reader[box], voxels[box])
    assert [s.start for s in read] == list(range(0, 70, depth))
    whole = (slice(0, 70), slice(0, 80), slice(0, 80))
    np.testing.assert_array_equal(reader[whole], voxels)


def test_planes_and_stacks_of_sections_need_no_slabs(shelf):
    plane = open_image(str(shelf / "fly0.zarr")).volumes[0]
    assert slab_reader(plane) is plane
