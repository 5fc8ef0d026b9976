"""One prediction a sample: known by hand, the same bytes however it is computed."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.classification import prepare_classification
from flows.classify_run import run_classification
from flows.classify_work import ClassifyWork, images_at_once
from flows.errors import IncompleteRunError
from flows.jobs import ClassifyJob
from storage.convert import import_image
from storage.images import open_images
from tests.test_flows.samples import (
    CLASSES,
    expected_probability,
    read_csv,
    write_classifier,
    write_images,
    write_table,
)

GREYS = (10, 100, 120, 126, 130, 140, 150, 200, 250, 255, 0)
LABELS = tuple(int(grey > 135) for grey in GREYS)  # one of them, 130, is called bright but dark


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The classifier of brightness; its folder."""
    return str(write_classifier(tmp_path_factory.mktemp("models") / "brightness"))


@pytest.fixture
def folder(tmp_path):
    """Images of eleven greys, and a table of their classes."""
    names = write_images(tmp_path / "images", GREYS)
    write_table(tmp_path / "truth.csv", zip(names, LABELS, strict=True))
    return tmp_path


def classify(folder, bundle, out="out", executor=None, **fields):
    """The result of a job in this process, and the folder of what it wrote."""
    fields = {"images": str(folder / "images"), "executor": "serial"} | fields
    job = ClassifyJob(model=bundle, out=str(folder / out), **fields)
    return run_classification(job), folder / out


def written(out):
    """What has to be the same however it was computed."""
    names = ("predictions.csv", "result.json", "report.html")
    return {name: (out / name).read_bytes() for name in names}


def test_every_row_is_known_by_hand(folder, bundle):
    result, out = classify(folder, bundle, truth=str(folder / "truth.csv"))
    rows = read_csv(out / "predictions.csv")
    assert [row["id"] for row in rows] == [f"s{number}.png" for number in range(11)]
    for row, grey, label in zip(rows, GREYS, LABELS, strict=True):
        expected = expected_probability(grey)
        assert float(row["p_bright"]) == pytest.approx(expected, abs=1.5e-6)
        assert float(row["p_dark"]) == pytest.approx(1 - expected, abs=1.5e-6)
        assert row["prediction"] == CLASSES[expected > 0.5]
        assert row["label"] == CLASSES[label]
        assert row["correct"] == ("false" if grey == 130 else "true")
        assert row["group"] == row["id"]
    assert result["confusion"] == [[5, 1], [0, 5]]
    assert result["accuracy"]["value"] == 10 / 11
    assert (result["samples"], result["without_truth"]) == (11, 0)
    assert [error["id"] for error in result["errors"]] == ["s4.png"]
    assert result["resize"]["samples"] == 0
    assert [one["code"] for one in result["findings"]] == ["EVAL-SMALL-N"]


@pytest.mark.parametrize("batch_size", [1, 3, 11, 64])
def test_batch_size_changes_no_byte(folder, bundle, batch_size):
    truth = str(folder / "truth.csv")
    classify(folder, bundle, truth=truth)
    classify(folder, bundle, "other", truth=truth, batch_size=batch_size)
    assert written(folder / "out") == written(folder / "other")


@pytest.mark.slow
def test_ray_gives_the_same_bytes(folder, bundle, ray_executor, monkeypatch):
    truth = str(folder / "truth.csv")
    classify(folder, bundle, truth=truth)
    monkeypatch.setattr("flows.classify_run.make_executor", lambda job: ray_executor)
    monkeypatch.setattr(type(ray_executor), "close", lambda self: None)
    classify(folder, bundle, "other", truth=truth, batch_size=2, executor="ray", workers=2)
    assert written(folder / "out") == written(folder / "other")


def test_an_attempt_sorts_after_every_earlier_one(folder, bundle, monkeypatch):
    """Also where the clock went back."""
    attempts = []
    for year in (2040, 2030):
        monkeypatch.setattr("flows.classify_run.datetime", Clock(year))
        _, out = classify(folder, bundle)
        timings = json.loads((out / "timings.json").read_text())
        attempts.append(timings["attempt"][:16])
        assert timings["requests"] == {}
        (out / "result.json").unlink()
    assert attempts == ["20400101T000000-", "20400101T000001-"]


