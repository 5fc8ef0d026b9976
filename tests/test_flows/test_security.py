"""Documents from others that are wrong: one message, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz.__main__ import fuzz, table
from benchmarks.fuzz.subject import Subject
from benchmarks.fuzz.subjects import subjects
from flows import yaml_file
from flows.run_document import read_run
from segmentation.bundle import load_card
from storage.blobs import Blobs
from storage.records import line_checksum
from tests.corpus import cards, ome, runs, texts
from tests.test_flows.images import (
    VOXEL_SIZE,
    finish,
    make_image,
    make_label,
    maskmill,
    opened_run,
    refused,
    voxels_like,
    write_card,
)

ROOT = Path(__file__).parents[2]
VOXELS = voxels_like((3, 40, 36))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """An image with truth, a run over it, a bundle to plan with, and a folder of pictures."""
    folder = tmp_path_factory.mktemp("shelf")
    image = make_image(folder, VOXELS, voxel_size=VOXEL_SIZE)
    make_label(image, VOXELS % 3)
    write_card(folder / "bundle")
    run = opened_run(segment_job(image))
    finish(run)
    shutil.move(run.url, folder / "run")
    (folder / "images").mkdir()
    for name in "ab":
        (folder / "images" / f"{name}.png").write_bytes(b"")
    (folder / "log.csv").write_text("epoch,loss,val_loss\n1,0.8,0.7\n2,0.6,0.6\n")
    return folder


def segment_job(image):
    from flows.jobs import SegmentJob

    return SegmentJob(image=image, model="identity", name="cells", executor="serial")


@contextmanager
def edited(path, edit):
    """A file with one thing wrong in it, for as long as the block takes."""
    before, status = path.read_bytes(), path.stat()
    edit.apply(path)
    try:
        yield
    finally:
        path.write_bytes(before)
        # Times belong to the digest of an image.
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def named(rows):
    return [pytest.param(data, match, id=name) for name, (data, match) in rows.items()]


@pytest.mark.parametrize("edit", ome.EDITS, ids=str)
def test_metadata_of_an_image(shelf, edit):
    with edited(shelf / "stack.zarr" / "zarr.json", edit):
        refused(shelf, "info", shelf / "stack.zarr", match=edit.match)


@pytest.mark.parametrize("edit", ome.ARRAY_EDITS, ids=str)
def test_metadata_of_an_array(shelf, edit):
    arguments = ("segment", shelf / "stack.zarr", "--model", "identity", "--name", "new")
    with edited(shelf / "stack.zarr" / "0" / "zarr.json", edit):
        refused(shelf, *arguments, match=edit.match)


@pytest.mark.parametrize("edit", ome.LABELS_EDITS, ids=str)
def test_lists_of_labels(shelf, edit):
    arguments = ("export", shelf / "stack.zarr", shelf / "a.tif", "--labels", "truth")
    with edited(shelf / "stack.zarr" / "labels" / "zarr.json", edit):
        refused(shelf, "info", shelf / "stack.zarr", match=edit.match)
        refused(shelf, *arguments, match=edit.match)


@pytest.mark.parametrize("edit", ome.LABEL_EDITS, ids=str)
def test_metadata_of_a_label(shelf, edit):
    names = ("--labels", "truth", "--truth", "truth", "--executor", "serial")
    with edited(shelf / "stack.zarr" / "labels" / "truth" / "zarr.json", edit):
        refused(shelf, "info", shelf / "stack.zarr", match=edit.match)
        refused(shelf, "evaluate", shelf / "stack.zarr", *names, match=edit.match)


@pytest.mark.parametrize("edit", cards.EDITS, ids=str)
def test_cards(shelf, edit):
    arguments = ("segment", shelf / "stack.zarr", "--model", shelf / "bundle", "--name", "new")
    with edited(shelf / "bundle" / "card.json", edit):
        refused(shelf, *arguments, match=edit.match)


@pytest.mark.parametrize("edit", [*runs.EDITS, *runs.KIND_EDITS], ids=str)
@pytest.mark.parametrize("verb", ["report", "audit"])
def test_records_of_a_run(shelf, verb, edit):
    if verb == "audit" and edit in runs.KIND_EDITS:
        pytest.skip("an audit takes runs of every kind")
    with edited(shelf / "run" / "run.json", edit):
        refused(shelf, verb, shelf / "run", match=edit.match)


RECORD_EDITS = (
    *(("objects", 7), ("objects", [7]), ("objects", [{"key": 7}]), ("region", 7), ("attempt", 7)),
    ("objects", [{"key": "../../../owned", "size": 1, "checksum": "00"}]),
    *(("item", -1), ("item", 10**30), ("shares", 7), ("shares", [[1, "x"]]), ("statistics", 7)),
)


@pytest.mark.parametrize(("field", "value"), RECORD_EDITS, ids=str)
def test_records_whose_checksum_is_right(shelf, tmp_path, field, value):
    """Whoever writes them can do the sum as well: wrong all the same, and told in one message."""
    shutil.copytree(shelf / "run", tmp_path / "run")
    (path,) = (tmp_path / "run" / "records" / "infer").iterdir()
    header, line, *_ = path.read_bytes().split(b"\n")
    body = json.dumps(json.loads(line.partition(b" ")[2]) | {field: value}).encode()
    path.write_bytes(b"\n".join([header, line_checksum(body) + b" " + body, b""]))
    for verb, codes in (("report", {0, 2, 3}), ("audit", {0, 2, 4})):
        answer = maskmill(verb, tmp_path / "run")
        assert answer.code in codes, answer
        assert answer.err.count("maskmill: ") == (0 if answer.code in (0, 4) else 1)
        assert "Traceback" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"7"])
def test_a_run_that_is_no_json(shelf, tmp_path, content):
    shutil.copytree(shelf / "run", tmp_path / "run")
    (tmp_path / "run" / "run.json").write_bytes(content)
    message = "run.json is not JSON .*; restore it|is no JSON object; restore it"
    refused(tmp_path, "report", tmp_path / "run", match=message)


@pytest.fixture
def few_values(monkeypatch):
    """Count no further than it takes to see that it goes on."""
    monkeypatch.setattr(yaml_file, "MAX_VALUES", 10**5)


@pytest.mark.parametrize(("content", "match"), named(texts.CATALOGS))
def test_catalogs(shelf, few_values, content, match):
    path = shelf / "catalog.yaml"
    path.write_bytes(content)
    match = match.replace("5,000,000", "100,000")
    refused(shelf, "train", path, "--out", shelf / "new", "--executor", "serial", match=match)
    path.unlink()


@pytest.mark.parametrize(("content", "match"), named(texts.CONFIGS))
def test_configurations(shelf, few_values, content, match):
    path = shelf / "config.yaml"
    path.write_bytes(content)
    refused(shelf, "segment", "--config", path, match=match.replace("5,000,000", "100,000"))
    path.unlink()


@pytest.mark.parametrize(("content", "match"), named(texts.TABLES))
def test_tables_of_samples(shelf, content, match):
    (shelf / "truth.csv").write_bytes(content)
    (shelf / "samples.yaml").write_text("{samples: truth.csv, images: images}")
    refused(shelf, "train", shelf / "samples.yaml", "--out", shelf / "new", match=match)


@pytest.mark.parametrize(("content", "match"), named(texts.LOGS))
def test_logs(tmp_path, content, match):
    (tmp_path / "log.txt").write_bytes(content)
    refused(tmp_path, "audit", tmp_path / "log.txt", match=match)


@pytest.mark.parametrize("text", texts.THRESHOLDS)
def test_thresholds(shelf, text):
    refused(
        shelf,
        *("audit", shelf / "log.csv", "--thresholds", text),
        match=texts.THRESHOLDS[text],
    )


def test_there_are_many_of_them():
    edits = (ome.EDITS, ome.ARRAY_EDITS, ome.LABELS_EDITS, ome.LABEL_EDITS, cards.EDITS, runs.EDITS)
    documents = (texts.CATALOGS, texts.CONFIGS, texts.TABLES, texts.LOGS, texts.THRESHOLDS)
    assert sum(map(len, (*edits, *documents))) > 190


def test_the_documents_are_whole_without_the_edits(shelf):
    assert maskmill("info", shelf / "stack.zarr").code == 0
    assert maskmill("audit", shelf / "log.csv").code in (0, 4)
    assert read_run(Blobs(str(shelf / "run")))["directory"].startswith("cells-")
    assert load_card(shelf / "bundle").num_classes == 3
    assert maskmill("report", shelf / "run").code == 0


# --- messages


def test_a_terminal_finds_nothing_to_obey(shelf, tmp_path):
    """Neither in messages nor in results: names come from files of others."""
    shutil.copytree(shelf / "stack.zarr", tmp_path / "stack.zarr")
    path = tmp_path / "stack.zarr" / "labels" / "truth" / "zarr.json"
    document = json.loads(path.read_text())
    image_label = document["attributes"]["ome"]["image-label"]
    image_label["properties"][1]["class"] = "\x1b]0;owned\x07\x9b31m\ud800red"
    path.write_text(json.dumps(document))
    answer = maskmill("info", tmp_path / "stack.zarr")
    assert answer.code == 0
    assert "]0;owned" in answer.out
    assert "red" in answer.out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", answer.out)
    answer = maskmill("info", tmp_path / "\x1b[2J\x9b.zarr")
    assert answer.code == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", answer.err)


@pytest.mark.parametrize("path", ["a\0b.zarr", "\udcff.zarr", "x" * 5000])
def test_paths_that_no_file_system_has(tmp_path, path):
    refused(tmp_path, "info", tmp_path / path, match=".")


# --- fuzzing


@pytest.mark.parametrize("seed", [1])
def test_readers_raise_what_they_declare(tmp_path, seed):
    """A short run of `python -m benchmarks.fuzz`, on every reader."""
    tallies = fuzz(subjects(tmp_path), seed, seconds=60, cases=100)
    failures = {name: tally.failures for name, tally in tallies.items() if tally.failures}
    assert failures == {}
    assert all(tally.cases == 100 for tally in tallies.values())
    assert sum(tally.refused > 10 for tally in tallies.values()) >= 15


def test_the_fuzzer_sees_a_reader_that_fails():
    def read(document):
        return 1 / document["a"]

    broken = Subject("broken", lambda random: {"a": random.randrange(2)}, read, (KeyError,))
    tallies = fuzz([broken], 1, seconds=10, cases=100)
    (failure,) = tallies["broken"].failures.values()
    assert failure.place.startswith("ZeroDivisionError at ")
    assert "| broken | 100 | 0 |" in table(tallies)
    assert 10 < tallies["broken"].failed.total() < 90


def test_the_fuzzer_sees_a_reader_that_hangs(monkeypatch):
    monkeypatch.setattr("benchmarks.fuzz.subject.SECONDS", 0.2)

    def read(_document):
        while True:
            np.zeros(9)

    tallies = fuzz([Subject("slow", lambda _random: 0, read)], 1, seconds=10, cases=1)
    (failure,) = tallies["slow"].failures.values()
    assert failure.place.startswith("TooLongError")


# --- the code and what it stands on


def test_every_exception_from_the_security_rules_has_its_reason():
    """The S rules of ruff are those of bandit; `make lint` runs them."""
    settings = (ROOT / "pyproject.toml").read_text()
    assert '"S"]' in settings
    found = [
        f"{path}:{number}"
        for folder in ("flows", "segmentation", "storage", "benchmarks", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := re.search(r"#\s*noqa: S\d+(.*)", line)) and len(match[1].strip(" #")) < 8
    ]
    assert found == []


LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)


def locked():
    """Version of every package of the lock, by its name."""
    return dict(LOCKED.findall((ROOT / "requirements.lock").read_text()))


def test_the_lock_is_complete_and_hashed():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert len(entries) > 100
    assert all(re.match(LOCKED, entry) for entry in entries if entry.strip())
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())
    # Where packages come from is for the machine to say, not for a file that travels.
    assert not re.search(r"://|--index|--find-links|--trusted|@ ", text)
    assert {"keras", "ray", "prefect", "zarr", "obstore", "numpy"} <= locked().keys()


def known_bad():
    """Package, versions and reason of every line of the reviewed list."""
    lines = (ROOT / "docs" / "known-bad-versions.txt").read_text().splitlines()
    return [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]


def test_the_lock_holds_no_version_that_is_known_to_be_bad():
    from packaging.specifiers import SpecifierSet

    versions = locked()
    bad = [
        f"{name} {versions[name]}: {reason}"
        for name, range_, reason in known_bad()
        if versions.get(name) in SpecifierSet(range_, prereleases=True)
        if name in versions
    ]
    assert bad == []
    assert "2.0.0" in SpecifierSet({name: range_ for name, range_, _ in known_bad()}["keras"])


def test_the_audit_of_dependencies_is_one_command():
    shown = subprocess.run(
        ["make", "-n", "audit-dependencies"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip-audit" in shown.stdout
