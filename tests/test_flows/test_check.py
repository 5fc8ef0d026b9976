"""What an image holds, and masks whose bytes are not what was recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.check import verify_labels
from flows.describe import describe_target
from flows.errors import VerificationError
from flows.jobs import InfoJob, SegmentJob, VerifyJob
from storage.blobs import Blobs
from tests.test_flows.images import (
    VOXEL_SIZE,
    finish,
    infer,
    make_image,
    make_label,
    maskmill,
    opened_run,
    repair,
    segment,
    unchanged,
    voxels_like,
    write_thresholds,
)

VOXELS = voxels_like((3, 300, 280))


def test_what_an_image_holds(tmp_path):
    image = make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE)
    make_label(image, VOXELS % 3)
    run, result = segment(image, write_thresholds(tmp_path / "bundle"), name="cells")
    staged = opened_run(SegmentJob(image=image, model="identity", name="later"))
    with unchanged(tmp_path):
        found = describe_target(InfoJob(target=image))
    assert (found["axes"], found["shape"], found["dtype"]) == ("zyx", [3, 300, 280], "uint8")
    assert (found["voxel_size"], found["unit"]) == (list(VOXEL_SIZE), "micrometer")
    assert [level["shape"] for level in found["levels"]] == [[3, 300, 280], [3, 150, 140]]
    assert found["version"] == "0.5"
    assert [label["version"] for label in found["labels"]] == ["truth", run.directory]
    assert found["staged"] == [staged.directory]
    assert found["runs"] == sorted([run.directory, staged.directory])
    cells = found["labels"][1]
    assert (cells["name"], cells["dtype"]) == ("cells", "uint8")
    shares = {c["name"]: c["share"] for c in cells["classes"]}
    assert shares == {s["name"]: s["share"] for s in result["shares"]}
    text = maskmill("info", image).out
    assert "shape: 3 × 300 × 280\n" in text
    assert f"version {run.directory}" in text


def test_an_image_without_anything(tmp_path):
    found = describe_target(InfoJob(target=make_image(tmp_path, VOXELS[0])))
    assert (found["labels"], found["staged"], found["runs"]) == ([], [], [])
    assert (found["voxel_size"], found["unit"]) == ([1.0, 1.0], "micrometer")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return segment(make_image(folder, VOXELS), region="y=0:300")[0]


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run, to be damaged."""
    shutil.copytree(Path(finished.job.image).parent, tmp_path / "copy")
    return VerifyJob(image=str(tmp_path / "copy" / "stack.zarr"), labels=finished.directory)


def stored(run, key):
    return Path(run.image, "labels", run.labels, key)


def test_a_good_mask(run):
    with unchanged(Path(run.image).parent):
        result = verify_labels(run)
    assert result["labels"] == run.labels
    assert result["problems"] == []
    files = [path for path in stored(run, "").rglob("*") if path.is_file()]
    assert set(result["objects"]) == {"infer", "metadata", "pyramid-1"}
    assert result["objects"]["metadata"] == 3
    assert result["checked"] == sum(result["objects"].values()) == len(files)
    by_name = verify_labels(run.model_copy(update={"labels": "mask"}))
    path = str(stored(run, ""))
    assert by_name == verify_labels(run.model_copy(update={"labels": path})) == result


@pytest.mark.parametrize("key", ["0/c/0/0/0", "1/c/0/0/0", "1/zarr.json", "zarr.json"])
@pytest.mark.parametrize("fault", ["missing", "torn", "changed"])
def test_every_object_is_checked(run, key, fault):
    path = stored(run, key)
    data = path.read_bytes()
    if fault == "missing":
        path.unlink()
        message = f"{key}: missing"
    else:
        path.write_bytes(data[:-3] if fault == "torn" else data[:-1] + bytes([data[-1] ^ 1]))
        message = f"{key}: changed: {len(data)} bytes recorded"
    with pytest.raises(VerificationError, match=r"1 problem with the \d stored objects") as raised:
        verify_labels(run)
    assert message in str(raised.value)
    (problem,) = raised.value.result["problems"]
    assert (problem["key"], problem["kind"]) == (
        key,
        "missing" if fault == "missing" else "changed",
    )


def test_a_record_that_is_gone_or_torn(run):
    records = Path(f"{run.image}.runs", run.labels, "records", "infer")
    (record,) = records.iterdir()
    data = record.read_bytes()
    record.write_bytes(data[:-20])
    assert named(run) == [
        ("torn record", f"records/infer/{record.name}", "line 1"),
        ("no record", "0/c/0/0/0", "shard 0 of the stage infer, 4 objects"),
    ]
    record.unlink()
    assert named(run) == [("no record", "0/c/0/0/0", "shard 0 of the stage infer, 4 objects")]


def named(run, **fields):
    """What a verification finds: kind, key and detail."""
    with pytest.raises(VerificationError) as raised:
        verify_labels(run.model_copy(update=fields))
    return [(p["kind"], p["key"], p["detail"]) for p in raised.value.result["problems"]]


