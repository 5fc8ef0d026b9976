"""Findings on graphs and cards: each fires on its fixture, and is silent on the twin."""

from dataclasses import replace

import pytest

from segmentation.audit.model_graph import graph_findings
from segmentation.audit.model_tiling import geometry_findings
from segmentation.audit.thresholds import ModelThresholds
from segmentation.networks.classifier import build_classifier
from segmentation.networks.presets import PRESETS, build_network
from segmentation.packing import settled_geometry
from segmentation.receptive_field import Geometry
from tests.test_segmentation.networks import keras, layers, network
from tests.test_segmentation.specimens import binary_network, four_class_network
from tests.test_segmentation.trainings import small_unet

LIMITS = ModelThresholds()
EXACT = Geometry((2, 2), (10, 10), exact=True)
NOTHING_CHANGES = {"argmax_fraction": 0.0, "max_difference": 0.0}


def found(model, num_classes, *, head="softmax", train_images=None, steps=None):
    """Findings by code."""
    findings = graph_findings(
        model,
        head=head,
        num_classes=num_classes,
        train_images=train_images,
        steps=steps,
        thresholds=LIMITS,
    )
    assert all(f.evidence and f.rule and f.advice and f.proves_not for f in findings)
    return {finding.code: finding for finding in findings}


def source_at_full_size():
    return build_classifier("classifier-source", image_size=(1024, 1024), channels=1, num_classes=2)


