"""Audit of a bundle: its card, its graph, an image, and a bundle with other statistics."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flows.audit_bundle import bundle_findings, train_images, training_steps
from flows.audit_images import MOST_CROPS, crop_regions
from flows.audit_sample_images import spread
from flows.errors import RequestError
from flows.jobs import AuditJob
from segmentation.audit.thresholds import Thresholds
from segmentation.bundle import bundle_digest, load_card, load_model, save_bundle
from segmentation.networks.runtime import import_keras
from segmentation.region import Region
from tests.test_flows.images import (
    make_card,
    make_image,
    make_label,
    unchanged,
    write_thresholds,
)
from tests.test_flows.samples import brightness_model, write_classifier, write_images

# Thirds of every section: background, membrane, synapse, by their intensities of 0 to 200.
LABELS = np.broadcast_to((np.arange(48) // 16).astype(np.uint8), (3, 32, 48))
LEVELS = np.array([20, 100, 180])


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack of three sections, with truth."""
    noise = np.random.default_rng(0).normal(0, 3, LABELS.shape)
    voxels = (LEVELS[LABELS] + noise).round().astype(np.uint8)
    image = make_image(tmp_path_factory.mktemp("stack"), voxels, voxel_size=(0.05, 0.01, 0.01))
    make_label(image, LABELS)
    return image


def normed_bundle(folder, mean, variance):
    """Thresholds at a quarter and three quarters, behind a BatchNorm layer that is in the way.

    The head undoes what the layer does to images of mean 0.5 and standard deviation 0.33.
    """
    keras = import_keras()
    source = keras.Input((None, None, 1), name="image")
    norm = keras.layers.BatchNormalization(name="norm")
    head = keras.layers.Conv2D(3, 1, activation="softmax", name="head")
    model = keras.Model(source, head(norm(source)))
    norm.moving_mean.assign([mean])
    norm.moving_variance.assign([variance])
    # Lines 0, 40 (i - 0.25) and 80 i - 70 cross at 0.25 and 0.75; i = 0.327 x + 0.5.
    head.set_weights([
        np.array([0, 13.1, 26.2], np.float32).reshape(1, 1, 1, 3),
        np.array([0, 10.0, 0.0], np.float32),
    ])  # fmt: skip
    save_bundle(folder, model, make_card(**FIXED))
    return str(folder)


FIXED = {
    "intensity": {"rule": "fixed", "low": [0.0], "high": [200.0]},
    "stride": (1, 1),
    "halo": (0, 0),
}


def findings(bundle, **fields):
    found = bundle_findings(AuditJob(target=str(bundle), **fields), Thresholds())
    assert all(f.evidence and f.rule and f.advice and f.proves_not for f in found)
    return [(f.code, f.severity) for f in found]


def test_a_sound_bundle_is_silent_alone_and_on_an_image(tmp_path, stack):
    bundle = write_thresholds(tmp_path / "bundle")
    with unchanged(tmp_path, stack):
        assert findings(bundle) == []
        assert findings(bundle, on=stack, truth="truth") == []
        assert findings(bundle, on=stack, region="z=1:3,x=0:40") == []


def test_a_card_that_promises_too_much(tmp_path):
    """One convolution of 1x1 with the halo and the classes of another network."""
    from segmentation.networks.unet import build_unet

    model = build_unet("yx", channels=1, num_classes=3, width=4, depth=1)
    sound = replace(make_card(), stride=(2, 2), halo=(8, 8))
    short = replace(sound, halo=(6, 8))
    for name, card in (("sound", sound), ("short", short)):
        save_bundle(tmp_path / name, model, card)
    assert findings(tmp_path / "sound") == []
    assert findings(tmp_path / "short") == [("INFER-HALO-SHORT", "warning")]
    fewer = replace(sound, classes=sound.classes[:2])
    save_bundle(tmp_path / "fewer", model, fewer)
    assert findings(tmp_path / "fewer") == [("MODEL-CLASSES-MISMATCH", "error")]


def test_the_training_of_the_card_says_how_far_batch_norm_came(tmp_path):
    bundle = normed_bundle(tmp_path / "bundle", 0.5, 0.107)
    card = load_card(bundle)
    training = {"best_epoch": 2, "settings": {"steps_per_epoch": 30}}
    save_bundle(bundle, load_model(bundle), replace(card, training=training))
    assert findings(bundle) == [("MODEL-BN-LAG", "info")]
    assert training_steps(training) == 60
    assert training_steps({}) is training_steps({"best_epoch": 2, "settings": {}}) is None


