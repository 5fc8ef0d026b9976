"""Skipping through the whole pipeline: what is read, recorded, told and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows import work as flow_work
from flows.errors import RequestError
from flows.jobs import RepairJob, SegmentJob
from flows.prepare import prepare
from flows.repair import repair_labels
from flows.report.markdown import render_markdown
from flows.report.sections_skipping import skipping_text
from flows.report.terminal import plain_text
from flows.skipping import skip_share
from flows.stages import write_timings
from storage.volume import Volume, open_image
from tests.test_flows import images, runs
from tests.test_flows.conftest import make_bundle
from tests.test_flows.runs import small_cells, stored

SHAPE = (4, 64, 64)
# So little that there are several shards.
SMALL = 3 * 2**16


class Thresholds:
    """Class 1 from an intensity of 60 % on; knows how many tiles it has seen."""

    stride, halo, num_classes, channels, batch_size = (4, 4), (8, 8), 3, 1, 1
    fixed, reference = False, None
    seen = 0

    def predict_classes(self, tiles):
        Thresholds.seen += len(tiles)
        return (tiles[..., 0] >= 0.6).astype(np.uint8)

    def predict_probabilities(self, tiles):
        classes = self.predict_classes(tiles)
        return np.stack([classes == 0, classes == 1, classes == 2], axis=-1).astype(np.float32)

    def predict_both(self, tiles):
        return self.predict_classes(tiles), self.predict_probabilities(tiles)

    def classes_of(self, probabilities):
        return probabilities.argmax(axis=-1).astype(np.uint8)


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A card of stride 4 and halo 8 over a network that needs no Keras."""
    monkeypatch.setattr(Thresholds, "seen", 0)
    monkeypatch.setattr(flow_work, "_predictor", lambda *_given: Thresholds())
    fixed = {"rule": "fixed", "low": [0.0], "high": [200.0]}
    return images.write_card(tmp_path / "bundle", intensity=fixed)


@pytest.fixture
def image(tmp_path, many_cells):
    """Bright in one corner; one more bright voxel that the means of coarser levels hide."""
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[:, 2:8, 2:8] = 180
    voxels[2, 45, 45] = 150
    return images.make_image(tmp_path, voxels)


def segment(image, bundle, **fields):
    return images.segment(image, bundle, any_voxel_size=True, memory=2**22, **fields)


def mask_of(run):
    return open_image(run.target).volumes[0][...]


def test_skipped_shards_are_not_read_and_everything_is_counted(image, bundle, monkeypatch):
    read = []
    plain, finest = Volume.__getitem__, open_image(image).volumes[0]

    def noted(volume, slices):
        read.extend([slices] if volume == finest else [])
        return plain(volume, slices)

    monkeypatch.setattr(Volume, "__getitem__", noted)
    run = images.opened_run(job(image, bundle, skip_below=5, skip_sample=0, memory=SMALL))
    images.infer(run)
    looked = len(read)
    result = images.finish(run, publish=False)
    found, shards = result["skipping"], result["shards"]
    planned = len(run.plan)
    assert 0 < shards["skipped"] == planned - looked
    assert shards == {"planned": planned, "done": looked, "skipped": planned - looked, "failed": 0}
    assert found["false_skip_rate"] is None
    assert found["undefined"] == "no block was drawn"
    assert 0 < found["skipped_blocks"] < found["blocks"]
    # The network's own answer but for the one voxel that the level hides.
    expected = (open_image(image).volumes[0][...] >= 120).astype(np.uint8)
    expected[2, 45, 45] = 0
    np.testing.assert_array_equal(mask_of(run), expected)
    assert "INFER-FALSE-SKIP" in [one["code"] for one in result["findings"]]
    write_timings(run, {}, 1)
    (attempt,) = json.loads(run.blobs.read("timings.json"))["attempts"]
    assert attempt["skipping"]["computed_tiles"] == Thresholds.seen < attempt["skipping"]["tiles"]


def job(image, bundle, **fields):
    fields = {"any_voxel_size": True, "memory": 2**22, "executor": "serial"} | fields
    return SegmentJob(image=image, model=str(bundle), name="mask", **fields)


def test_a_sample_of_all_finds_the_hidden_voxel_and_writes_what_the_network_says(image, bundle):
    run, result = segment(image, bundle, skip_below=5, skip_sample=1)
    found = result["skipping"]
    assert (mask_of(run) == (open_image(image).volumes[0][...] >= 120)).all()
    assert (found["false_blocks"], found["false_voxels"]) == (1, 1)
    assert found["false_skip_rate"] == 1 / found["sampled_voxels"]
    assert found["interval"]["low"] < 1 / found["sampled_blocks"] < found["interval"]["high"]
    assert (found["skipped_blocks"], result["shards"]["skipped"]) == (0, 0)


def test_the_key_is_that_of_the_rule_and_not_of_the_budget(image, bundle):
    def key(**fields):
        return prepare(job(image, bundle, **fields)).key

    plain = key()
    skipping = key(skip_below=5)
    assert key(skip_below=5, memory=2**24, workers=3) == skipping
    assert key(skip_below=5, skip_sample=0.02) == skipping
    others = [{"skip_below": 6}, {"skip_below": 5, "skip_level": 0},
              {"skip_below": 5, "skip_sample": 0.5}]  # fmt: skip
    assert len({plain, skipping, *(key(**fields) for fields in others)}) == 5