def test_objects_that_no_record_names_are_foreign(run):
    for key in ("0/c/9/9/9", "0/c/5", "notes/a.txt", ".zattrs"):
        path = stored(run, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"?")
    expected = sorted([".zattrs", "0/c/5", "0/c/9/9/9", "notes/a.txt"])
    assert named(run) == [("foreign", key, "no record names it") for key in expected]


def test_a_folder_of_records_of_no_stage_is_foreign(run):
    folder = Path(f"{run.image}.runs", run.labels, "records")
    (folder / "pyramid-9").mkdir()
    (folder / "pyramid-9" / "a-000000.jsonl").write_text("x")
    (folder / "note.txt").write_text("x")
    assert [(kind, key) for kind, key, _ in named(run)] == [
        ("foreign record", "records/note.txt"),
        ("foreign record", "records/pyramid-9/a-000000.jsonl"),
    ]


def test_a_level_that_holds_another_says_so(run):
    """Two objects that changed places are named with what they hold."""
    first, second = stored(run, "0/c/0/0/0"), stored(run, "1/c/0/0/0")
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert named(run) == [
        ("swapped", "0/c/0/0/0", "it holds 1/c/0/0/0"),
        ("swapped", "1/c/0/0/0", "it holds 0/c/0/0/0"),
    ]


def test_a_sample_reads_a_part_and_lists_the_rest(run):
    job = run.model_copy(update={"sample": 1e-9})
    found = verify_labels(job)
    # Metadata is always read.
    assert found["checked"] == found["objects"]["metadata"] == 3
    flipped = stored(run, "0/c/0/0/0")
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert verify_labels(job)["problems"] == []
    flipped.write_bytes(data[:-1])
    detail = f"{len(data)} bytes recorded, {len(data) - 1} stored"
    assert named(run, sample=1e-9) == [("changed", "0/c/0/0/0", detail)]
    flipped.unlink()
    assert named(run, sample=1e-9) == [("missing", "0/c/0/0/0", "")]


def test_ray_finds_the_same(run, ray_executor):
    stored(run, "0/c/0/0/0").unlink()
    stored(run, "1/c/0/0/0").write_bytes(b"torn")
    found = named(run, executor="ray")
    assert [kind for kind, _, _ in found] == ["missing", "changed"]
    assert found == named(run)


def test_the_command_tells_every_problem_as_json(run):
    stored(run, "0/c/0/0/0").unlink()
    stored(run, "extra").write_bytes(b"")
    answer = maskmill("verify", run.image, "--labels", run.labels, "--json")
    assert answer.code == 4
    assert answer.document["objects"] == {"metadata": 3, "infer": 4, "pyramid-1": 1}
    assert answer.document["problems"] == [
        {"kind": "missing", "stage": "infer", "shard": 0, "key": "0/c/0/0/0", "detail": ""},
        {"kind": "foreign", "key": "extra", "detail": "no record names it"},
    ]
    lines = answer.err.splitlines()
    assert lines[0].startswith("maskmill: 2 problems with the 8 stored objects of mask-")
    assert lines[1:3] == ["  0/c/0/0/0: missing", "  extra: foreign: no record names it"]


def test_metadata_that_is_nowhere_left(run):
    """Neither record nor object: the layout of the mask cannot be known."""
    shutil.rmtree(Path(f"{run.image}.runs", run.labels, "records", "metadata"))
    stored(run, "1/zarr.json").unlink()
    with pytest.raises(VerificationError, match="lost metadata in the store and in the records"):
        verify_labels(run)


def test_the_same_command_repairs_what_verify_found(tmp_path):
    image = make_image(tmp_path, VOXELS)
    run, result = segment(image)
    chunk = Path(run.target, "0", "c", "0", "0", "0")
    whole = chunk.read_bytes()
    chunk.write_bytes(b"torn")
    job = VerifyJob(image=image, labels="mask")
    with pytest.raises(VerificationError, match="or the same segment command, makes anew"):
        verify_labels(job)
    again = opened_run(run.job, "20260101T000001-00000000")
    infer(again)
    assert repair(again) == 1
    assert chunk.read_bytes() == whole
    assert finish(again) == result
    assert verify_labels(job)["problems"] == []


def test_records_elsewhere(tmp_path):
    image = make_image(tmp_path, VOXELS)
    out, runs = str(tmp_path / "masks.zarr"), str(tmp_path / "records")
    run, _ = segment(image, out=out, runs=runs)
    assert Blobs(runs).exists(f"{run.directory}/run.json")
    answer = maskmill("verify", out, "--labels", "mask", "--runs", runs)
    assert answer.code == 0, answer.err
    answer = maskmill("verify", out, "--labels", "mask")
    assert answer.code == 2
    assert "give --runs URL" in answer.err
