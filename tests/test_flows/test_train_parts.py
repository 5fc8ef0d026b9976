"""Parts of a training that need no network: workers, folders, what is told, what is added up."""

import json
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from flows.errors import RequestError
from flows.jobs import TrainJob
from flows.new_bundle import new_bundle
from flows.pool import make_training_executor, training_threads, training_workers
from flows.sizing import training_memory
from flows.train_network import DEFAULT_CROP, intensity_rule
from flows.train_result import folds_document, headline, tuned_on
from flows.training_run import EPOCHS, STOP, forget_stop, write_whole
from flows.training_watch import watched
from storage.ome_labels import LabelClass

CLASSES = (LabelClass(0, "cell", (0, 0, 0, 0)), LabelClass(1, "membrane", (255, 0, 0, 255)))


def job(**fields):
    return TrainJob(**({"catalog": "c.yaml", "out": "bundle"} | fields))


@pytest.mark.parametrize(
    ("fields", "workers"),
    [({}, 1), ({"folds": 5}, 4), ({"folds": 3}, 3), ({"folds": 5, "workers": 2}, 2)],
)
def test_folds_are_trained_at_once(monkeypatch, fields, workers):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert training_workers(job(**fields)) == workers
    assert training_threads(job(**fields)) == max(1, 4 // workers)
    executor = make_training_executor(job(**fields, gpus_per_worker=0.5))
    assert (executor.workers, executor.in_flight) == (workers, 1)
    assert executor.gpus_per_worker == 0.5
    assert training_workers(job(**fields, executor="serial")) == 1


def test_memory_is_what_was_given_or_a_part_of_the_machine():
    assert training_memory(2**30, 3) == 2**30
    assert training_memory(None, 2) == training_memory(None, 1) // 2


def test_intensities_are_those_of_the_job_or_of_the_bundle():
    wanted = job(intensity_percentiles=(2, 98))
    assert intensity_rule(wanted, None) == {"rule": "percentiles", "low": 2.0, "high": 98.0}
    assert set(DEFAULT_CROP) == {"yx", "zyx"}


def test_a_folder_may_hold_what_an_attempt_left(tmp_path):
    (tmp_path / "training").mkdir()
    assert new_bundle(str(tmp_path), ("training",)) == tmp_path
    with pytest.raises(RequestError, match=r"holds other files \(training\)"):
        new_bundle(str(tmp_path))


@dataclass
class Run:
    """As much of a training as is watched."""

    folder: Path
    job: object
    folds: range = field(default_factory=lambda: range(2))

    def records_of(self, fold):
        return self.folder / f"fold-{fold}"


def row(value):
    return {"macro_foreground_dice": value, "dice": [0.9, value], "cross_entropy": 0.5}


def epoch(number, value=0.5, best=True):
    curves = {"train_running": row(0.1), "train_eval": row(None), "val": row(value)}
    return {
        **{"epoch": number, "steps": 10 * number, "planned_steps": 40, "loss": 0.25, "best": best},
        "curves": curves | {"val_batchstats": None},
    }


@pytest.fixture
def run(tmp_path):
    found = Run(tmp_path, job(folds=3))
    for fold in found.folds:
        found.records_of(fold).mkdir()
    return found


def test_every_new_epoch_is_told_once(run, capsys):
    write_whole(run.records_of(0) / EPOCHS, json.dumps([epoch(1)]))
    told = []
    with watched(run, threading.Event(), told.append):
        write_whole(run.records_of(0) / EPOCHS, json.dumps([epoch(1), epoch(2, 0.75)]))
        write_whole(run.records_of(1) / EPOCHS, json.dumps([epoch(1, 0.25, best=False)]))
    assert capsys.readouterr().err.splitlines() == [
        "fold 0, epoch 2: step 20 of 40, loss 0.250; macro-foreground Dice train_running 0.100, "
        "train_eval undefined, val 0.750 (best)",
        "fold 1, epoch 1: step 10 of 40, loss 0.250; macro-foreground Dice train_running 0.100, "
        "train_eval undefined, val 0.250",
    ]
    assert told[-1] == pytest.approx(100 * (0.5 + 0.25) / 2)


def test_the_listener_knows_the_settings_of_the_flow(run):
    """Prefect keeps its server in a context variable; without it, it would start another one."""
    server = ContextVar("server", default="none")
    server.set("ours")
    told = []
    with watched(run, threading.Event(), lambda _: told.append(server.get())):
        write_whole(run.records_of(0) / EPOCHS, json.dumps([epoch(1)]))
        deadline = time.monotonic() + 20
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert set(told) == {"ours"}


def test_the_wish_to_stop_is_handed_on_and_forgotten(run):
    stop = threading.Event()
    with watched(run, stop):
        stop.set()
        deadline = time.monotonic() + 20
        while not (run.records_of(1) / STOP).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert (run.records_of(0) / STOP).exists()
    forget_stop(run)
    assert not (run.records_of(0) / STOP).exists()


@dataclass
class Data:
    """As much of the data as documents need."""

    classes: tuple = CLASSES
    split: dict = field(default_factory=lambda: {"digest": "abc"})
    findings: list = field(default_factory=list)


def fold(group, hits, misses):
    """A fold that tested one group: membrane found or missed, no false alarm."""
    counts = [100, 0, misses, hits, 0, 0]
    dice = 2 * hits / (2 * hits + misses)
    return {
        "settings": {"steps": 5},
        "test": {"macro_foreground_dice": dice},
        "test_items": [{"name": group, "group": group, "counts": counts}],
        "findings": [],
    }


def test_folds_add_up_to_every_group_once():
    folds = [fold("a", 10, 0), fold("b", 5, 5), fold("c", 5, 5)]
    document = folds_document(Data(), folds, "bundle", "0123")
    pooled = document["out_of_fold"]
    assert pooled["macro_foreground_dice"] == pytest.approx(2 * 20 / (2 * 20 + 10))
    assert [g["group"] for g in pooled["groups"]] == ["a", "b", "c"]
    scores = [1.0, 2 / 3, 2 / 3]
    assert document["spread"]["per_fold"] == pytest.approx(scores)
    assert document["spread"]["mean"] == pytest.approx(np.mean(scores))
    assert document["spread"]["sd"] == pytest.approx(np.std(scores, ddof=1))
    found = headline(document)
    assert (found["scored_on"], set(found["dice"])) == ("out-of-fold", {"cell", "membrane"})


def test_what_single_folds_found_is_said_once_and_where():
    def found(code, severity="warning"):
        return {"code": code, "severity": severity, "statement": code.lower()}

    shared, folds = [found("SPLIT-LINKED", "info")], [fold(g, 10, 1) for g in "abc"]
    folds[1]["findings"] = [*shared, found("MODEL-BN-GAP", "error"), found("EVAL-SMALL-N")]
    folds[2]["findings"] = [*shared, found("MODEL-BN-GAP", "error")]
    document = folds_document(Data(findings=shared), folds, "bundle", "0123")
    first = document["findings"][0]
    assert first["code"] == "MODEL-BN-GAP"
    assert first["statement"] == "Fold 1 (2 folds are alike): model-bn-gap"
    assert document["findings"].count(shared[0]) == 1
    codes = [one["code"] for one in document["findings"]]
    assert len(codes) == len(set(codes))


def test_the_headline_is_of_the_part_least_looked_at():
    scores = {"macro_foreground_dice": 0.5, "classes": [{"name": "cell", "dice": 0.5}]}
    assert headline({"validation": scores, "test": scores})["scored_on"] == "test"
    assert headline({"validation": scores, "test": None})["scored_on"] == "validation"
    with pytest.raises(ValueError, match="has no scores"):
        headline({"test": None})


@pytest.mark.parametrize(
    ("test", "sentence"),
    [(None, "There is no test part"), ({}, "The test part was scored once, after that choice")],
)
def test_what_was_tuned_on_what_is_said(test, sentence):
    document = {
        **{"monitor": {"name": "val_dice_membrane", "direction": "max"}, "epochs": [1, 2, 3]},
        **{"best_epoch": 2, "test": test},
    }
    text = tuned_on(document)
    assert "Epoch 2 of 3 was chosen by val_dice_membrane (max) on the validation part" in text
    assert sentence in text
