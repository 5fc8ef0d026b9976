"""What goes, what stays and why; and that nobody sees a version go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flows import prune
from flows.jobs import PruneJob, RollbackJob, SegmentJob
from flows.prune import _newest, prune_labels
from flows.rollback import roll_back
from flows.run_lease import RUN_LOCK, hold_run
from flows.versions import EARLIER, Version
from storage import label_versions
from storage.blobs import Blobs
from storage.labels import listed
from storage.process import this_process
from storage.volume import open_label
from tests.test_flows.images import (
    infer,
    listing,
    make_image,
    make_label,
    make_read_only,
    maskmill,
    opened_run,
    refused,
    segment,
    small_disk,
    unchanged,
)
from tests.test_flows.versions import VOXELS, make_versions, read_until

HOUR = 3600.0


pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def versions(image):
    """Four versions of one mask, published one after the other; their runs."""
    return make_versions(image, 4)


def judged(image, **fields):
    """Decision on every version."""
    found = prune_labels(PruneJob(image=image, **fields))["versions"]
    return {one["version"]: one["decision"] for one in found}


def reason(image, directory, **fields):
    found = prune_labels(PruneJob(image=image, **fields))["versions"]
    return next(one["reason"] for one in found if one["version"] == directory)


def age(path, hours):
    """Let a file be so many hours older than it is."""
    written = path.stat().st_mtime - hours * HOUR
    os.utime(path, (written, written))


def size(*folders):
    files = (path for folder in folders for path in Path(folder).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def test_without_yes_it_only_tells(tmp_path, image, versions):
    first, second, third, fourth = versions
    with unchanged(tmp_path):
        told = prune_labels(PruneJob(image=image, older_than=0))
    assert [one["version"] for one in told["versions"]] == [run.directory for run in versions]
    assert [one["decision"] for one in told["versions"]] == ["goes", "goes", "stays", "stays"]
    assert told["bytes"] == size(first.target, first.url, second.target, second.url)
    assert told["deleted"] is False
    assert [one["reason"] for one in told["versions"][2:]] == ["one of the 2 newest", "published"]
    with unchanged(tmp_path):
        answer = maskmill("prune", image, "--older-than", "0")
    assert answer.code == 0, answer.err
    assert f"{third.directory}: stays" in answer.out
    assert f"{first.directory}: goes" in answer.out
    assert answer.out.endswith(" to delete; --yes deletes them\n")
    assert fourth.directory in answer.out


def test_what_goes_is_gone_and_the_rest_is_untouched(image, versions):
    *old, third, fourth = versions
    make_label(image, VOXELS % 3)
    kept = [Path(place) for run in (third, fourth) for place in (run.target, run.url)]
    before = [listing(folder) for folder in (*kept, Path(image, "labels", "truth"))]
    answer = maskmill("prune", image, "--labels", "mask", "--older-than", "0s", "--yes", "--json")
    assert answer.code == 0, answer.err
    assert answer.document["deleted"] is True
    for run in old:
        assert not Path(run.target).exists()
        assert not Path(run.url).exists()
    assert [listing(folder) for folder in (*kept, Path(image, "labels", "truth"))] == before
    assert listed(image) == (fourth.directory, "truth")
    # What is left can still be rolled back to.
    assert roll_back(RollbackJob(image=image, labels="mask"))["published"] == third.directory
    assert not list(Path(f"{image}.runs").glob("*.lock"))
    again = maskmill("prune", image, "--older-than", "0", "--yes")
    assert again.out.endswith("nothing to delete\n")


def test_keep_counts_the_published_version(image, versions):
    for keep, stay in ((1, 1), (2, 2), (3, 3), (4, 4), (9, 4)):
        decisions = judged(image, older_than=0, keep=keep)
        assert list(decisions.values()) == ["goes"] * (4 - stay) + ["stays"] * stay


def test_the_newest_are_those_published_last(image, versions):
    first, second, third, fourth = (run.directory for run in versions)
    roll_back(RollbackJob(image=image, labels="mask", to=first))
    decisions = judged(image, older_than=0)
    assert decisions == {first: "stays", second: "goes", third: "goes", fourth: "stays"}


def test_every_mask_has_its_own_newest(image, versions):
    other = [segment(image, name="other", force=force)[0].directory for force in (False, True)]
    decisions = judged(image, older_than=0, keep=1)
    assert [decisions[one] for one in other] == ["goes", "stays"]
    assert set(judged(image, labels="other", older_than=0)) == set(other)


# ----------------------------------------------------------------------------------- age


def test_what_readers_saw_lately_stays(image, versions):
    first = versions[0]
    assert set(judged(image).values()) == {"stays"}
    assert reason(image, first.directory).startswith("seen or written ")
    age(Path(first.url, "replaced.json"), hours=25)
    assert reason(image, first.directory) == "published before, 25 h ago"
    assert judged(image)[first.directory] == "goes"
    assert judged(image, older_than=26 * HOUR)[first.directory] == "stays"
    # That its voxels are old says nothing of when readers opened it.
    second = versions[1]
    for path in (*Path(second.target).rglob("*"), *Path(second.url).glob("*.json*")):
        if path.name != "replaced.json":
            age(path, hours=1000)
    assert judged(image)[second.directory] == "stays"


def test_this_machines_clock_does_not_count(image, versions, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1000 * HOUR)
    assert set(judged(image).values()) == {"stays"}


def test_without_a_note_the_last_change_of_the_list_counts(image, versions):
    first = versions[0]
    Path(first.url, "replaced.json").unlink()
    assert judged(image)[first.directory] == "stays"
    age(Path(image, "labels", "zarr.json"), hours=25)
    assert judged(image)[first.directory] == "goes"


# ----------------------------------------------------------------------- what never goes


def test_what_no_run_has_made_stays(image, versions):
    make_label(image, VOXELS % 3)
    # A name that looks like a version of another label, published and then not.
    make_label(image, VOXELS % 3, name="truth-0123abcd")
    Blobs(f"{image}/labels").write("zarr.json", Blobs(image).read("labels/zarr.json"))
    decisions = judged(image, older_than=0, yes=True, keep=1)
    assert (decisions["truth"], decisions["truth-0123abcd"]) == ("stays", "stays")
    assert open_label(image, "truth-0123abcd").volumes[0].shape == VOXELS.shape
    # Runs that are recorded elsewhere: nothing is known of their versions here.
    elsewhere = judged(image, older_than=0, yes=True, runs=f"{image}.none")
    assert set(elsewhere.values()) == {"stays"}
    assert not Path(f"{image}.none").exists()


def test_a_finished_run_over_a_region_stays_and_an_abandoned_one_goes(image):
    part, _ = segment(image, region="y=0:40")
    staged = opened_run(SegmentJob(image=image, model="identity", name="mask", region="y=0:50"))
    infer(opened_run(SegmentJob(image=image, model="identity", name="mask")))
    assert set(judged(image).values()) == {"stays"}
    decisions = judged(image, older_than=0, yes=True)
    assert decisions.pop(part.directory) == "stays"
    assert list(decisions.values()) == ["goes", "goes"]
    assert os.listdir(Path(image, "labels")) == os.listdir(f"{image}.runs") == [part.directory]
    assert not Path(staged.target).exists()


def test_an_evaluation_is_no_version(image, versions):
    folder = Path(f"{image}.runs", "evaluate-0123abcd")
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"schema": 1, "kind": "evaluate"}))
    assert folder.name not in judged(image, older_than=0, yes=True)
    assert folder.is_dir()


def test_a_run_that_cannot_be_understood_stays(image, versions):
    Path(versions[0].url, "run.json").write_text("{")
    assert judged(image, older_than=0, yes=True)[versions[0].directory] == "stays"
    assert "run.json cannot be used" in reason(image, versions[0].directory, older_than=0)


@pytest.mark.parametrize("yes", [False, True])
def test_what_a_command_works_on_stays(image, versions, yes):
    with hold_run(versions[0].url, "attempt-5"):
        said = reason(image, versions[0].directory, older_than=0, yes=yes)
    assert said.startswith("attempt-5 (process ")
    assert Path(versions[0].target, "zarr.json").exists()


def test_what_a_killed_command_left_goes(image, versions):
    code = (
        "import json; from storage.process import this_process; print(json.dumps(this_process()))"
    )
    gone = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    versions[0].blobs.write(RUN_LOCK, json.dumps({"owner": "killed", **gone}).encode())
    assert judged(image, older_than=0, yes=True)[versions[0].directory] == "goes"
    assert not Path(versions[0].url).exists()


def test_the_lock_of_another_machine_counts_while_it_beats(image, versions):
    first = versions[0]
    holder = {"owner": "attempt-9", **this_process(), "boot": "another"}
    first.blobs.write(RUN_LOCK, json.dumps(holder).encode())
    assert "attempt-9" in reason(image, first.directory, older_than=0)
    age(Path(first.url, RUN_LOCK), hours=1)
    assert judged(image, older_than=0)[first.directory] == "goes"


def test_a_version_that_is_taken_up_meanwhile_stays(image, versions, monkeypatch):
    real = prune.judge

    def judge(*arguments):
        verdicts = real(*arguments)
        roll_back(RollbackJob(image=image, labels="mask", to=versions[0].directory))
        return verdicts

    monkeypatch.setattr(prune, "judge", judge)
    assert judged(image, older_than=0, yes=True)[versions[0].directory] == "stays"
    assert listed(image) == (versions[0].directory,)
    np.testing.assert_array_equal(open_label(image, "mask").volumes[0][...], VOXELS)


# ------------------------------------------------------------------------------- failures


def test_nothing_goes_where_nothing_can_be_written(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        image = make_image(disk, VOXELS)
        for force in (False, True, True):
            segment(image, force=force)
        make_read_only(disk)
        refused(disk, "prune", image, "--older-than", "0", "--yes", match="Read-only file system")


def test_bad_requests(tmp_path, image):
    for arguments, message in (
        ((tmp_path / "none.zarr",), "none.zarr holds no OME-Zarr image"),
        ((image, "--labels", "../x"), "is not usable"),
        ((image, "--older-than", "yesterday"), "'yesterday' is not a time; write 24h"),
        ((image, "--older-than", "-1"), "--older-than"),
        ((image, "--keep", "0"), "--keep"),
    ):
        refused(tmp_path, "prune", *arguments, match=message)
    with unchanged(tmp_path):
        assert maskmill("prune", image).out == "nothing to delete\n"


def test_a_killed_prune_is_gone_on_with(image, versions, monkeypatch):
    first = versions[0]

    def killed(_folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "delete_all", killed)
        assert maskmill("prune", image, "--older-than", "0", "--yes").code == 3
    assert Path(first.target, "0").is_dir()
    assert not Path(first.target, "zarr.json").exists()
    decisions = judged(image, older_than=0, yes=True)
    assert decisions[first.directory] == "goes"
    assert not Path(first.target).exists()
    assert not Path(first.url).exists()


def test_a_half_pruned_version_is_made_anew_when_asked_for(image, versions, monkeypatch):
    first = versions[0]
    before = listing(Path(first.target))
    with monkeypatch.context() as patch:
        patch.setattr(label_versions, "folders", lambda _url: [])
        patch.setattr(prune, "folders", lambda _url: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            judged(image, older_than=0, yes=True)
    assert not Path(first.target).exists()
    assert Path(first.url, "run.json").exists()
    again, _ = segment_again(image, first.job)
    assert listing(Path(first.target)) == before
    assert listed(image) == (again.directory,)


def segment_again(image, job):
    """The same job once more, with everything that is gone to be redone."""
    from tests.test_flows.images import repair

    run = opened_run(job, "20270101T000000-00000000")
    infer(run)
    assert repair(run) > 0
    from flows.publishing import publish_run

    publish_run(run, "later")
    return run, None


# -------------------------------------------------------------------------------- readers


def test_a_reader_never_sees_a_version_go(image):
    """New versions come and old ones go all the time; what is open is younger than a second."""
    segment(image)
    seen, stop = [], threading.Event()
    reader = threading.Thread(target=read_until, args=(stop, image, {"whole": VOXELS}, seen))
    reader.start()
    gone = 0
    for _ in range(6):
        segment(image, force=True)
        time.sleep(0.4)
        decisions = judged(image, older_than=1, keep=1, yes=True)
        gone += list(decisions.values()).count("goes")
    stop.set()
    reader.join()
    assert set(seen) == {"whole"}
    assert gone >= 2


def test_versions_of_one_second_stand_in_the_order_they_were_made_in(tmp_path):
    """Object stores tell times in whole seconds."""
    names = ["mask-0123abcd", *(f"mask-0123abcd-{n}" for n in range(2, 12))]
    found = [
        Version(name, "mask", EARLIER, f"{tmp_path}/{name}", Blobs(str(tmp_path)), 1e9)
        for name in sorted(names)
    ]
    assert _newest(found, 3) == set(names[-3:])


@pytest.mark.slow
def test_prune_on_an_object_store(bucket, tmp_path):
    from storage.convert import import_image

    np.save(tmp_path / "v.npy", VOXELS)
    image = import_image([str(tmp_path / "v.npy")], f"{bucket}/stack.zarr", axes="zyx").url
    first, *others = [segment(image, force=force)[0] for force in (False, True, True)]
    assert set(judged(image, yes=True).values()) == {"stays"}
    decisions = judged(image, older_than=0, yes=True)
    assert decisions == {first.directory: "goes"} | {run.directory: "stays" for run in others}
    for url in (first.target, first.url):
        assert list(Blobs(url).list()) == []
    np.testing.assert_array_equal(open_label(image, "mask").volumes[0][...], VOXELS)


def test_a_version_whose_folder_was_removed_by_hand(image, versions):
    shutil.rmtree(versions[0].target)
    assert judged(image, older_than=0, yes=True)[versions[0].directory] == "goes"
    assert not Path(versions[0].url).exists()
