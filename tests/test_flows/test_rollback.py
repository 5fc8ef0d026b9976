"""Publishing again what readers saw before, and what publishing itself promises."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from flows import publishing
from flows.errors import VerificationError
from flows.jobs import RollbackJob, SegmentJob
from flows.publishing import publish_run
from flows.rollback import roll_back
from flows.run_lease import hold_run
from flows.segment import _finished as finished
from storage.blobs import Blobs
from storage.labels import listed
from storage.volume import open_label
from tests.test_flows.images import (
    CLOCK,
    finish,
    infer,
    make_image,
    make_label,
    make_read_only,
    maskmill,
    opened_run,
    refused,
    segment,
    small_disk,
    voxels_like,
)
from tests.test_flows.versions import VOXELS, make_versions, read_until

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def versions(image):
    """Three versions of one mask, published one after the other; their runs."""
    return make_versions(image, 3)


def back(image, **fields):
    return roll_back(RollbackJob(image=image, labels="mask", **fields))


def record(run, key="published.json"):
    return json.loads(run.blobs.read(key))


# -------------------------------------------------------------------------------- rollback


def test_rollback_shows_the_version_before_and_back_again(image, versions):
    first, second, third = versions
    result = back(image)
    assert (result["published"], result["before"]) == (second.directory, third.directory)
    assert listed(image) == (second.directory,)
    assert open_label(image, "mask").url == second.target
    assert {one["version"]: one["state"] for one in result["versions"]} == {
        first.directory: "published before",
        second.directory: "published",
        third.directory: "published before",
    }
    files = [p for run in (first,) for url in (run.target, run.url) for p in Path(url).rglob("*")]
    size = sum(path.stat().st_size for path in files if path.is_file())
    assert result["versions"][0]["bytes"] == size
    assert record(second)["replaced"] == [third.directory]
    assert record(second)["by"].startswith("rollback-2")
    assert record(third, "replaced.json")["by"] == second.directory
    assert not second.blobs.exists("replaced.json")
    # A rollback is a publication like any other: the one before it is the newer version.
    assert back(image)["published"] == third.directory
    assert not Blobs(second.url).exists("run.lock")


def test_rollback_to_a_version_by_its_name(image, versions):
    first, _, third = versions
    answer = maskmill("rollback", image, "--labels", "mask", "--to", first.directory)
    assert answer.code == 0, answer.err
    assert f"readers of mask see {first.directory} now, before that {third.directory}\n" in (
        answer.out
    )
    assert listed(image) == (first.directory,)
    again = maskmill("rollback", image, "--labels", "mask", "--to", first.directory, "--json")
    assert (again.code, again.document["before"]) == (0, first.directory)


def test_rollback_steps_over_a_version_that_is_gone(image, versions):
    first, second, _ = versions
    shutil.rmtree(second.target)
    assert back(image)["published"] == first.directory


def test_other_labels_stay_as_they_are(image, versions):
    make_label(image, VOXELS % 3)
    other, _ = segment(image, name="other")
    back(image)
    assert listed(image) == ("truth", other.directory, versions[1].directory)


def test_there_is_nothing_to_roll_back_to(tmp_path, image):
    make_label(image, VOXELS % 3)
    run, _ = segment(image)
    part, _ = segment(image, region="y=0:40")
    staged = opened_run(SegmentJob(image=image, model="identity", name="mask", force=True))
    for arguments, message in (
        ((image, "--labels", "truth"), "'truth' was imported, or its runs are elsewhere"),
        ((image, "--labels", "none"), "no version of 'none'; see `maskmill info`"),
        ((image, "--labels", "../x"), "label name '../x' is not usable"),
        ((tmp_path / "none.zarr", "--labels", "a"), "none.zarr holds no OME-Zarr image"),
        ((image, "--labels", "mask"), f"see {run.directory}; no version before it is known"),
        *(
            ((image, "--labels", "mask", "--to", to), f"{to} cannot be published{why}; there is")
            for to, why in (
                (part.directory, r" \(finished over a region\)"),
                (staged.directory, r" \(not finished\)"),
                ("mask-00000000", ""),
            )
        ),
        ((image, "--labels", "mask", "--runs", tmp_path / "none"), "its runs are elsewhere"),
    ):
        refused(tmp_path, "rollback", *arguments, match=message)


def test_a_damaged_version_is_not_shown(image, versions):
    _, second, third = versions
    chunk = next(p for p in Path(second.target, "0", "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"!")
    answer = maskmill("rollback", image, "--labels", "mask")
    assert answer.code == 4
    assert str(chunk.relative_to(second.target)) in answer.err
    assert listed(image) == (third.directory,)
    assert not second.blobs.exists("run.lock")


def test_a_version_that_is_worked_on_is_not_shown(tmp_path, image, versions):
    with hold_run(versions[1].url, "attempt-5"):
        refused(
            tmp_path, "rollback", image, "--labels", "mask", match="attempt-5 .* is at work", code=3
        )
    assert listed(image) == (versions[2].directory,)


def test_nothing_can_be_rolled_back_where_nothing_can_be_written(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        image = make_image(disk, VOXELS)
        for force in (False, True):
            segment(image, force=force)
        make_read_only(disk)
        refused(disk, "rollback", image, "--labels", "mask", match="cannot be written .*Read-only")


def test_rollback_on_an_object_store(bucket, tmp_path):
    from storage.convert import import_image

    np.save(tmp_path / "v.npy", VOXELS)
    image = import_image([str(tmp_path / "v.npy")], f"{bucket}/stack.zarr", axes="zyx").url
    first, second = segment(image)[0], segment(image, force=True)[0]
    assert back(image)["published"] == first.directory
    assert listed(image) == (first.directory,)
    assert record(second, "replaced.json")["by"] == first.directory
    assert [key for key, _ in Blobs(f"{image}.runs").list() if key.endswith(".lock")] == []


def test_a_reader_sees_one_version_or_the_other(tmp_path):
    voxels = voxels_like((2, *VOXELS.shape))
    image = make_image(tmp_path, voxels, axes="czyx")
    runs = [segment(image, channels=(channel,))[0] for channel in (0, 1)]
    expected = {run.directory: voxels[channel] for channel, run in enumerate(runs)}
    seen, stop = [], threading.Event()
    reader = threading.Thread(target=read_until, args=(stop, image, expected, seen))
    reader.start()
    for _ in range(12):
        back(image)
    stop.set()
    reader.join()
    assert set(seen) == set(expected)
    assert len(seen) > 12


# ------------------------------------------------------------------------------ publishing


def test_what_was_not_verified_is_not_published(image):
    run = opened_run(SegmentJob(image=image, model="identity", name="mask"))
    infer(run)
    with pytest.raises(VerificationError, match=r"not verified by the attempt 20260101T000000-00"):
        publish_run(run, CLOCK)
    finish(run, publish=False)
    proof = record(run, "verified.json")
    files = [path for path in Path(run.target).rglob("*") if path.is_file()]
    assert proof == {
        "schema": 1,
        "attempt": run.attempt,
        "digest": run.prepared.digest,
        "objects": len(files),
    }
    later = opened_run(run.job, "20260102T000000-00000000")
    with pytest.raises(VerificationError, match="run the same command again"):
        publish_run(later, CLOCK)
    assert listed(image) == ()
    assert publish_run(run, CLOCK)


def test_a_crash_between_the_list_and_its_record_is_healed(image, versions, monkeypatch):
    """The next run of the same command writes down what the killed one replaced."""
    job = SegmentJob(image=image, model="identity", name="mask", force=True)
    run = opened_run(job)
    finish(run, publish=False)
    real = Blobs.write

    def killed(self, key, data):
        if key == "published.json":
            raise KeyboardInterrupt
        real(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_run(run, CLOCK)
    assert listed(image) == (run.directory,)
    assert finished(run) is None

    again = opened_run(job, "20270101T000000-00000000")
    assert again.directory == run.directory
    finish(again)
    assert record(again) == {
        "schema": 1,
        "when": CLOCK,
        "by": run.attempt,
        "replaced": [versions[2].directory],
    }
    assert not again.blobs.exists("publishing.json")
    assert versions[2].blobs.exists("replaced.json")
    assert back(image)["published"] == versions[2].directory


def test_a_crash_before_the_list_is_healed(image, versions, monkeypatch):
    job = SegmentJob(image=image, model="identity", name="mask", force=True)
    run = opened_run(job)
    finish(run, publish=False)

    def killed(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_run(run, CLOCK)
    assert listed(image) == (versions[2].directory,)
    assert publish_run(run, "later")
    assert record(run)["when"] == "later"
    assert record(run)["replaced"] == [versions[2].directory]


def test_a_version_rolled_back_from_is_not_published_by_itself(image, versions, monkeypatch):
    _, second, third = versions
    back(image)
    assert not publish_run(third, CLOCK)
    assert listed(image) == (second.directory,)
    monkeypatch.setattr("flows.segment.truth_key", lambda _run: None)
    Blobs(third.url).write("report.html", b"")
    done = finished(third)
    assert (done["published"], done["current"]) == (False, second.directory)
    # Somebody has taken the list away: then there is nothing that was chosen instead.
    Blobs(f"{image}/labels").delete("zarr.json")
    assert finished(third) is None
    assert publish_run(third, CLOCK)
    assert listed(image) == (third.directory,)


def test_what_a_finished_command_says_of_a_version_nobody_sees(image, versions):
    from flows.verbs import _show_scores

    result = record(versions[2], "result.json")
    text = _show_scores(
        {**result, "mask": versions[2].target, "published": False, "current": "mask-00000001"}
    )
    assert (
        f"readers see mask-00000001; `maskmill rollback --to {versions[2].directory}` shows" in text
    )
    assert "a run over a region" in _show_scores(
        {**result, "mask": versions[2].target, "published": False, "current": None}
    )
