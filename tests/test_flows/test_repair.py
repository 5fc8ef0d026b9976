"""Repair: exactly what is missing or wrong is made anew, in place."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flows.check import verify_labels
from flows.errors import IncompleteRunError, RequestError, VerificationError
from flows.jobs import RepairJob, SegmentJob, VerifyJob
from flows.repair import repair_labels
from flows.run import DAMAGE, is_finished
from flows.run_lease import hold_run
from storage.volume import open_label
from tests.test_flows.images import maskmill, segment
from tests.test_flows.runs import attempts, infer, start, stored
from tests.test_flows.test_stages import overwrite
from tests.test_flows.works import StopAfter


@pytest.fixture
def run(tiny_image):
    """A finished run of many shards."""
    return segment(image=tiny_image, memory=2**17, truth="truth")[0]


def repair(run, **fields):
    return repair_labels(RepairJob(image=run.job.image, labels="mask", executor="serial", **fields))


def verify(run):
    return verify_labels(VerifyJob(image=run.job.image, labels="mask"))


def shards_of(run):
    """Attempts of every shard."""
    return {item: len(names) for item, names in attempts(run.url).items()}


def test_nothing_to_do(run):
    whole = stored(run.target) | stored(f"{run.url}/records")
    done = repair(run)
    assert (done["shards"], done["cells"], done["removed"], done["records"]) == ([], {}, [], [])
    assert stored(run.target) | stored(f"{run.url}/records") == whole


def test_everything_at_once(run):
    whole = stored(run.target)
    label = Path(run.target)
    (label / "0/c/0/0/0").unlink()
    (label / "0/c/1/1/1").write_bytes(b"torn")
    (label / "1/c/0/0/0").write_bytes(b"")
    (label / "1/zarr.json").unlink()
    (label / "0/c/0/0/77").write_bytes(b"foreign")
    record = sorted(Path(run.url, "records", "infer").iterdir())[-1]
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(VerificationError):
        verify(run)
    done = repair(run)
    last = len(run.plan) - 1
    assert done["shards"] == sorted({0, shard_with(run, "0/c/1/1/1"), last})
    assert done["cells"] == {"pyramid-1": [0]}
    assert done["metadata"] == ["1/zarr.json"]
    assert done["removed"] == ["0/c/0/0/77"]
    assert done["records"] == [f"records/infer/{record.name}"]
    assert stored(run.target) == whole
    assert {i for i, n in shards_of(run).items() if n > 1} == set(done["shards"]) - {last}
    assert verify(run)["problems"] == []
    assert is_finished(run.blobs)
    assert not run.blobs.exists(DAMAGE)
    again = repair(run)
    assert (again["problems"], again["shards"]) == ([], [])


def shard_with(run, key):
    """The shard whose record names an object."""
    records = run.manifest.records("infer", len(run.plan))
    return next(r["item"] for r in records if key in [o["key"] for o in r["objects"]])


def test_a_redone_shard_is_counted_against_the_truth_again(run):
    before = [r["statistics"] for r in run.manifest.records("infer", 1)]
    overwrite(run)
    repair(run)
    after = [r for r in run.manifest.records("infer", 1) if r["item"] == 0]
    assert [r["statistics"] for r in after] == before
    assert after[0]["attempt"] != run.attempt


def test_a_truth_that_is_gone_does_not_keep_the_mask_from_being_mended(run):
    whole = stored(run.target)
    shutil.rmtree(Path(run.job.image, "labels", "truth"))
    overwrite(run)
    assert repair(run)["shards"] == [0]
    assert stored(run.target) == whole


def test_a_level_built_while_the_finer_one_was_wrong_is_built_again(tiny_image):
    """A run of an earlier version left no proof: its levels cannot be trusted."""
    run, _ = segment(image=tiny_image, memory=2**17)
    whole = stored(run.target)
    run.blobs.delete("verified.json")
    overwrite(run)
    done = repair(run)
    # The shard is one cell, below one cell of the next level.
    assert done["cells"]["pyramid-1"] == [0]
    assert stored(run.target) == whole


def test_a_run_over_a_region_with_probabilities(tmp_path, tiny_image, tiny_bundle):
    fields = {"image": tiny_image, "model": tiny_bundle, "region": "z=16:40", "memory": 2**24}
    run, _ = segment(**fields, probabilities=True)
    whole = stored(run.target) | stored(f"{run.url}/probabilities.zarr")
    folder = Path(run.url, "probabilities.zarr")
    cells = sorted(p for p in (folder / "0" / "c").rglob("*") if p.is_file())
    cells[0].write_bytes(b"torn")
    cells[-1].unlink()
    (folder / "0" / "zarr.json").write_text("{}")
    (folder / "extra").write_text("?")
    job = VerifyJob(image=run.job.image, labels=run.directory)
    with pytest.raises(VerificationError) as caught:
        verify_labels(job)
    named = {p["key"].removeprefix("probabilities.zarr/") for p in caught.value.result["problems"]}
    expected = {str(p.relative_to(folder)) for p in (cells[0], cells[-1])}
    assert named == expected | {"0/zarr.json", "extra"}
    repair_labels(RepairJob(image=run.job.image, labels=run.directory, executor="serial"))
    assert stored(run.target) | stored(f"{run.url}/probabilities.zarr") == whole
    assert verify_labels(job)["problems"] == []


def test_an_image_that_has_changed_is_refused(run):
    before = stored(run.target)
    overwrite(run)
    damaged = stored(run.target)
    assert damaged != before
    source = next(p for p in Path(run.job.image, "0", "c").rglob("*") if p.is_file())
    source.write_bytes(source.read_bytes())
    with pytest.raises(RequestError, match="the image is not what it was when the mask was made"):
        repair(run)
    assert stored(run.target) == damaged


def test_a_bundle_that_has_changed_is_refused(tmp_path, tiny_image, tiny_bundle):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    run, _ = segment(image=tiny_image, model=str(bundle), memory=2**24)
    card = json.loads((bundle / "card.json").read_text())
    card["intensity"]["low"] = 2.0
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(RequestError, match="the bundle is not what it was"):
        repair(run)


def test_an_unfinished_run_is_not_for_repair(tiny_image):
    run = start(SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17))
    with pytest.raises(IncompleteRunError):
        infer(run, StopAfter(2))
    with pytest.raises(RequestError, match="was never finished; run its segment command"):
        repair_labels(RepairJob(image=tiny_image, labels=run.directory, executor="serial"))


def test_a_run_at_work_is_left_alone(run):
    overwrite(run)
    damaged = stored(run.target)
    with (
        hold_run(run.url, "somebody"),
        pytest.raises(IncompleteRunError, match="is at work on"),
    ):
        repair(run)
    assert stored(run.target) == damaged


def test_an_imported_label_has_nothing_to_be_repaired_from(run):
    answer = maskmill("repair", run.job.image, "--labels", "truth")
    assert answer.code == 2
    assert "truth has no run records" in answer.err


def test_the_command_says_what_it_did(run):
    overwrite(run)
    options = ["repair", run.job.image, "--labels", "mask", "--executor", "serial"]
    answer = maskmill(*options)
    assert answer.code == 0, answer.err
    total = len(stored(run.target))
    assert re_lines(answer.out) == [
        "  0/c/0/0/0: changed",
        f"{run.directory}: 1 shards computed again; {total} objects are whole",
    ]
    answer = maskmill(*options, "--json")
    assert answer.document["shards"] == []
    expected = open_label(run.job.image, "mask").volumes[0][...]
    assert np.array_equal(expected, open_label(run.job.image, run.directory).volumes[0][...])


def re_lines(text):
    """Lines without the sizes."""
    return [line.split(": changed: ")[0] + ": changed" * (": changed: " in line)
            for line in text.splitlines()]  # fmt: skip


def test_what_cannot_be_mended_is_told(run, monkeypatch):
    """A store that loses what is written: the second verification finds it."""
    overwrite(run)
    monkeypatch.setattr("flows.repair.infer", lambda *_, **__: None)
    with pytest.raises(VerificationError, match="could not be mended: 1 stored objects") as caught:
        repair(run)
    assert [p["key"] for p in caught.value.result["problems"]] == ["0/c/0/0/0"]
