"""Bundles of classifiers beside those of segmentation: cards, digests, refusals."""

import hashlib
import json
from dataclasses import replace

import pytest

from segmentation.bundle import (
    BundleError,
    ClassInfo,
    bundle_digest,
    load_card,
    load_model,
    require_task,
    save_bundle,
)
from segmentation.classification.card import classifier_card
from segmentation.networks.classifier import build_classifier
from segmentation.networks.ensemble import average_networks
from tests.test_segmentation.sample_sets import small_classifier
from tests.test_segmentation.test_bundle import CARD, small_unet

CLASSES = [ClassInfo(0, "non_covid", (9, 9, 9, 255)), ClassInfo(1, "covid", (230, 159, 0, 255))]
RULE = {"rule": "percentiles", "low": 1.0, "high": 99.0}


def card_of(model, **options):
    return classifier_card(model, CLASSES, intensity=RULE, **options)


def test_a_classifier_comes_back(tmp_path):
    written = save_bundle(tmp_path / "b", small_classifier(), card_of(small_classifier()))
    found = load_card(tmp_path / "b")
    assert found == written
    assert (found.task, found.image_size, found.channels) == ("classification", (16, 16), 1)
    assert found.resize == "antialiased linear"
    assert load_model(tmp_path / "b").output_shape == (None, 2)


@pytest.mark.parametrize("preset", ["classifier", "classifier-source"])
def test_an_ensemble_of_classifiers_is_a_bundle(tmp_path, preset):
    members = [
        build_classifier(preset, image_size=(24, 24), channels=1, num_classes=2, width=2, seed=s)
        for s in range(3)
    ]
    model = average_networks(members)
    save_bundle(tmp_path / "b", model, card_of(model))
    assert load_model(tmp_path / "b").input_shape == (None, 24, 24, 1)


def test_digests_of_segmentation_bundles_are_what_they_were(tmp_path):
    card = save_bundle(tmp_path / "b", small_unet(), CARD)
    data = card.to_dict()
    # The rule before there were classifiers, written out.
    names = ["axes", "channels", "head", "intensity", "stride", "halo", "exact", "model_sha256"]
    deciding = {name: data[name] for name in names} | {"num_classes": 2}
    expected = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
    assert bundle_digest(tmp_path / "b") == expected


def test_a_card_from_before_there_were_classifiers_is_read(tmp_path):
    save_bundle(tmp_path / "b", small_unet(), CARD)
    path = tmp_path / "b" / "card.json"
    old = {
        name: value
        for name, value in json.loads(path.read_text()).items()
        if name not in ("task", "image_size", "resize")
    }
    path.write_text(json.dumps(old))
    assert load_card(tmp_path / "b").task == "segmentation"


def test_size_and_resizing_decide_the_digest_of_a_classifier(tmp_path):
    card, digests = card_of(small_classifier()), set()
    for number, other in enumerate((card, replace(card, resize="another"))):
        save_bundle(tmp_path / str(number), small_classifier(), other)
        digests.add(bundle_digest(tmp_path / str(number)))
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "regression"}, "expected one of segmentation, classification"),
        ({"image_size": None}, "expected two extents"),
        ({"image_size": (16, 0)}, "expected two extents"),
        ({"task": "segmentation"}, "expected none"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(BundleError, match=message):
        replace(card_of(small_classifier()), **changes)


def test_networks_of_another_form_are_refused():
    with pytest.raises(BundleError, match="a classifier of 2 classes takes"):
        card_of(small_unet())
    with pytest.raises(BundleError, match="a classifier of 2 classes takes"):
        card_of(small_classifier(num_classes=3))


def test_a_bundle_is_refused_for_the_other_task():
    card = card_of(small_classifier())
    require_task(card, "classification", "b")
    require_task(CARD, "segmentation", "b")
    with pytest.raises(BundleError, match="maskmill classify"):
        require_task(card, "segmentation", "b")
    with pytest.raises(BundleError, match="maskmill segment"):
        require_task(CARD, "classification", "b")
