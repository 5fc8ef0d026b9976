"""From a catalog to a bundle to a mask: one network, folds, fine-tuning, kills and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
import yaml

from flows.errors import IncompleteRunError, RequestError, VerificationError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob, TrainJob
from flows.prepare import prepare
from flows.train import overfit, report, summarised, train
from flows.training_run import plan_training
from segmentation.bundle import bundle_digest, load_card, load_model
from storage.volume import open_label
from tests.test_flows.images import (
    CLASSES,
    COMMAND,
    VOXEL_SIZE,
    make_image,
    make_label,
    maskmill_process,
    segment,
)

SETTINGS = {
    **{"width": 4, "depth": 2, "crop": (64, 64), "batch_size": 4, "steps": 20},
    **{"steps_per_epoch": 10, "class_weights": "sqrt", "augment": "flips", "executor": "serial"},
    # Bytes are compared: the arithmetic must be the same on every machine.
    "precision": "float32",
}
BUNDLE_FILES = ("model.keras", "card.json")


def write_stack(folder, name, seed):
    """Bright and dark squares in noise, easy to tell apart."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.repeat(rng.integers(0, 3, (6, 6, 6)), 16, 1), 16, 2).astype("uint8")
    voxels = (40 + 80 * truth + rng.normal(0, 12, truth.shape)).clip(0, 255).astype("uint8")
    make_label(make_image(folder, voxels, voxel_size=VOXEL_SIZE), truth)
    (folder / "stack.zarr").rename(folder.parent / name)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """One stack with fixed parts, and a catalog of four specimens to split."""
    folder = tmp_path_factory.mktemp("shelf")
    for number in range(4):
        write_stack(folder / "draft", f"s{number}.zarr", seed=5 + number)
    parts = (("z=0:3", "train"), ("z=3:5", "validation"), ("z=5:6", "test"))
    volume = {"image": "s0.zarr", "label": "truth", "group": "a"}
    fixed = [volume | {"region": region, "split": part} for region, part in parts]
    free = [{"image": f"s{n}.zarr", "label": "truth", "group": f"fly{n}"} for n in range(4)]
    for name, volumes in (("catalog", fixed), ("flies", free)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"volumes": volumes}))
    return folder


def job(shelf, out, catalog="catalog", **fields):
    return TrainJob(
        catalog=str(shelf / f"{catalog}.yaml"), out=out and str(out), **(SETTINGS | fields)
    )


def planned(shelf, out, **fields):
    return plan_training(job(shelf, out, **fields))


def trained(shelf, out, **fields):
    """The stages without Prefect: run and document."""
    run = planned(shelf, out, **fields)
    document = train(run, SerialExecutor(), threading.Event())
    report(run, document)
    return run, document


def files(folder):
    return {name: (folder / name).read_bytes() for name in BUNDLE_FILES}


@pytest.fixture(scope="module")
def one(shelf, tmp_path_factory):
    return trained(shelf, tmp_path_factory.mktemp("one") / "bundle")


@pytest.mark.slow
def test_a_training_leaves_bundle_records_and_report(one):
    run, document = one
    card = load_card(run.folder)
    assert [c.name for c in card.classes] == list(CLASSES)
    assert (card.voxel_size, card.unit) == (VOXEL_SIZE[1:], "micrometer")
    assert (card.exact, card.stride) == (True, (4, 4))
    assert card.training["split"] == run.data.split
    assert document["digest"] == bundle_digest(run.folder)
    names = {path.name for path in run.records.iterdir()}
    assert names >= {"run.json", "split.json", "epochs.json", "history.csv", "result.json"}
    assert names >= {"samples.npz", "slices.npz", "predictions-0001.npz", "report.html"}
    assert not {"checkpoint.npz", "stop"} & names
    assert [e["steps"] for e in document["epochs"]] == [10, 20]
    assert document["test"]["voxels"] == 96 * 96
    assert "The test part was scored once, after that choice." in document["tuned_on"]
    shares = document["sampling"]
    assert sum(shares["voxel_share"]) == pytest.approx(1)
    assert sum(shares["crop_share"]) == pytest.approx(1)
    assert (
        str(document["test"]["macro_foreground_dice"])[:4]
        in (run.records / "report.html").read_text()
    )


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(shelf, one, tmp_path):
    run, _ = one
    again, _ = trained(shelf, tmp_path / "bundle")
    other, _ = trained(shelf, tmp_path / "other", seed=4)
    assert files(again.folder) == files(run.folder)
    assert files(other.folder) != files(run.folder)
    splits = [(r.records / "split.json").read_bytes() for r in (run, again)]
    assert splits[0] == splits[1]


