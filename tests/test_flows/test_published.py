"""What other people's software sees of an image: published masks, and nothing unfinished.

The judges are yaozarrs, ome-zarr-models and the reader of ome-zarr-py.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from yaozarrs import v05

from flows.jobs import SegmentJob
from flows.publishing import publish_run
from storage.volume import open_image, open_label, published_labels
from tests.test_flows.images import (
    CLASSES,
    CLOCK,
    COLORS,
    VOXEL_SIZE,
    finish,
    infer,
    make_image,
    make_label,
    opened_run,
    segment,
    unchanged,
    voxels_like,
    write_thresholds,
)

SHAPE = (5, 300, 280)
VOXELS = voxels_like(SHAPE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A network of three classes."""
    return write_thresholds(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bundle):
    """A published mask of three classes beside imported truth."""
    image = make_image(tmp_path_factory.mktemp("shelf"), VOXELS, voxel_size=VOXEL_SIZE)
    make_label(image, VOXELS % 3)
    run, _ = segment(image, bundle, name="cells", truth="truth")
    return run


@pytest.fixture
def image(tmp_path):
    return make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE)


def seen(image):
    """Labels that each of the three finds in an image."""
    nodes = list(Reader(parse_url(image))())
    by_reader = {node.zarr.basename() for node in nodes} - {Path(image).name, "labels"}
    labels = Path(image, "labels")
    if not (labels / "zarr.json").exists():
        return {"reader": by_reader, "models": set(), "yaozarrs": set()}
    model = ome_zarr_models.open_ome_zarr(zarr.open_group(image, mode="r"))
    by_models = set(model.labels.ome_attributes.labels) if model.labels else set()
    group = yaozarrs.open_group(str(labels)).ome_metadata()
    assert isinstance(group, v05.LabelsGroup)
    return {"reader": by_reader, "models": by_models, "yaozarrs": set(group.labels)}


def assert_seen(image, *directories):
    assert list(seen(image).values()) == [set(directories)] * 3
    assert set(published_labels(image)) == set(directories)


def test_all_three_find_the_image_and_its_labels_valid(finished):
    image, mask = finished.job.image, finished.target
    for url in (image, mask, f"{image}/labels/truth", f"{image}/labels"):
        yaozarrs.validate_zarr_store(url)
    for url in (image, mask):
        ome_zarr_models.open_ome_zarr(zarr.open_group(url, mode="r"), version="0.5")
    assert_seen(image, finished.directory, "truth")


def test_the_reader_gets_the_voxels(finished):
    nodes = {node.zarr.basename(): node for node in Reader(parse_url(finished.target))()}
    data = nodes[finished.directory].data
    assert [level.shape for level in data] == [SHAPE, (5, 150, 140)]
    mask = np.asarray(data[0])
    np.testing.assert_array_equal(mask, open_label(finished.job.image, "cells").volumes[0][:])
    clear = (VOXELS != 50) & (VOXELS != 150)
    expected = (VOXELS > 50).astype("uint8") + (VOXELS > 150)
    np.testing.assert_array_equal(mask[clear], expected[clear])


def test_levels_and_transforms_are_the_images(finished):
    image, mask = open_image(finished.job.image), open_image(finished.target)
    assert mask.metadata.axes == image.metadata.axes
    assert mask.metadata.levels == image.metadata.levels
    assert [v.shape for v in mask.volumes] == [v.shape for v in image.volumes]
    assert {v.dtype for v in mask.volumes} == {"uint8"}
    (multiscale,) = mask.attributes["ome"]["multiscales"]
    assert multiscale["name"] == "cells"
    assert multiscale["type"] == "mode"


def test_levels_of_a_mask_do_not_have_the_images_channels(tmp_path, bundle):
    voxels = voxels_like((2, *SHAPE))
    url = make_image(tmp_path, voxels, axes="czyx", voxel_size=VOXEL_SIZE)
    run, _ = segment(url, bundle, channels=(1,))
    yaozarrs.validate_zarr_store(run.target)
    image, mask = open_image(url), open_image(run.target)
    assert mask.metadata.axes == image.metadata.axes[1:]
    for ours, theirs in zip(mask.metadata.levels, image.metadata.levels, strict=True):
        assert ours.scale == theirs.scale[1:]
        assert ours.translation == theirs.translation[1:]
    clear = (voxels[1] != 50) & (voxels[1] != 150)
    expected = (voxels[1] > 50).astype("uint8") + (voxels[1] > 150)
    np.testing.assert_array_equal(mask.volumes[0][:][clear], expected[clear])


