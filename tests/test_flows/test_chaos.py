"""The chaos command: its draws, its kills, and that it sees what differs."""

import json
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos import runs
from benchmarks.chaos.command import MARK, TIMEOUT, start
from benchmarks.chaos.draws import DRIVER, MIXED, PREFECT, VICTIMS, WORKING, Draw, draw
from benchmarks.chaos.evidence import differences, story
from benchmarks.chaos.runs import Bench, Usual, disturbed, undisturbed
from benchmarks.chaos.specimen import Place
from benchmarks.chaos.table import markdown
from storage.blobs import Blobs
from storage.record_writer import RecordWriter
from tests.test_flows.works import wait_for

# Does what the command does: records, writes the mask, then the scores; goes on where it was.
STANDIN = """\
import json, pathlib, sys, time
image = pathlib.Path(sys.argv[2])
run = pathlib.Path(str(image) + ".runs", "cells-00000000")
again = run.is_dir()
(run / "records" / "infer").mkdir(parents=True, exist_ok=True)
(run / "run.json").write_text("{}")
header = json.dumps({"attempt": str(again)})
(run / "records" / "infer" / f"{again}.jsonl").write_text(header + '\\n0123 {"item": 0}\\n')
time.sleep(0 if again else SECONDS)
(image / "labels").mkdir(exist_ok=True)
(image / "labels" / "zarr.json").write_text("again" if again and TORN else "whole")
(run / "result.json").write_text("{}")
"""


def test_draws_are_seeded_and_fair():
    drawn = [draw(3, number, MIXED) for number in range(36)]
    assert drawn == [draw(3, number, MIXED) for number in range(36)]
    assert drawn != [draw(4, number, MIXED) for number in range(36)]
    assert [one.executor for one in drawn[:6]] == ["ray", "serial", "serial"] * 2
    # 12 runs through Ray are three decks of four, 24 others twelve decks of two.
    assert Counter((one.executor, one.victim) for one in drawn) == {
        **{("ray", victim): 3 for victim in VICTIMS["ray"]},
        **{("serial", victim): 12 for victim in VICTIMS["serial"]},
    }
    assert all(0 <= one.fraction < 1 for one in drawn)
    assert len({one.phase for one in drawn}) == 2


def test_differences_are_of_every_kind():
    expected = {"a": "1", "b": "2", "c": "3"}
    assert differences(dict(expected), expected) == []
    assert differences({"a": "1", "b": "9", "d": "4"}, expected) == ["b", "c", "d"]


FAMILY = """\
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "flows.prefect_server"])
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.02)
"""


def family(tmp_path):
    """A command with a child that would outlive it; it ends when there is a file ``end``."""
    arguments = [sys.executable, "-c", FAMILY, str(tmp_path / "end")]
    command = start(arguments, tmp_path / "said.txt", {MARK: str(tmp_path)}, threading.Event())
    assert command.wait_until(lambda: bool(command.victims(PREFECT)), 60)
    return command


def test_a_victim_is_found_and_killed(tmp_path):
    command = family(tmp_path)
    assert command.kill(PREFECT, 0.5)
    assert command.wait_until(lambda: not command.victims(PREFECT), 60)
    assert not command.kill(PREFECT, 0.5)
    assert command.kill(DRIVER, 0.5)
    assert command.wait(60) == -9
    assert command.end() == 0


def test_what_a_command_leaves_behind_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.chaos.command.GONE_SECONDS", 0.2)
    command = family(tmp_path)
    (tmp_path / "end").touch()
    assert command.wait(60) == 0
    assert len(command.strays()) == 1
    assert command.end() == 1
    assert wait_for(lambda: not command.strays())


