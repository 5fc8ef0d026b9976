import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from flows import stages
from flows.check import verify_labels
from flows.errors import IncompleteRunError, RequestError, VerificationError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob, VerifyJob
from flows.progress import Progress
from flows.run import is_finished
from storage.cells import open_cells
from storage.labels import listed
from storage.volume import open_image, open_label
from tests.test_flows.runs import attempts, finish, infer, naive_mode, segment, start, stored
from tests.test_flows.works import Failing, StopAfter


@pytest.fixture
def job(tiny_image):
    return SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17)


def cell_file(run, level="0"):
    """One stored object of a level."""
    return sorted(p for p in Path(run.target, level, "c").rglob("*") if p.is_file())[-1]


def overwrite(run, level="0"):
    """What a zombie does: a whole, readable cell of other voxels in the place of the right one."""
    array = next(v for v in open_image(run.target).volumes if v.path == level)
    cell = array.shards or array.chunks
    shape = tuple(min(c, n) for c, n in zip(cell, array.shape, strict=True))
    open_cells(run.target, level).write((0,) * len(shape), np.full(shape, 2, array.dtype))


def truncate(run, level="0"):
    path = cell_file(run, level)
    path.write_bytes(path.read_bytes()[:-7])


def delete(run, level="0"):
    cell_file(run, level).unlink()


def check_mask(run):
    """The mask is the image and every level is made of the one before."""
    expected = open_image(run.job.image).volumes[0][...]
    for level in open_label(run.job.image, "mask").volumes:
        if level.shape != expected.shape:
            expected = naive_mode(expected, level.shape)
        assert np.array_equal(level[...], expected)


@pytest.mark.parametrize("harm", [overwrite, truncate, delete])
def test_a_shard_that_is_not_what_was_recorded_is_redone(job, harm):
    run = start(job)
    infer(run)
    harm(run)
    _, redone = finish(run)
    assert redone == 1
    assert sorted(map(len, attempts(run.url).values()))[-2:] == [1, 2]
    check_mask(run)


def test_a_zombie_that_wrote_after_the_pyramid_was_made_is_undone_there_too(job):
    run = start(job)
    infer(run)
    overwrite(run)
    stages.build_pyramid(run, SerialExecutor())
    _, redone = finish(run)
    assert redone == 1
    check_mask(run)


@pytest.mark.parametrize("harm", [overwrite, truncate, delete])
def test_a_coarser_level_that_is_not_what_was_recorded_is_built_again(job, harm):
    run = start(job)
    infer(run)
    stages.build_pyramid(run, SerialExecutor())
    harm(run, "1")
    _, redone = finish(run)
    assert redone == 0
    check_mask(run)


@pytest.mark.parametrize("key", ["zarr.json", "0/zarr.json", "1/zarr.json"])
def test_metadata_that_changed_is_restored_and_no_voxel_is_touched(job, key):
    run = start(job)
    infer(run)
    path = Path(run.target, key)
    whole, cells = path.read_bytes(), stored(f"{run.target}/0/c")
    path.write_text(path.read_text().replace("1", "2", 1))
    _, redone = finish(run)
    assert redone == 0
    assert path.read_bytes() == whole
    assert stored(f"{run.target}/0/c") == cells
    check_mask(run)


def test_metadata_that_is_lost_between_two_attempts_is_restored_at_once(job):
    """Creating an array anew would clear it."""
    run = start(job)
    with pytest.raises(IncompleteRunError):
        infer(run, StopAfter(4))
    whole = stored(run.target)
    for key in ("zarr.json", "0/zarr.json"):
        Path(run.target, key).unlink()
    again = start(job)
    assert stored(run.target) == whole
    infer(again)
    finish(again)
    check_mask(again)


def test_a_shard_without_a_record_is_not_published(job):
    run = start(job)
    with pytest.raises(IncompleteRunError):
        infer(run, StopAfter(4))
    stop = threading.Event()
    with pytest.raises(IncompleteRunError, match=r"1 shards failed and 1 of"):
        stages.verify(run, Failing(bad=(5,)), stop, Progress)
    assert listed(job.image) == ("truth",)
    _, redone = finish(run)
    assert redone == 1
    check_mask(run)


def test_a_torn_record_is_a_shard_to_do(job):
    run = start(job)
    infer(run)
    record = sorted(Path(run.url, "records", "infer").iterdir())[2]
    # An object holds what was finished while the one before was written.
    torn = json.loads(record.read_text().splitlines()[-1].partition(" ")[2])["item"]
    record.write_bytes(record.read_bytes()[:-20])
    assert run.manifest.completed("infer", len(run.plan)).sum() == len(run.plan) - 1
    again = start(job)
    infer(again)
    assert sorted(attempts_of(again)) == [torn]
    finish(again)
    check_mask(again)