@pytest.mark.slow
def test_what_is_done_is_not_done_again(shelf, one, monkeypatch):
    run, document = one
    known = planned(shelf, run.folder)
    assert known.digest == run.digest
    assert known.result() == document
    monkeypatch.setattr("flows.train_session.Session.begin", None)
    assert train(known, SerialExecutor(), threading.Event()) == document


@pytest.mark.slow
def test_other_settings_do_not_go_on_with_it(shelf, one):
    run, _ = one
    before = files(run.folder)
    with pytest.raises(RequestError, match=r"another training \(--steps 20 → 30\); repeat its"):
        planned(shelf, run.folder, steps=30)
    assert planned(shelf, run.folder, workers=2, memory=2**33).digest == run.digest
    assert files(run.folder) == before


@pytest.mark.slow
def test_a_stop_leaves_a_training_to_go_on_with(shelf, tmp_path, capsys):
    stop = threading.Event()
    target = planned(shelf, tmp_path / "bundle", steps=60, steps_per_epoch=10)

    class StopsSoon(SerialExecutor):
        def map(self, work, items, event):
            timer = threading.Thread(target=self.wait, daemon=True)
            timer.start()
            yield from super().map(work, items, event)

        def wait(self):
            while not (target.records / "checkpoint.npz").is_file():
                time.sleep(0.05)
            stop.set()

    with pytest.raises(IncompleteRunError, match="was stopped; run the same command to go on"):
        train(target, StopsSoon(), stop)
    assert not (target.folder / "card.json").exists()
    _, document = trained(shelf, tmp_path / "bundle", steps=60)
    assert [e["epoch"] for e in document["epochs"]] == [1, 2, 3, 4, 5, 6]
    told = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [f"epoch {n}" for n in range(1, 7)]


@pytest.mark.slow
def test_folds_test_every_group_once_and_make_an_ensemble(shelf, tmp_path):
    run, document = trained(shelf, tmp_path / "bundle", catalog="flies", folds=4)
    assert list(run.folds) == [0, 1, 2, 3]
    assert {g["group"] for g in document["out_of_fold"]["groups"]} == {f"fly{n}" for n in range(4)}
    assert document["out_of_fold"]["voxels"] == 4 * 6 * 96 * 96
    assert len(document["spread"]["per_fold"]) == 4
    interval = document["out_of_fold"]["intervals"]
    assert interval["unit"] == "specimen"
    members = [load_model(run.home(fold)) for fold in run.folds]
    images = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    expected = np.mean([np.asarray(m(images)) for m in members], axis=0)
    np.testing.assert_allclose(load_model(run.folder)(images), expected, atol=1e-6)
    assert (run.records / "report.html").is_file()
    assert summarised(run, document)["scored_on"] == "out-of-fold"
    found = prepare(SegmentJob(image=str(shelf / "s0.zarr"), model=str(run.folder), name="a"))
    assert found.model.card.exact


@pytest.mark.slow
def test_one_class_alone(shelf, tmp_path):
    run, document = trained(
        shelf, tmp_path / "bundle", only_class=CLASSES[2], preset="unet-one-class"
    )
    assert [c["name"] for c in document["classes"]] == ["background", CLASSES[2]]
    assert load_card(run.folder).head == "sigmoid"
    assert document["test"]["voxels"] == 96 * 96