def test_the_pyramid_is_the_mode_window_by_window(finished):
    fine, coarse = (v[:] for v in open_image(finished.target).volumes)
    for place in [(0, 0, 0), (2, 17, 90), (4, 149, 139)]:
        z, y, x = place
        window = fine[z, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist()
        most = max(map(window.count, window))
        tied = {value for value in window if window.count(value) == most}
        assert coarse[place] == min(tied - {0} or tied)


def test_classes_colours_and_provenance(finished):
    attributes = open_image(finished.target).attributes
    label = attributes["ome"]["image-label"]
    assert label["properties"] == [
        {"label-value": value, "class": name} for value, name in enumerate(CLASSES)
    ]
    assert label["colors"] == [
        {"label-value": value, "rgba": list(color)} for value, color in enumerate(COLORS)
    ]
    assert label["source"] == {"image": "../../"}
    assert set(attributes) == {"ome", "maskmill"}
    provenance = attributes["maskmill"]
    assert provenance["digest"] == finished.prepared.digest
    assert provenance["run"] == finished.directory == f"cells-{finished.prepared.key}"
    assert provenance["exact"] is True
    assert provenance["identity"]["bundle"] == finished.prepared.model.digest


def test_no_chunk_object_is_missing(finished):
    """A missing chunk would read, and score, as background."""
    for volume in open_image(finished.target).volumes:
        counts = [math.ceil(n / s) for n, s in zip(volume.shape, volume.shards, strict=True)]
        for index in itertools.product(*map(range, counts)):
            assert Path(finished.target, volume.path, "c", *map(str, index)).is_file()
        assert zarr.open_array(f"{finished.target}/{volume.path}").nchunks_initialized > 0


def test_background_is_stored_too(tmp_path, bundle):
    image = make_image(tmp_path, np.tile(np.uint8([0, 10]), (2, 64, 32)), voxel_size=VOXEL_SIZE)
    run, _ = segment(image, bundle)
    mask = open_image(run.target).volumes[0]
    assert not mask[:].any()
    assert Path(run.target, "0", "c", "0", "0", "0").is_file()


def test_a_staged_mask_is_invisible(image):
    make_label(image, VOXELS % 3)
    opened_run(SegmentJob(image=image, model="identity", name="cells"))
    assert_seen(image, "truth")


def test_a_half_written_mask_is_invisible(image):
    run = opened_run(SegmentJob(image=image, model="identity", name="cells"))
    infer(run)
    assert Path(run.target, "zarr.json").is_file()
    assert_seen(image)


def test_a_finished_mask_is_invisible_until_it_is_published(image):
    run = opened_run(SegmentJob(image=image, model="identity", name="cells"))
    finish(run, publish=False)
    assert_seen(image)
    assert publish_run(run, CLOCK)
    assert_seen(image, run.directory)
    record = json.loads(run.blobs.read("published.json"))
    assert record == {"schema": 1, "when": CLOCK, "by": run.attempt, "replaced": []}
    assert publish_run(run, "later")
    assert json.loads(run.blobs.read("published.json"))["when"] == CLOCK


def test_a_mask_of_a_region_is_never_listed(image):
    run, _ = segment(image, region="z=1:3,y=20:200")
    assert_seen(image)
    assert not run.blobs.exists("published.json")
    mask = open_label(image, run.directory).volumes[0][:]
    expected = np.zeros_like(VOXELS)
    expected[1:3, 20:200] = VOXELS[1:3, 20:200]
    np.testing.assert_array_equal(mask, expected)


def test_a_new_version_takes_the_place_of_the_old_one(image, bundle):
    make_label(image, VOXELS % 3)
    first, _ = segment(image, name="cells")
    other, _ = segment(image, name="cells-more")
    assert_seen(image, "truth", first.directory, other.directory)
    second, _ = segment(image, bundle, name="cells")
    assert second.directory != first.directory
    assert_seen(image, "truth", second.directory, other.directory)
    assert open_label(image, "cells").url == second.target
    assert Path(first.target, "zarr.json").is_file()
    record = json.loads(second.blobs.read("published.json"))
    assert record["replaced"] == [first.directory]


def test_force_makes_the_next_version_of_the_same_key(image):
    first, result = segment(image)
    second, again = segment(image, force=True)
    assert second.directory == f"{first.directory}-2"
    assert again == result
    assert_seen(image, second.directory)
    third, _ = segment(image, force=True)
    assert third.directory == f"{first.directory}-3"


def test_a_changed_image_gets_another_key(image):
    first, _ = segment(image)
    chunk = Path(image, "0", "c", "0", "0", "0")
    data = chunk.read_bytes()
    chunk.write_bytes(data)
    second, _ = segment(image)
    assert second.directory != first.directory


def test_masks_in_another_place_point_back(tmp_path, image):
    before = json.loads(Path(image, "zarr.json").read_text())
    with unchanged(image):
        run, _ = segment(image, out=str(tmp_path / "far" / "masks.zarr"))
    assert before == json.loads(Path(image, "zarr.json").read_text())
    yaozarrs.validate_zarr_store(run.target)
    source = open_image(run.target).attributes["ome"]["image-label"]["source"]["image"]
    assert Path(run.target, source).resolve() == Path(image).resolve()
    shutil.rmtree(image)
    np.testing.assert_array_equal(open_label(str(tmp_path / "far" / "masks.zarr"), "mask")
                                  .volumes[0][:], VOXELS)  # fmt: skip