def test_a_level_made_anew_is_another_run(image, bundle):
    segment(image, bundle, skip_below=5)
    before = prepare(job(image, bundle, skip_below=5))
    array = zarr.open_array(f"{image}/{before.skipping.volume.path}", mode="r+")
    array[...] = 7
    after = prepare(job(image, bundle, skip_below=5))
    assert before.key != after.key
    assert before.identity["image"] == after.identity["image"]
    with pytest.raises(RequestError, match="the level that shows empty blocks is not what it was"):
        repair_labels(RepairJob(image=image, labels="mask", executor="serial"))


@pytest.mark.parametrize("memory", [SMALL, 2**26])
def test_bytes_do_not_depend_on_the_budget(image, bundle, tmp_path, memory):
    fields = {"skip_below": 5, "skip_sample": 0.3}
    run, result = segment(image, bundle, **fields)
    whole = {key: data for key, data in stored(run.target).items() if "zarr.json" not in key}
    again, other = images.segment(
        image, bundle, any_voxel_size=True, runs=str(tmp_path / "runs"), force=True,
        out=str(tmp_path / "other.zarr"), **fields | {"memory": memory},
    )  # fmt: skip
    assert {k: v for k, v in stored(again.target).items() if "zarr.json" not in k} == whole
    assert other["skipping"] == result["skipping"]


def test_probabilities_of_skipped_blocks_are_certain(image, bundle):
    run, _ = segment(image, bundle, skip_below=5, skip_sample=0, probabilities=True)
    levels = open_image(f"{run.url}/probabilities.zarr").volumes[0][...]
    assert (levels.sum(axis=0) == 255).all()
    assert ((levels[0] == 255) == (mask_of(run) == 0)).all()


def test_result_and_report_say_it(image, bundle):
    _, result = segment(image, bundle, skip_below=5, skip_sample=1)
    line = skipping_text(result["skipping"])
    assert line in plain_text(result)
    page = render_markdown(result)
    assert "## Skipped as empty" in page
    assert "nowhere exceeds 5, as far" in page
    assert "of 0 blocks" not in line


def test_a_plan_knows_how_much_it_would_skip(image, bundle):
    fields = {"skip_below": 5, "skip_sample": 0, "memory": SMALL, "any_voxel_size": True}
    prepared = prepare(job(image, bundle, **fields))
    share = skip_share(prepared)
    _, result = images.segment(image, bundle, **fields)
    found = result["skipping"]
    assert share["shards"] == len(prepared.plan)
    assert share["blocks"] == found["skipped_blocks"] / found["blocks"]
    assert share["whole_shards"] == result["shards"]["skipped"] / len(prepared.plan)
    assert skip_share(prepared, most_shards=2)["shards"] == 2
    assert skip_share(replace(prepared, skipping=None))["shards"] == 0


def test_level_0_may_be_asked_for(image, bundle):
    run, result = segment(image, bundle, skip_below=5, skip_level=0, skip_sample=0)
    assert result["skipping"]["level"] == 0
    assert (mask_of(run) == (open_image(image).volumes[0][...] >= 120)).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"skip_below": 5, "model": "identity"}, "--model identity has no network; leave it out"),
        ({"skip_below": 5, "skip_level": 9}, r"--skip-level 9: the image has the levels 0 to"),
        ({"skip_level": 1}, "--skip-level says how --skip-below works; give that too, or neither"),
        ({"skip_sample": 0.5}, "--skip-sample says how --skip-below works"),
    ],
)
def test_what_is_refused(image, bundle, fields, message):
    wanted = job(image, bundle).model_copy(update=fields)
    with pytest.raises(RequestError, match=message):
        prepare(wanted)


def test_an_image_of_one_level_is_refused(tmp_path, bundle):
    image = images.make_image(tmp_path, np.zeros((4, 20, 20), np.uint8), name="small")
    assert len(open_image(image).volumes) == 1
    with pytest.raises(RequestError, match="only one; import it again, which makes levels, or let"):
        prepare(job(image, bundle, skip_below=5, memory=2**32))


def test_values_that_mean_nothing_are_refused(tmp_path):
    for option, value in (("below", "nan"), ("below", "inf"), ("sample", "1.5"), ("level", "-1")):
        answer = images.maskmill(
            *("segment", tmp_path / "a.zarr", "--model", "b", "--name", "c"),
            *(f"--skip-{option}", value),
        )
        assert answer.code == 2
        assert f"--skip-{option} '{value}': input should be" in answer.err


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_serial_executor(tmp_path, ray_executor):
    fixed = {"rule": "fixed", "low": [0.0], "high": [200.0]}
    (tmp_path / "bundle").mkdir()
    bundle = make_bundle(tmp_path / "bundle", fixed)
    rng = np.random.default_rng(0)
    voxels = np.zeros((6, 200, 200), np.uint8)
    voxels[:, :60, :60] = rng.integers(0, 200, (6, 60, 60))
    with small_cells():
        image = runs.make_image(tmp_path, voxels, "zyx")
        fields = {"image": image, "model": bundle, "skip_below": 2, "skip_sample": 0.3}
        first, result = runs.segment(**fields, memory=2**24)
        whole = stored(Path(first.target, "0"))
        second, again = runs.segment(ray_executor, **fields, memory=2**23, force=True)
    assert stored(Path(second.target, "0")) == whole
    assert again["skipping"] == result["skipping"]
    assert result["skipping"]["sampled_blocks"] > 0