def test_images_of_a_classifiers_training(tmp_path):
    folds = {"split": {"folds": [{"train": [0, 1, 2]}, {"train": [1, 2, 3, 4]}]}}
    classifier = make_card(
        task="classification", image_size=(8, 8), resize="antialiased linear", training=folds
    )
    assert train_images(classifier) == 4
    assert train_images(replace(classifier, training={})) is None
    assert train_images(make_card(training=folds)) is None


@pytest.mark.parametrize(
    ("mode", "fields"), [("exact", {}), ("fast", {"fast": True})], ids=["exact", "fast"]
)
def test_other_statistics_make_another_bundle_that_says_what_it_is(tmp_path, stack, mode, fields):
    bundle = normed_bundle(tmp_path / "bundle", 5.0, 9.0)
    out = str(tmp_path / "out")
    with unchanged(bundle, stack):
        found = bundle_findings(
            AuditJob(target=bundle, on=stack, truth="truth", recalibrate=out, **fields),
            Thresholds(),
        )
    gap, *_, told = [f for f in found if f.code == "MODEL-BN-GAP"]
    assert (gap.severity, told.severity) == ("error", "info")
    assert "it helps" in told.statement
    card = load_card(out)
    note = card.training["recalibration"]
    assert note["recalibrated_from"] == bundle_digest(bundle) != bundle_digest(out)
    assert (note["mode"], note["image"], note["after"]) == (mode, stack, 1.0)
    assert note["before"] < 0.5
    assert replace(card, training={}, model_sha256="") == replace(
        load_card(bundle), training={}, model_sha256=""
    )
    layer = load_model(out).get_layer("norm")
    assert float(layer.moving_mean.numpy()[0]) == pytest.approx(0.5, abs=0.01)
    assert findings(out, on=stack, truth="truth") == []


def test_without_truth_nobody_says_that_it_helps(tmp_path, stack):
    bundle = normed_bundle(tmp_path / "bundle", 5.0, 9.0)
    job = AuditJob(target=bundle, on=stack, recalibrate=str(tmp_path / "out"))
    told = bundle_findings(job, Thresholds())[-1]
    assert "without truth it is not known" in told.statement
    assert "--truth" in told.advice


def test_a_recalibration_that_does_not_help_says_so(tmp_path, stack):
    bundle = normed_bundle(tmp_path / "bundle", 0.5, 0.107)
    job = AuditJob(target=bundle, on=stack, truth="truth", recalibrate=str(tmp_path / "out"))
    (told,) = bundle_findings(job, Thresholds())
    assert "it does not help" in told.statement
    assert "Keep the old bundle" in told.advice