class Clock:
    """It always says the same."""

    def __init__(self, year):
        self.year = year

    def now(self, _zone):
        return datetime(self.year, 1, 1, tzinfo=UTC)


def weights_digest(model):
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def test_s4_8_twice_gives_the_same_bytes_and_leaves_the_network_alone(folder, bundle):
    truth = str(folder / "truth.csv")
    first, out = classify(folder, bundle, truth=truth)
    before = written(out)
    again, _ = classify(folder, bundle, truth=truth)
    assert again.pop("already_done")
    assert again == first
    # Not because it was there already: the same in a folder of its own.
    classify(folder, bundle, "anew", truth=truth)
    assert written(folder / "anew") == before == written(out)

    work = ClassifyWork(open_images(str(folder / "images")), bundle, 4)
    classifier = work.open()
    model = classifier.predictor._model
    untouched = weights_digest(model)
    rows = [classifier(item) for item in range(len(work))]
    assert weights_digest(model) == untouched
    assert [classifier(item) for item in range(len(work))] == rows


def noisy_classifier(folder):
    """A small convolutional classifier with BatchNorm and Dropout, and statistics far from 0, 1."""
    import keras

    keras.utils.set_random_seed(3)
    source = keras.Input((32, 32, 1))
    norm = keras.layers.BatchNormalization(name="norm")
    inner = keras.layers.ReLU()(norm(keras.layers.Conv2D(8, 3)(source)))
    inner = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.7)(inner))
    model = keras.Model(source, keras.layers.Dense(2, activation="softmax")(inner))
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([4 * gamma, beta, mean + 0.1, 0.2 * variance])
    return model, str(write_classifier(folder, model))


def test_s4_7_a_prediction_does_not_depend_on_its_batch(tmp_path):
    model, bundle = noisy_classifier(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(12):
        # Half of the images are much brighter: what BatchNorm sees depends on the company.
        noise = rng.integers(0, 80, (32, 32)) + 150 * (number % 2)
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "images" / f"{number}.png")
    names = [f"{number}.png" for number in range(12)]

    def levels(chosen, size):
        work = ClassifyWork(open_images(str(tmp_path / "images"), chosen), bundle, size)
        classifier = work.open()
        rows = [row for item in range(len(work)) for row in classifier(item)]
        return dict(zip(chosen, (row["levels"] for row in rows), strict=True))

    together = levels(names, 12)
    assert len({tuple(row) for row in together.values()}) == 12
    for other in (levels(names[::-1], 5), levels(names[::2], 8), levels(names, 1)):
        assert {name: together[name] for name in other} == other
    # One image at a time against all of them: equal but for rounding. In training mode not.
    work = ClassifyWork(open_images(str(tmp_path / "images")), bundle, 12)
    images = np.stack([work.open()._read(name)[1] for name in names])
    whole = np.asarray(model(images, training=False))
    alone = np.concatenate([np.asarray(model(image[None], training=False)) for image in images])
    assert np.abs(whole - alone).max() <= 1e-6
    expected = np.array([together[name] for name in names]) / 1e6
    assert np.abs(expected - whole).max() <= 1e-6


@pytest.mark.parametrize(("size", "at_once"), [((64, 64), 8), ((1024, 1024), 4), ((4096, 4096), 1)])
def test_what_is_computed_at_once_is_up_to_the_bundle(size, at_once, monkeypatch):
    class Card:
        image_size = size

    assert images_at_once(Card) == at_once


