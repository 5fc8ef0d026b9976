"""From a table of images to a classifier's bundle: one network, folds, refusals, going on."""

import csv
import json
import threading

import numpy as np
import pytest
import yaml

from flows.classifier_run import (
    check_options,
    classifier_settings,
    plan_classifier,
    preset_of,
    trains_classifier,
)
from flows.errors import RequestError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.prepared_images import PreparedImages
from flows.train import _results
from flows.train_classifier import classifier_summary, train_networks
from segmentation.bundle import BundleError, bundle_digest, load_card, load_model
from segmentation.classification.images import prepare_image
from segmentation.classification.settings import ClassifierSettings
from storage.images import open_images
from tests.test_flows.runs import make_image
from tests.test_flows.sample_tables import picture, train_job, write_samples


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples"))


def trained(catalog, out, **fields):
    """The stages without Prefect: run and document."""
    run, stop = plan_classifier(train_job(catalog, out, **fields)), threading.Event()
    document = train_networks(
        run, lambda work, items: _results(run, work, items, SerialExecutor(), stop), stop
    )
    return run, document


@pytest.fixture(scope="module")
def folds(catalog, tmp_path_factory):
    return trained(catalog, tmp_path_factory.mktemp("folds") / "bundle", folds=3)


def test_one_network_leaves_a_bundle_and_its_records(catalog, tmp_path):
    run, document = trained(catalog, tmp_path / "b")
    card = load_card(tmp_path / "b")
    assert (card.task, card.image_size, card.channels) == ("classification", (16, 16), 1)
    assert [info.name for info in card.classes] == ["no", "yes"]
    assert document["digest"] == bundle_digest(tmp_path / "b")
    assert document["task"] == "classification"
    assert [epoch["steps"] for epoch in document["epochs"]] == [2, 4]
    assert document["test"]["scored"] == len(run.data.parts().test)
    assert document["recalibration"]["score"] == "cross_entropy"
    assert {path.name for path in run.records.iterdir()} == {
        *("run.json", "split.json", "epochs.json", "history.csv"),
        *("result.json", "predictions.csv", "report.html"),
    }
    assert run.result() == json.loads((run.records / "result.json").read_text())
    summary = classifier_summary(run, document)
    assert (summary["scored_on"], summary["bundle"]) == ("test", str(tmp_path / "b"))


def test_every_sample_is_predicted_by_the_network_that_has_not_seen_its_group(folds):
    run, document = folds
    with (run.records / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"{number:03}.png" for number in range(24)]
    assert document["out_of_fold"]["scored"] == 24
    for number, row in enumerate(rows):
        parts = run.data.parts(int(row["fold"]))
        assert number in parts.test
        assert float(row["p_no"]) + float(row["p_yes"]) == pytest.approx(1, abs=2e-6)
        assert (row["label"], row["group"]) == (("no", "yes")[number >= 12], f"g{number // 2}")
        assert row["correct"] == ("true" if row["prediction"] == row["label"] else "false")
    right = sum(row["correct"] == "true" for row in rows)
    assert document["out_of_fold"]["accuracy"]["value"] == pytest.approx(right / 24)


def test_the_bundle_of_folds_is_the_mean_of_their_networks(folds):
    run, _ = folds
    images = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
    members = [load_model(run.home(fold))(images).numpy() for fold in range(3)]
    whole = load_model(run.folder)(images).numpy()
    np.testing.assert_allclose(whole, np.mean(members, axis=0), atol=1e-6)
    assert load_card(run.folder).training["ensemble"] == [
        bundle_digest(run.home(fold)) for fold in range(3)
    ]


def test_a_finished_fold_is_not_trained_again(folds):
    run, document = folds
    model = run.home(1) / "model.keras"
    before = model.stat().st_mtime_ns
    (run.records / "result.json").unlink()
    (run.home(2) / "training" / "result.json").unlink()
    again, repeated = trained(run.job.catalog, run.folder, folds=3)
    assert model.stat().st_mtime_ns == before
    assert again.digest == run.digest
    assert repeated["out_of_fold"] == document["out_of_fold"]
    assert repeated["digest"] == document["digest"]


def test_another_training_in_the_folder_is_refused(folds):
    run, _ = folds
    with pytest.raises(RequestError, match="--batch-size 8 → 4"):
        plan_classifier(train_job(run.job.catalog, run.folder, folds=3, batch_size=4))


