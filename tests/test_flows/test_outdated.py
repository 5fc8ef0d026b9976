"""Which masks are missing or outdated, judged by volumes whose masks were made by hand here."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from flows.datasets import Dataset, find_datasets, segment_job
from flows.errors import RequestError
from flows.jobs import ReconcileJob, ReprocessJob, SegmentJob
from flows.outdated import CURRENT, FAILED, SET_ASIDE, TODO, look_at_all, look_at_chosen
from flows.publishing import publish_version
from flows.reconcile_record import (
    Subject,
    asked_digest,
    failures,
    forget_failures,
    note_failure,
)
from flows.run import DAMAGE
from storage.blobs import Blobs
from storage.errors import StorageError
from tests.test_flows.images import (
    CLOCK,
    finish,
    make_image,
    make_label,
    opened_run,
    segment,
    unchanged,
    voxels_like,
    write_card,
)

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Nothing here has to survive a power cut; waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def image(tmp_path):
    return make_image(tmp_path, voxels_like((2, 60, 50)))


def job_for(target, **fields):
    fields = {"model": "identity", "name": "mask", "executor": "serial"} | fields
    return ReconcileJob(target=str(target), **fields)


def states(target, **fields):
    return [look.state for look in look_at_all(job_for(target, **fields))]


# ------------------------------------------------------------------------------ outdated


def test_a_look_changes_nothing(image, tmp_path):
    with unchanged(tmp_path):
        (look,) = look_at_all(job_for(tmp_path))
    assert (look.state, look.dataset) == (TODO, Dataset("stack.zarr", image))
    assert look.job == SegmentJob(image=image, model="identity", name="mask", executor="serial")
    assert look.run.rpartition("-")[0] == f"{image}.runs/mask"


def test_a_mask_is_current_until_something_changes(image, tmp_path):
    run, _ = segment(image)
    assert states(tmp_path) == [CURRENT]
    assert states(image, workers=3, memory="1GiB") == [CURRENT]  # changes no voxel
    assert states(tmp_path, name="other") == [TODO]
    bundle = write_card(tmp_path / "bundle", voxel_size=None, unit=None)
    assert states(tmp_path, model=str(bundle)) == [TODO]
    chunk = next(p for p in Path(image, "0", "c").rglob("*") if p.is_file())
    os.utime(chunk, ns=(1, 1))  # as one that was written anew
    assert states(tmp_path) == [TODO]
    assert look_at_all(job_for(tmp_path))[0].run != run.url


def test_a_mask_that_is_not_published_is_missing(image, tmp_path):
    job = SegmentJob(image=image, model="identity", name="mask", executor="serial")
    run = opened_run(job)
    assert states(tmp_path) == [TODO]
    finish(run, publish=False)
    assert states(tmp_path) == [TODO]
    publish_version(image, run.blobs, "mask", by="me", clock=CLOCK)
    assert states(tmp_path) == [CURRENT]


def test_a_mask_that_was_found_damaged_is_outdated(image, tmp_path):
    run, _ = segment(image)
    run.blobs.write(DAMAGE, b"{}")
    assert states(tmp_path) == [TODO]


def test_a_run_over_a_region_is_no_mask_of_the_volume(image, tmp_path):
    segment(image, region="z=0:1")
    assert states(tmp_path) == [TODO]


def test_a_forced_version_is_as_good(image, tmp_path):
    first, _ = segment(image)
    job = SegmentJob(image=image, model="identity", name="mask", executor="serial", force=True)
    second = opened_run(job)
    finish(second)
    assert second.directory == f"{first.directory}-2"
    Blobs(first.url).delete_all()
    assert states(tmp_path) == [CURRENT]


def test_an_earlier_version_that_somebody_chose_stays(image, tmp_path):
    earlier, _ = segment(image)
    chunk = next(p for p in Path(image, "0", "c").rglob("*") if p.is_file())
    os.utime(chunk, ns=(1, 1))
    segment(image)
    publish_version(image, earlier.blobs, "mask", by="a rollback", clock=CLOCK)
    assert states(tmp_path) == [CURRENT]


def test_the_full_digest_decides(image, tmp_path):
    run, _ = segment(image)
    document = json.loads(run.blobs.read("run.json"))
    document["digest"] = document["digest"][:8] + "0" * 56
    run.blobs.write("run.json", json.dumps(document).encode())
    assert states(tmp_path) == [TODO]


def test_what_cannot_be_segmented_is_told_beside_the_others(image, tmp_path):
    Blobs(str(tmp_path)).write("a.zarr/zarr.json", b"{")
    floats = make_image(tmp_path, np.ones((2, 20, 20), np.float32), name="floats")
    broken, wrong, good = look_at_all(job_for(tmp_path))
    assert (broken.state, wrong.state, good.state) == (FAILED, FAILED, TODO)
    assert "a.zarr is not a readable Zarr" in broken.error
    assert "needs unsigned integer voxels" in wrong.error
    assert (broken.subject.image, wrong.dataset.url) == (None, floats)
    assert len(wrong.subject.image) == 64


def test_a_bundle_that_is_not_there_ends_it(tmp_path, image):
    with pytest.raises(FileNotFoundError, match="bundle"):
        look_at_all(job_for(image, model=str(tmp_path / "nowhere")))
    job = ReprocessJob(datasets=(image,), model=str(tmp_path / "nowhere"), name="mask")
    with pytest.raises(FileNotFoundError, match="bundle"):
        look_at_chosen(job)


# -------------------------------------------------------------------- catalogs and prefixes


def catalog(folder, text):
    path = folder / "catalog.yaml"
    path.write_text(text)
    return str(path)


def test_images_of_a_catalog_each_once(tmp_path):
    text = """