@pytest.mark.slow
def test_fine_tuning_keeps_what_is_frozen(shelf, one, tmp_path):
    run, _ = one
    tuned, document = trained(
        shelf,
        tmp_path / "bundle",
        pretrained=str(run.folder),
        freeze_until="down0b_norm",
        only_class=CLASSES[1],
    )
    before, after = load_model(run.folder), load_model(tuned.folder)
    for name in ("down0a", "down0b_norm"):
        for old, new in zip(
            before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(old, new)
    assert not np.array_equal(
        before.get_layer("bottoma").get_weights()[0], after.get_layer("bottoma").get_weights()[0]
    )
    assert document["network"]["frozen"] == ["down0a", "down0a_norm", "down0b", "down0b_norm"]
    assert document["network"]["pretrained"] == bundle_digest(run.folder)
    assert document["recalibration"] is None


@pytest.mark.slow
def test_other_statistics_become_a_bundle_where_they_help(shelf, tmp_path, monkeypatch):
    """A network of two steps, whose moving statistics have hardly begun to move."""
    run, document = trained(shelf, tmp_path / "a", steps=12, steps_per_epoch=12, learning_rate=0.01)
    found = document["recalibration"]
    assert found["helped"] == (found["after"] - found["before"] > 0.005)
    assert (run.folder / "recalibrated").exists() == found["helped"]
    monkeypatch.setattr("flows.train_recalibration.HELPS", -1.0)
    again, document = trained(
        shelf, tmp_path / "b", steps=12, steps_per_epoch=12, learning_rate=0.01
    )
    card = load_card(again.folder / "recalibrated")
    assert card.training["recalibration"]["recalibrated_from"] == document["digest"]
    assert bundle_digest(again.folder / "recalibrated") != document["digest"]
    assert files(again.folder) == files(run.folder)


@pytest.mark.slow
def test_one_sample_is_learned_by_heart(shelf, tmp_path):
    run = planned(shelf, None, overfit_one=True, width=8, learning_rate=0.01)
    found = overfit(run, SerialExecutor(), threading.Event())
    assert found["macro_foreground_dice"] > 0.99
    assert found["passed"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"freeze_until": "down0a"}, "--freeze-until needs --pretrained"),
        ({"monitor": "Accuracy"}, "TRAIN-MONITOR-ON-TRAIN: monitor 'Accuracy'"),
        ({"monitor": "val_iou_coef"}, "TRAIN-MONITOR-MISSING: no epoch logs 'val_iou_coef'"),
        ({"direction": "min"}, "TRAIN-MONITOR-DIRECTION: direction 'min'"),
        ({"loss": "dice_loss"}, "loss is 'dice_loss'; expected one of cross-entropy"),
        ({"preset": "unet-binary"}, "preset unet-binary tells one class from the background"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_a_network(shelf, tmp_path, fields, message):
    with pytest.raises(RequestError, match=message):
        planned(shelf, tmp_path / "bundle", **fields)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 4000, "memory": 2**31}, r"one training has 2048 MiB; use --batch-size \d+"),
        ({"batch_size": 4, "memory": 2**20}, "use a smaller --crop or --width, or give more"),
        ({"crop": (2, 2)}, "hold no whole network stride"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(shelf, tmp_path, fields, message):
    run = planned(shelf, tmp_path / "bundle", **fields)
    with pytest.raises(RequestError, match=message):
        train(run, SerialExecutor(), threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_overwritten(shelf, tmp_path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(RequestError, match="is a bundle already"):
        planned(shelf, tmp_path)
    with pytest.raises(RequestError, match="--out is missing; give the bundle to make"):
        planned(shelf, None)


def test_a_sample_that_is_not_learned_is_an_error():
    from flows.train import checked

    found = {"passed": False, "steps": 200, "macro_foreground_dice": 0.5, "expected": 0.99}
    with pytest.raises(VerificationError, match=r"in 200 steps: macro-foreground Dice 0\.5"):
        checked(found)


@pytest.mark.slow
def test_the_train_command_and_a_mask(shelf, tmp_path):
    """Through Prefect's own server and Ray, in a process of its own."""
    options = [
        *("--width", 4, "--depth", 2, "--crop", "64,64", "--batch-size", 4, "--augment", "flips"),
        *("--class-weights", "sqrt", "--steps", 120, "--steps-per-epoch", 40, "--json"),
    ]
    out = tmp_path / "bundle"
    answer = maskmill_process("train", shelf / "catalog.yaml", "--out", out, *options)
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    result = answer.document
    assert result["bundle"] == str(out)
    assert result["digest"] == bundle_digest(out)
    assert set(result["dice"]) == set(CLASSES)
    assert result["scored_on"] == "test"
    lines = answer.err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"epoch {n}: step {40 * n} of 120" for n in (1, 2, 3)
    ]
    run, mask = segment(str(shelf / "s0.zarr"), out, name="cells", truth="truth")
    assert mask["macro_foreground_dice"] > 0.9
    unseen = open_label(run.job.image, "cells").volumes[0][5:6]
    truth = open_label(run.job.image, "truth").volumes[0][5:6]
    assert (unseen == truth).mean() > 0.9


@pytest.mark.slow
def test_killed_and_started_again_the_weights_are_the_same(shelf, one, tmp_path):
    """Killed with the whole group after its first epoch, at whatever step it is."""
    run, _ = one
    out = tmp_path / "bundle"
    command = [
        *(COMMAND, "train", str(shelf / "catalog.yaml")),
        *("--out", str(out), "--width", "4", "--depth", "2", "--crop", "64,64"),
        *("--batch-size", "4", "--steps", "20", "--steps-per-epoch", "10"),
        *("--class-weights", "sqrt", "--augment", "flips", "--precision", "float32"),
    ]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not (out / "training" / "checkpoint.npz").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not (out / "card.json").exists()
    again = maskmill_process(*command[1:])
    assert again.code == 0, again.err
    card, expected = (load_card(folder).to_dict() for folder in (out, run.folder))
    assert files(out)["model.keras"] == files(run.folder)["model.keras"]
    assert json.dumps(card) == json.dumps(expected)