def test_an_unreadable_image_is_reported_and_the_others_are_done(folder, bundle):
    (folder / "images" / "s2.png").write_bytes(b"no image")
    with pytest.raises(IncompleteRunError, match=r"1 of 11 images.*s2\.png is not a PNG") as caught:
        classify(folder, bundle, truth=str(folder / "truth.csv"))
    result = json.loads((folder / "out" / "result.json").read_text())
    assert [one["id"] for one in result["unreadable"]] == ["s2.png"]
    assert result["samples"] == result["scored"] == 10
    assert caught.value.result["samples"] == 10
    assert caught.value.result["predictions"].endswith("predictions.csv")
    assert len(read_csv(folder / "out" / "predictions.csv")) == 10
    assert result["findings"][0]["code"] == "EVAL-MISSING-PREDICTION"
    # Still so, and told again, when nothing has to be computed.
    with pytest.raises(IncompleteRunError, match="1 of 11 images") as caught:
        classify(folder, bundle, truth=str(folder / "truth.csv"))
    assert caught.value.result["already_done"]
    # The image is replaced: the same command goes on.
    write_images(folder / "images", GREYS)
    result, _ = classify(folder, bundle, truth=str(folder / "truth.csv"))
    assert (result["samples"], result["unreadable"]) == (11, [])


def test_a_folder_of_nothing_readable(folder, bundle):
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(IncompleteRunError, match=r"11 of 11.*and 8 more"):
        classify(folder, bundle)
    assert json.loads((folder / "out" / "result.json").read_text())["samples"] == 0
    assert "Nothing was classified" in (folder / "out" / "report.html").read_text()


def test_images_of_another_size_and_in_colour(tmp_path, bundle):
    write_images(tmp_path / "images", [40, 220], size=(50, 31))
    colour = np.zeros((16, 16, 3), np.uint8) + np.uint8([200, 100, 50])
    Image.fromarray(colour).save(tmp_path / "images" / "t.png")
    result, out = classify(tmp_path, bundle)
    rows = read_csv(out / "predictions.csv")
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    for row, grey in zip(rows, (40, 220, luma), strict=True):
        assert float(row["p_bright"]) == pytest.approx(expected_probability(grey), abs=1e-5)
    assert result["resize"] == {
        "image_size": [16, 16],
        "rule": "antialiased linear",
        "samples": 2,
    }
    assert "label" not in rows[0]
    assert [entry["predicted"] for entry in result["classes"]] == [2, 1]
    assert "accuracy" not in result


def test_planes_of_a_stack(tmp_path, bundle):
    voxels = np.zeros((5, 16, 16), np.uint8) + np.arange(0, 250, 50, np.uint8)[:, None, None]
    np.save(tmp_path / "voxels.npy", voxels)
    import_image([str(tmp_path / "voxels.npy")], str(tmp_path / "ct.zarr"), axes="zyx")
    write_table(tmp_path / "truth.csv", [("0", "dark", "a"), ("4", "bright", "b")], TRUTH_COLUMNS)
    result, out = classify(
        tmp_path, bundle, images=str(tmp_path / "ct.zarr"), truth=str(tmp_path / "truth.csv")
    )
    rows = read_csv(out / "predictions.csv")
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[3]["p_bright"]) == pytest.approx(expected_probability(150), abs=1e-5)
    assert (result["scored"], result["without_truth"]) == (2, 3)
    assert [row["group"] for row in rows] == ["a", "1", "2", "3", "b"]
    assert [row["correct"] for row in rows] == ["true", "", "", "", "true"]


TRUTH_COLUMNS = ("image", "class", "group")


def test_a_table_names_images_groups_and_truth(folder, bundle):
    rows = [("images/s10.png", "dark", "p1"), ("images/s9.png", "bright", "p1")]
    table = write_table(folder / "some.csv", rows, TRUTH_COLUMNS)
    result, out = classify(folder, bundle, images=str(table))
    found = read_csv(out / "predictions.csv")
    assert [(row["id"], row["group"]) for row in found] == [(row[0], "p1") for row in rows]
    assert (result["scored"], result["groups"]) == (2, 1)
    assert result["accuracy"]["low"] is None
    # Another truth takes the place of the table's own; groups stay.
    other = write_table(folder / "other.csv", [("images/s10.png", "bright")], TRUTH_COLUMNS[:2])
    result, out = classify(folder, bundle, "other", images=str(table), truth=str(other))
    assert result["confusion"] == [[0, 0], [1, 0]]
    assert result["without_truth"] == 1