volumes:
  - {image: a.zarr, label: truth, group: one, region: "z=0:1"}
  - {image: a.zarr, label: truth, group: two, region: "z=1:2"}
  - {image: deep/b.zarr}
  - {image: s3://bucket/c.zarr, split: test}
"""
    path = catalog(tmp_path, text)
    assert find_datasets(job_for(path), (path,)) == (
        Dataset("a.zarr", f"{tmp_path}/a.zarr"),
        Dataset("deep/b.zarr", f"{tmp_path}/deep/b.zarr"),
        Dataset("c.zarr", "s3://bucket/c.zarr"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volumes: []", "has no volumes"),
        ("volumes: [a.zarr]", "volume 1 of the catalog has the fields 'a.zarr'; expected image"),
        ("volumes: [{image: a}, {label: b}]", r"volume 2 of the catalog has the fields \['label'"),
        ("volumes: [{image: a, colour: b}]", r"has the fields \['colour', 'image'\]; expected"),
        ("samples: a.csv", "has the field 'samples'"),
    ],
)
def test_catalogs_that_are_refused(tmp_path, text, message):
    path = catalog(tmp_path, text)
    with pytest.raises(RequestError, match=message):
        find_datasets(job_for(path), (path,))


def test_requests_that_are_refused(tmp_path, image):
    for fields, message in (
        ({"name": "a/b"}, "label name 'a/b' is not usable"),
        ({"truth": f"{image}/labels/truth"}, "is a path; give the name"),
    ):
        with pytest.raises((RequestError, StorageError), match=message):
            look_at_all(job_for(image, **fields))
    with pytest.raises(StorageError, match="does not exist"):
        look_at_all(job_for(tmp_path / "nowhere"))


def test_places_of_runs_and_masks_are_told_apart(tmp_path, image):
    job = job_for(tmp_path, runs=f"{tmp_path}/kept", out=f"{tmp_path}/masks")
    one, other = Dataset("p.zarr/0", "a"), Dataset("q.zarr/0", "b")
    assert segment_job(job, one).runs == f"{tmp_path}/kept/p.zarr/0"
    assert segment_job(job, one).out == f"{tmp_path}/masks/p.zarr/0"
    assert segment_job(job, other).runs != segment_job(job, one).runs
    (tmp_path / "more").mkdir()
    second = make_image(tmp_path / "more", voxels_like((2, 20, 20)))
    with pytest.raises(RequestError, match=r"both called 'stack.zarr' below --runs and --out"):
        find_datasets(job, (image, second))
    assert len(find_datasets(job_for(tmp_path), (image, second))) == 2
    # Masks kept elsewhere are those that count.
    segment(image)
    assert states(image) == [CURRENT]
    assert states(image, out=f"{tmp_path}/masks") == [TODO]


def test_the_truth_is_used_where_it_is(tmp_path, image):
    Path(tmp_path, "more").mkdir()
    other = make_image(tmp_path / "more", voxels_like((2, 20, 20)))
    make_label(image, voxels_like((2, 60, 50), largest=3))
    looks = look_at_all(job_for(tmp_path, truth="truth"))
    truths = {look.dataset.url: look.job.truth for look in looks}
    assert truths == {image: "truth", other: None}
    assert [look.job.truth for look in look_at_all(job_for(tmp_path))] == [None, None]


def test_chosen_images_are_to_do_whatever_they_have(tmp_path, image):
    segment(image)
    Blobs(str(tmp_path)).write("zz.zarr/zarr.json", b"{")
    job = ReprocessJob(
        datasets=(image, str(tmp_path)), model="identity", name="mask", region="z=0:1", force=True
    )
    good, broken = look_at_chosen(job)
    assert (good.state, good.job.region, good.job.force) == (TODO, "z=0:1", True)
    assert broken.state == FAILED


# ------------------------------------------------------------------------------- set aside


def subject_of(image, **fields):
    (look,) = look_at_all(job_for(image, retry=True, **fields))
    return look.subject


def fail(subject, times):
    for number in range(times):
        note_failure(subject, f"failure {number}", NOW)


def test_what_fails_three_times_is_set_aside(image):
    subject = subject_of(image)
    for expected in (TODO, TODO, SET_ASIDE):
        fail(subject, 1)
        assert states(image) == [expected]
    (look,) = look_at_all(job_for(image))
    assert look.error == "failure 0"
    assert states(image, retry=True) == [TODO]
    assert states(image, executor="ray", workers=2, memory="1GiB") == [SET_ASIDE]
    # Asked differently, it is tried; so it is with another image.
    assert states(image, any_voxel_size=True) == [TODO]
    chunk = next(p for p in Path(image, "0", "c").rglob("*") if p.is_file())
    os.utime(chunk, ns=(1, 1))
    assert states(image) == [TODO]


def test_the_record_says_what_is_promised(image):
    subject = subject_of(image)
    fail(subject, 2)
    path = Path(f"{image}.runs", "reconcile", "mask.json")
    assert json.loads(path.read_text()) == {
        "schema": 1,
        "asked": asked_digest(job_for(image), "identity"),
        "image": subject.image,
        "failures": 2,
        "error": "failure 1",
        "last": "2026-05-01T12:00:00+00:00",
    }
    assert failures(subject) == (2, "failure 1")
    forget_failures(subject)
    assert failures(subject) == (0, "")
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"failures": "9"}', b"\xff"])
def test_a_record_that_cannot_be_used_counts_nothing(image, content):
    subject = subject_of(image)
    fail(subject, 3)
    subject.blobs.write(subject.key, content)
    assert states(image) == [TODO]
    fail(subject, 1)
    assert failures(subject)[0] == 1


def test_what_cannot_be_opened_is_set_aside_too(tmp_path):
    Blobs(str(tmp_path)).write("a.zarr/zarr.json", b"{")
    fail(subject_of(tmp_path / "a.zarr"), 3)
    (look,) = look_at_all(job_for(tmp_path))
    assert look.state == SET_ASIDE
    assert "not a readable Zarr" in look.error


def test_a_misspelt_path_makes_no_folders(tmp_path):
    subject = Subject(f"{tmp_path}/nowhere/a.zarr.runs", "mask", "0", None)
    with unchanged(tmp_path):
        fail(subject, 1)


def test_a_secret_stays_out_of_the_record(image, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-in-the-text")
    subject = subject_of(image)
    note_failure(subject, "denied for hidden-in-the-text", NOW)
    assert "hidden-in-the-text" not in failures(subject)[1]