def test_a_bad_record_is_gone_once_its_shard_is_redone(job):
    """A good mask must not look damaged for what an earlier attempt left."""
    run = start(job)
    infer(run)
    first, second, third = sorted(Path(run.url, "records", "infer").iterdir())[:3]
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(third.read_bytes())
    again = start(job)
    infer(again)
    finish(again)
    assert verify(job)["problems"] == []
    check_mask(again)


def test_a_redone_shard_makes_only_the_cells_above_it_anew(job):
    run = start(job)
    infer(run)
    stages.build_pyramid(run, SerialExecutor())
    before = tries(run)
    overwrite(run)
    again = start(job)
    infer(again)
    _, redone = finish(again)
    assert redone == 1
    # The shard is one cell, below one of the four cells of the next level.
    assert before == {"1": dict.fromkeys(range(4), 1), "2": {0: 1}}
    assert tries(run) == {"1": {0: 2, 1: 1, 2: 1, 3: 1}, "2": {0: 1}}
    check_mask(again)


def tries(run):
    """How often the cells of the coarser levels were made."""
    return {
        level: {item: len(found) for item, found in attempts(run.url, f"pyramid-{level}").items()}
        for level in ("1", "2")
    }


def attempts_of(run):
    """Items that this attempt recorded."""
    return [
        record["item"]
        for record in run.manifest.records("infer", len(run.plan))
        if record["attempt"] == run.attempt
    ]


def test_failed_shards_are_listed_and_the_same_job_finishes_them(job):
    run = start(job)
    planned = len(run.plan)
    with pytest.raises(
        IncompleteRunError,
        match=rf"2 shards failed and 2 of {planned} are to do: shard 1: OSError: the node is "
        r"broken; shard 4: .* run the same command",
    ) as caught:
        infer(run, Failing(bad=(1, 4)))
    assert caught.value.result["shards"] == {
        "planned": planned, "done": planned - 2, "skipped": 0, "failed": 2,
    }  # fmt: skip
    documents = [json.loads(p.read_text()) for p in sorted(Path(run.url, "failures").iterdir())]
    assert [(d["shard"], d["attempts"]) for d in documents] == [(1, 3), (4, 3)]
    again = start(job)
    infer(again)
    assert attempts_of(again) == [1, 4]
    finish(again)
    check_mask(again)


def test_a_finished_run_does_nothing(job):
    run, _ = segment(image=job.image, memory=job.memory)
    before = stored(run.target) | stored(f"{run.url}/records")
    again, _ = segment(image=job.image, memory=job.memory)
    assert stored(again.target) | stored(f"{again.url}/records") == before


def test_timings_say_what_an_attempt_took(job):
    run, _ = segment(image=job.image, memory=job.memory)
    stages.write_timings(run, {"infer": 1.5}, 2)
    stages.write_timings(start(job), {"infer": 0.1}, 2)
    first, second = json.loads(run.blobs.read("timings.json"))["attempts"]
    assert (first["shards"], first["tries"]) == (len(run.plan), len(run.plan))
    assert first["peak_bytes"] > 2**20
    assert first["seconds"] == {"infer": 1.5}
    assert (second["shards"], second["peak_bytes"]) == (0, 0)


def verify(job):
    return verify_labels(VerifyJob(image=job.image, labels="mask"))


def test_verification_of_a_sound_mask_counts_its_objects(job):
    run, _ = segment(image=job.image, memory=job.memory)
    found = verify(job)
    recorded = [key for key in stored(run.target) if not key.endswith(".partial")]
    assert sum(found["objects"].values()) == len(recorded)
    assert found["problems"] == []


@pytest.mark.parametrize("level", ["0", "1"])
@pytest.mark.parametrize(
    ("harm", "fault"), [(overwrite, "changed"), (truncate, "changed"), (delete, "missing")]
)
def test_verification_names_what_is_torn_or_gone(job, harm, fault, level):
    run, _ = segment(image=job.image, memory=job.memory)
    whole = set(stored(run.target).items())
    harm(run, level)
    after = set(stored(run.target).items())
    (key,) = {key for key, _ in whole - after}
    with pytest.raises(VerificationError, match=rf"{re.escape(key)}: {fault}"):
        verify(job)
    # From now on the run counts as unfinished; the same job mends it.
    assert not is_finished(run.blobs)
    again = start(job)
    infer(again)
    _, redone = finish(again)
    assert redone == (level == "0")
    assert set(stored(run.target).items()) == whole
    assert is_finished(run.blobs)
    assert verify(job)["problems"] == []


def test_verification_counts_shards_without_a_record(job):
    run, _ = segment(image=job.image, memory=job.memory)
    sorted(Path(run.url, "records", "infer").iterdir())[0].unlink()
    with pytest.raises(VerificationError, match=r"no record: shard 0 of the stage infer") as caught:
        verify(job)
    assert len(caught.value.result["problems"]) == 1


def test_an_imported_label_has_nothing_to_be_verified_against(job):
    with pytest.raises(RequestError, match="truth has no run records"):
        verify_labels(VerifyJob(image=job.image, labels="truth"))