def test_an_image_of_another_detector(tmp_path, stack):
    bundle = write_thresholds(
        tmp_path / "bundle", intensity={"rule": "fixed", "low": [0.0], "high": [65535.0]}
    )
    assert ("INFER-DTYPE-RANGE", "error") in findings(bundle, on=stack)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"recalibrate": "OUT"}, "give them with --on IMAGE.zarr"),
        ({"fast": True}, "give --recalibrate OUT with it"),
        ({"truth": "truth"}, "--truth says something of an image"),
        ({"region": "z=0:1"}, "--region says something of an image"),
        ({"on": "STACK", "recalibrate": "."}, "holds other files|is a bundle already"),
        ({"on": "STACK", "recalibrate": "OUT"}, "no BatchNorm layer"),
        ({"on": "STACK", "region": "z=9:12"}, "leaves the volume"),
        ({"on": "STACK", "truth": "nothing"}, "label 'nothing' is not in"),
        ({"on": "nowhere.zarr"}, "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path, stack, fields, match):
    bundle = write_thresholds(tmp_path / "bundle")
    places = {"STACK": stack, "OUT": str(tmp_path / "out"), ".": str(tmp_path)}
    fields = {key: places.get(value, value) for key, value in fields.items()}
    with unchanged(tmp_path, stack), pytest.raises(ValueError, match=match):
        bundle_findings(AuditJob(target=str(bundle), **fields), Thresholds())


def test_channels_of_another_image_are_refused(tmp_path):
    colours = np.random.default_rng(0).integers(0, 200, (3, 16, 16)).astype(np.uint8)
    image = make_image(tmp_path, colours, axes="cyx", voxel_size=(0.01, 0.01))
    with pytest.raises(RequestError, match="has 3 channels and the network takes 1"):
        findings(write_thresholds(tmp_path / "bundle"), on=image)


@pytest.mark.parametrize(
    ("shape", "crop", "count"),
    [((3, 64, 64), (64, 64), 3), ((40, 600, 500), (256, 256), MOST_CROPS), ((5, 70), (5, 32), 3)],
)
def test_crops_are_different_inside_and_spread(shape, crop, count):
    region = Region(tuple(range(1, len(shape) + 1)), tuple(n + a for a, n in enumerate(shape, 1)))
    found = crop_regions(region, crop, MOST_CROPS)
    assert len({place.start for place in found}) == len(found) == count
    for place in found:
        assert region.contains(place)
        assert place.shape == (1,) * (len(shape) - len(crop)) + crop
    assert found[-1].start[0] - found[0].start[0] >= (shape[0] // 2 if len(shape) == 3 else 0)


class TestClassifier:
    """A bundle that gives one class to an image: a folder, and a table of its classes."""

    GREYS = (20, 40, 60, 200, 220, 240)

    @pytest.fixture
    def folder(self, tmp_path):
        write_classifier(tmp_path / "bundle")
        names = write_images(tmp_path / "images", self.GREYS)
        rows = [
            f"{name},{'bright' if g > 127 else 'dark'}"
            for name, g in zip(names, self.GREYS, strict=True)
        ]
        (tmp_path / "truth.csv").write_text("\n".join(["image,class", *rows]))
        return tmp_path

    def test_a_sound_one_is_silent(self, folder):
        bundle, images, truth = (str(folder / n) for n in ("bundle", "images", "truth.csv"))
        assert findings(bundle) == []
        assert findings(bundle, on=images, truth=truth) == []

    def test_one_class_for_all_is_told_by_the_table(self, folder):
        model = brightness_model()
        model.layers[-1].bias.assign([0.0, 50.0])
        bundle = str(write_classifier(folder / "other", model))
        found = findings(bundle, on=str(folder / "images"), truth=str(folder / "truth.csv"))
        assert ("MODEL-OUTPUT-COLLAPSE", "error") in found

    @pytest.mark.parametrize(
        ("fields", "match"),
        [
            ({"truth": "nothing.csv"}, "is no file; a classifier's truth is a table"),
            ({"region": "z=0:1"}, "this one classifies images"),
            ({"truth": "other.csv"}, "not among the 6 images"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, folder, fields, match):
        (folder / "other.csv").write_text("image,class\nx.png,dark\n")
        if "truth" in fields:
            fields = {"truth": str(folder / fields["truth"])}
        with unchanged(folder), pytest.raises(RequestError, match=match):
            findings(folder / "bundle", on=str(folder / "images"), **fields)


def test_few_names_are_all_taken_and_many_at_even_distances():
    assert spread(["a", "b"], 5) == ["a", "b"]
    assert spread([str(n) for n in range(12)], 3) == ["2", "6", "10"]


def test_the_epochs_of_the_training_speak_too(tmp_path):
    """Every epoch's curves are there; a folder without a training has none."""
    bundle = write_thresholds(tmp_path / "bundle")
    row = {"macro_foreground_dice": 0.9, "dice": [0.9, 0.9, 0.9], "cross_entropy": 0.1}
    epochs = [
        {
            "epoch": number,
            "steps": 10 * number,
            "planned_steps": 200,
            "seconds": 1.0,
            "learning_rate": 1e-3,
            "loss": 0.5,
            "best": True,
            "curves": {
                "train_running": row,
                "train_eval": row,
                "val": row | {"macro_foreground_dice": 0.3 + 0.03 * number},
                "val_batchstats": None,
            },
        }
        for number in range(1, 21)
    ]
    document = {
        "fold": None,
        "epochs": epochs,
        "monitor": {"name": "val_macro_foreground_dice", "direction": "max", "patience": None},
        "settings": {"steps_per_epoch": 10},
    }
    records = bundle / "training"
    records.mkdir()
    (records / "result.json").write_text(json.dumps(document))
    codes = [code for code, _ in findings(bundle)]
    assert "TRAIN-UNFINISHED" in codes
    document = {"folds": [document | {"fold": fold} for fold in (1, 2)]}
    (records / "result.json").write_text(json.dumps(document))
    told = bundle_findings(AuditJob(target=str(bundle)), Thresholds())
    assert [f.code for f in told] == codes
    assert all(f.statement.startswith("In fold 1: ") for f in told)