def test_parquet_holds_the_same_rows(folder, bundle):
    from pyarrow import parquet

    truth = str(folder / "truth.csv")
    classify(folder, bundle, truth=truth)
    _, out = classify(folder, bundle, "columns", truth=truth, format="parquet")
    rows = parquet.read_table(out / "predictions.parquet").to_pylist()
    for row, text in zip(rows, read_csv(folder / "out" / "predictions.csv"), strict=True):
        assert row["p_bright"] == float(text["p_bright"])
        assert str(row["correct"]).lower() == text["correct"]
        assert [row[k] for k in ("id", "label")] == [text[k] for k in ("id", "label")]
    before = (out / "predictions.parquet").read_bytes()
    _, anew = classify(folder, bundle, "anew", truth=truth, format="parquet")
    assert (anew / "predictions.parquet").read_bytes() == before


def test_tables_of_another_job_do_not_stay(folder, bundle):
    """A table in the folder always belongs to the result beside it."""
    classify(folder, bundle)
    write_images(folder / "images", [255])
    _, out = classify(folder, bundle, format="parquet")
    assert not (out / "predictions.csv").exists()
    result, _ = classify(folder, bundle)
    assert "already_done" not in result
    assert float(read_csv(out / "predictions.csv")[0]["p_bright"]) > 0.99
    assert (out / "predictions.parquet").exists()


def test_a_stopped_run_goes_on(folder, bundle, monkeypatch):
    """What was finished before the stop is not computed again."""
    from flows import classify_work

    original, calls = classify_work.Classifier.__call__, []

    def failing(self, item):
        calls.append(item)
        if item == 2 and len(calls) < 6:
            raise OSError("the disk is away")
        return original(self, item)

    monkeypatch.setattr(classify_work.Classifier, "__call__", failing)
    with pytest.raises(IncompleteRunError, match=r"1 shards failed.*the disk is away"):
        classify(folder, bundle, batch_size=4)
    assert calls == [0, 1, 2, 2, 2]
    assert not (folder / "out" / "result.json").exists()
    calls.extend([None])
    result, _ = classify(folder, bundle, batch_size=4)
    assert calls[6:] == [2]
    assert result["samples"] == 11


def test_the_default_folder_is_beside_the_images(folder, bundle):
    job = ClassifyJob(images=str(folder / "images"), model=bundle, executor="serial")
    prepared = prepare_classification(job, "")
    assert Path(prepared.url).parent == folder / "images.runs"
    assert Path(prepared.url).name == f"classify-brightness-{prepared.digest[:8]}"
    assert not (folder / "images.runs").exists()


def test_the_digest_is_of_what_can_change_a_row(folder, bundle):
    def digest(**fields):
        fields = {"images": str(folder / "images"), "model": bundle} | fields
        return prepare_classification(ClassifyJob(**fields), "").digest

    plain = digest()
    assert digest(batch_size=3, workers=5, executor="serial", format="parquet") == plain
    assert digest(truth=str(folder / "truth.csv")) != plain
    (folder / "images" / "s0.png").touch()
    assert digest() != plain


def test_the_report_shows_what_is_wrong(folder, bundle):
    write_images(folder / "images", GREYS)
    _, out = classify(folder, bundle, truth=str(folder / "truth.csv"))
    page = (out / "report.html").read_text()
    for words in (
        "Balanced accuracy",
        "ROC curve of bright",
        "Reliability diagram of bright",
        "What was taken for what",
        "s4.png: dark, called bright",
        "EVAL-SMALL-N",
        "data:image/webp;base64,",
        "Positive is bright",
    ):
        assert words in page
    assert "Not read" not in page


def test_names_are_escaped(tmp_path):
    nasty = "<b>&amp;"
    bundle = str(write_classifier(tmp_path / "bundle", classes=("dark", nasty)))
    names = write_images(tmp_path / "images", [0, 255])
    (tmp_path / "images" / names[1]).rename(tmp_path / "images" / "<i>.png")
    rows = [(names[0], nasty), ("<i>.png", "dark")]
    table = write_table(tmp_path / "truth.csv", rows, TRUTH_COLUMNS[:2])
    _, out = classify(tmp_path, bundle, truth=str(table))
    page = (out / "report.html").read_text()
    assert "<b>&amp;amp;" not in page
    assert "<i>.png" not in page
    assert "&lt;i&gt;.png" in page