def dense_classifier():
    """A small flattened image in front of a small dense layer."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(2, activation="softmax"),
        ]
    )


class TestS015HeadsBehindFewFeatures:
    """S0-15: as many ReLU channels as classes, just before the head."""

    @pytest.mark.parametrize(
        ("model", "classes", "head"),
        [
            (lambda: four_class_network(4, num_classes=5), 5, "softmax"),
            (lambda: binary_network(4), 2, "sigmoid"),
        ],
    )
    def test_s0_15_the_source_networks_are_named(self, model, classes, head):
        finding = found(model(), classes, head=head)["MODEL-RELU-BOTTLENECK-HEAD"]
        assert f"{classes} features that cannot be negative" in finding.statement
        assert finding.evidence[0].rows[0][0] == "squeezed"

    @pytest.mark.parametrize("preset", PRESETS)
    def test_s0_15_the_presets_are_not(self, preset):
        model = build_network(preset, "yx", channels=1, num_classes=2, width=8, depth=1)
        head = "sigmoid" if preset in ("unet-binary", "unet-one-class") else "softmax"
        assert found(model, 2, head=head) == {}

    def test_a_layer_without_relu_or_with_more_features_is_none(self):
        linear = network(layers.Conv2D(2, 3, padding="same"))
        wide = network(layers.Conv2D(3, 3, padding="same", activation="relu"))
        apart = network(
            layers.Conv2D(2, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()
        )
        assert found(linear, 2) == found(wide, 2) == {}
        assert list(found(apart, 2)) == ["MODEL-RELU-BOTTLENECK-HEAD"]


class TestS016Classes:
    """S0-16: a network of two outputs for five classes."""

    def test_s0_16_the_default_of_two_for_five_classes(self):
        finding = found(four_class_network(2, num_classes=2), 5)["MODEL-CLASSES-MISMATCH"]
        assert finding.severity == "error"
        assert "has 2 outputs for 5 classes" in finding.statement

    def test_as_many_as_classes_or_one_less_for_a_sigmoid(self):
        assert "MODEL-CLASSES-MISMATCH" not in found(four_class_network(4, num_classes=5), 5)
        assert "MODEL-CLASSES-MISMATCH" not in found(binary_network(4), 2, head="sigmoid")
        assert "MODEL-CLASSES-MISMATCH" in found(binary_network(4), 3, head="sigmoid")


class TestS414Heads:
    """S4-14: eight million weights for ninety images."""

    def test_s4_14_the_source_classifier(self):
        """508,032 · 16 + 16 of 8,148,022 weights, by hand; 90,319 for each of 90 images."""
        finding = found(source_at_full_size(), 2, train_images=90)["MODEL-OVERSIZED-HEAD"]
        assert "8,128,528 of the network's 8,148,022 weights (99.8%)" in finding.statement
        assert "90,317 for each of 90 images" in finding.statement

    def test_s4_14_mean_over_the_image_needs_few(self):
        model = build_classifier("classifier", image_size=(64, 64), channels=1, num_classes=2)
        assert found(model, 2, train_images=90) == {}

    def test_a_small_dense_layer_is_none_unless_images_are_fewer_still(self):
        """6 · 6 · 64 · 2 + 2 = 4610 weights of 5250 are 87.8 %: above 80 %, at 80 % of it none."""
        assert list(found(dense_classifier(), 2)) == ["MODEL-OVERSIZED-HEAD"]
        lenient = replace(LIMITS, head_share=0.9)
        options = {"head": "softmax", "num_classes": 2, "steps": None, "thresholds": lenient}
        assert graph_findings(dense_classifier(), train_images=90, **options) == []
        few = replace(lenient, parameters_per_image=4000.0)
        options["thresholds"] = few
        assert graph_findings(dense_classifier(), train_images=2, **options) == []
        codes = [f.code for f in graph_findings(dense_classifier(), train_images=1, **options)]
        assert codes == ["MODEL-OVERSIZED-HEAD"]


class TestS45Lag:
    """S4-5: what is left of the initial statistics after some steps of momentum 0.99."""

    def norm(self, momentum=0.99):
        return network(layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(
            momentum=momentum))  # fmt: skip

    @pytest.mark.parametrize(("steps", "left"), [(9, 0.91), (45, 0.64), (90, 0.40), (99, 0.37)])
    def test_s4_5_share_of_the_initial_statistics(self, steps, left):
        finding = found(self.norm(), 2, steps=steps)["MODEL-BN-LAG"]
        assert finding.severity == "info"
        assert f"0.99^{steps} = {left:.2f} " in finding.rule

    @pytest.mark.parametrize(("momentum", "steps"), [(0.99, 450), (0.99, None), (0.9, 45)])
    def test_s4_5_settled_or_unknown_is_silent(self, momentum, steps):
        assert found(self.norm(momentum), 2, steps=steps) == {}

    def test_without_batch_norm_nothing_lags(self):
        assert found(small_unet(batch_norm=False), 3, steps=1) == {}


def tiling(card, model_geometry, mismatch=NOTHING_CHANGES):
    findings = geometry_findings(
        card, model_geometry, mismatch=mismatch, axes="yx", thresholds=LIMITS
    )
    assert all(f.evidence for f in findings)
    return [(finding.code, finding.severity) for finding in findings]


GLOBAL = Geometry((2, 2), (10, 10), exact=False, reasons=("Layer 'x' looks at the whole tile",))


@pytest.mark.parametrize(
    ("card", "model_geometry", "mismatch", "expected"),
    [
        (EXACT, EXACT, NOTHING_CHANGES, []),
        (replace(EXACT, halo=(12, 10)), EXACT, NOTHING_CHANGES, []),
        (replace(EXACT, halo=(10, 8)), EXACT, {}, [("INFER-HALO-SHORT", "warning")]),
        (replace(EXACT, stride=(1, 1)), EXACT, {}, [("INFER-GRID-MISALIGNED", "error")]),
        (replace(EXACT, stride=(4, 4)), EXACT, {}, []),
        (GLOBAL, GLOBAL, {"argmax_fraction": 0.2}, [("MODEL-NOT-EXACT", "warning")]),
        (GLOBAL, GLOBAL, {"argmax_fraction": 0.002}, [("MODEL-NOT-EXACT", "info")]),
        (EXACT, GLOBAL, NOTHING_CHANGES, [("MODEL-NOT-EXACT", "error")]),
    ],
)
def test_tiles_of_a_card(card, model_geometry, mismatch, expected):
    assert tiling(card, model_geometry, mismatch) == expected


def test_a_network_and_its_own_geometry_agree():
    """By hand: two 3x3 convolutions at full size on the way down and up, two at half size."""
    geometry = settled_geometry(small_unet())
    assert geometry == Geometry((2, 2), (8, 8), exact=True)
    assert tiling(geometry, geometry) == []
    assert tiling(replace(geometry, halo=(6, 6)), geometry) == [("INFER-HALO-SHORT", "warning")]