def test_a_command_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.chaos.command.GONE_SECONDS", 0.2)
    command = family(tmp_path)
    assert command.wait(0.1) == TIMEOUT
    assert command.process.returncode == -9


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench whose command is a stand-in; what it has to do."""

    def made(*, seconds, torn):
        program = STANDIN.replace("SECONDS", str(seconds)).replace("TORN", str(torn))
        standin = tmp_path / "standin"
        standin.write_text(f"#!{sys.executable}\n{program}")
        standin.chmod(0o755)
        monkeypatch.setattr(runs, "MASKMILL", standin)
        source = tmp_path / "source.zarr"
        source.mkdir(exist_ok=True)
        (source / "zarr.json").write_text("{}")
        for name in (runs.LOGS, runs.HOMES):
            (tmp_path / name).mkdir(exist_ok=True)
        return Bench(tmp_path, Place(str(tmp_path / "copies"), source), "identity", tmp_path)

    return made


@pytest.mark.parametrize(
    ("codes", "differing", "code"),
    [([-9, 0], [], 0), ([-9, TIMEOUT, 0], [], 1), ([-9, 0], ["result.json"], 1)],
)
def test_a_run_that_hung_or_differs_fails(tmp_path, monkeypatch, codes, differing, code):
    monkeypatch.setattr(sys, "argv", ["chaos", "--runs", "1", "--out", str(tmp_path)])
    asked = {"seed": 1, "store": "local", "executor": MIXED, "model": "identity"}
    reference = {"asked": asked, "usual": {}, "objects": {}}
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    line = {"number": 0, "codes": codes, "differing": differing, "seconds": 9.0}
    line |= {"executor": "ray", "victim": DRIVER, "hit": True, "second": 1.0, "recorded": 0}
    line |= {"partials": 0, "strays": 0, "records": {"attempts": 2, "twice": 0}}
    (tmp_path / "runs.jsonl").write_text(json.dumps(line))
    assert chaos.main() == code


@pytest.mark.parametrize("torn", [False, True])
def test_a_run_is_compared_with_the_undisturbed_one(bench, tmp_path, torn):
    (tmp_path / runs.HOMES / runs.FRESH_HOME).mkdir(parents=True)
    expected, _ = undisturbed(bench(seconds=0, torn=torn), "serial")
    assert sorted(expected) == ["labels/zarr.json", "result.json"]
    line = disturbed(
        bench(seconds=60, torn=torn),
        Draw(7, "serial", DRIVER, WORKING, 0.5),
        Usual(0.1, 0.4),
        expected,
    )
    assert line["hit"]
    assert line["codes"] == [-9, 0]
    assert line["recorded"] == 1
    assert line["records"]["attempts"] == 2
    assert line["records"]["twice"] == 1
    assert line["differing"] == (["labels/zarr.json"] if torn else [])
    # What differs is kept to be looked at.
    assert Path(bench(seconds=0, torn=torn).place.image("run-0007")).exists() == torn


def test_the_story_is_told_by_the_records(tmp_path):
    run = Blobs(str(tmp_path / "image.zarr.runs" / "cells-00000000"))
    run.write("run.json", b"{}")
    for attempt, items in (("a", (0, 1)), ("b", (1, 2))):
        with RecordWriter(run, "job", "infer", 3, attempt) as writer:
            for item in items:
                writer.append(item, {})
    run.write("records/infer/c.jsonl", json.dumps({"attempt": "c"}).encode() + b'\n01 {"ite')
    run.write("failures/00000002-a.json", b"{}")
    run.write("published.json", json.dumps({"replaced": ["cells-11111111"]}).encode())
    assert story(str(tmp_path / "image.zarr")) == {
        "attempts": 3,
        "items": 3,
        "twice": 1,
        "torn": 1,
        "failures": 1,
        "published": True,
        "replaced": ["cells-11111111"],
    }


def test_the_tables_name_what_differs():
    line = {
        **{"number": 4, "executor": "ray", "victim": "raylet", "phase": WORKING, "fraction": 0.5},
        **{"hit": True, "second": 12.34, "recorded": 5, "codes": [1, 0], "strays": 0},
        **{"partials": 1, "records": {"attempts": 2, "twice": 3}, "seconds": 30.0},
        "differing": ["labels/zarr.json"],
    }
    whole = line | {"number": 3, "differing": [], "hit": False}
    summary, rows = markdown([line, whole]).split("\n\n")
    assert summary.splitlines()[2:] == ["| ray | raylet | 2 | 1 | 1 | 2 to 2 | 6 | 30 | 1 of 2 |"]
    assert rows.splitlines()[2:] == [
        "| 3 | ray | raylet (too late) | 12.3 | 5 | 1, 0 | 2 | 3 | 1 | 0 | yes |",
        "| 4 | ray | raylet | 12.3 | 5 | 1, 0 | 2 | 3 | 1 | 0 | NO: labels/zarr.json |",
    ]