def test_the_probabilities_of_the_table_are_those_of_the_bundle(catalog, tmp_path):
    run, document = trained(catalog, tmp_path / "b")
    card, model = load_card(run.folder), load_model(run.folder)
    for row in document["test_predictions"][:3]:
        image = prepare_image(
            run.data.samples.images.read(row["id"]), 1, card.intensity, card.image_size
        )
        np.testing.assert_allclose(model(image[np.newaxis]).numpy()[0], row["p"], atol=1e-6)


def test_segment_refuses_a_classifier(folds, tmp_path):
    run, _ = folds
    image = make_image(tmp_path, np.zeros((16, 16), np.uint8), "yx")
    with pytest.raises(BundleError, match="maskmill classify"):
        prepare(SegmentJob(image=image, model=str(run.folder), name="mask"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop": (32, 32)}, "--crop is for networks that give a class to every voxel"),
        ({"axes": "zyx"}, "--axes is for networks"),
        ({"loss": "dice"}, "--loss is for networks"),
        ({"depth": 3}, "--depth is for networks"),
        ({"only_class": "yes"}, "--only-class is for networks"),
        ({"overfit_one": True}, "--overfit-one is for networks"),
        ({"preset": "unet4"}, "use classifier or classifier-source"),
        ({"monitor": "val_macro_foreground_dice"}, "TRAIN-MONITOR-MISSING"),
        ({"direction": "max"}, "TRAIN-MONITOR-DIRECTION"),
        ({"image_size": (4, 4)}, "of 8 or more"),
        ({"preset": "classifier-source"}, "of 22 or more"),
        ({"out": None}, "--out is missing"),
    ],
)
def test_what_makes_no_sense_for_a_classifier_is_refused(catalog, tmp_path, fields, message):
    job = train_job(catalog, **({"out": tmp_path / "b"} | fields))
    with pytest.raises(RequestError, match=message):
        plan_classifier(job)
    assert not (tmp_path / "b").exists()


def test_options_that_are_not_given_do_no_harm(catalog):
    check_options(train_job(catalog, "b"))
    check_options(train_job(catalog, "b", monitor="val_balanced_accuracy", direction="max"))


def test_what_is_not_given_is_as_it_is_best_for_classifiers(catalog):
    job = train_job(catalog, "b")
    plain = type(job)(catalog=str(catalog))
    assert classifier_settings(plain, "float32") == ClassifierSettings()
    assert preset_of(plain) == "classifier"
    given = type(job)(catalog=str(catalog), batch_size=4, preset="classifier-source")
    assert classifier_settings(given, "float32").batch_size == 4
    assert preset_of(given) == "classifier-source"


def test_the_catalog_says_what_is_trained(catalog, tmp_path):
    assert trains_classifier(train_job(catalog, "b"))
    volumes = tmp_path / "volumes.yaml"
    volumes.write_text(yaml.safe_dump({"volumes": [{"image": "a.zarr", "label": "truth"}]}))
    assert not trains_classifier(train_job(volumes, "b"))
    with pytest.raises(RequestError, match="is no catalog of samples"):
        trains_classifier(train_job(volumes, "b", preset="classifier"))


def test_a_step_that_does_not_fit_is_refused(catalog, tmp_path):
    from flows.train_classifier_work import ClassifierWork

    run = plan_classifier(train_job(catalog, tmp_path / "b", memory="1MiB"))
    with pytest.raises(RequestError, match="use a smaller --batch-size, --image-size or --width"):
        ClassifierWork(run, 1).open()
    assert not (tmp_path / "b").exists()


def test_images_are_prepared_once_as_far_as_memory_is_set_aside(catalog):
    source = open_images(str(catalog.parent / "images"))
    rule = {"rule": "percentiles", "low": 0.0, "high": 100.0}
    images = PreparedImages(source, 1, rule, (16, 16), _free=2 * 16 * 16 * 4)
    first = images(0)
    assert images(0) is first
    images(1)
    assert images(2) is not images(2)
    assert np.array_equal(images(2), images(2))
    voxels = picture(0, 0).astype(np.float64)
    expected = (voxels - voxels.min()) / (voxels.max() - voxels.min())
    np.testing.assert_allclose(first[..., 0], expected, atol=1e-6)
    part = images.part((5, 3), np.arange(24))
    assert part.labels.tolist() == [5, 3]
    assert np.array_equal(part.read(1), images(3))
