"""The same network in another form, and several networks as one."""

import numpy as np
import pytest

from segmentation.bundle import ClassInfo, load_model, save_bundle
from segmentation.bundle_fields import PRECISIONS
from segmentation.networks.ensemble import average_networks
from segmentation.networks.unet import build_unet
from segmentation.networks.variants import (
    POLICIES,
    choose_precision,
    computed_in,
    freeze_until,
    has_batch_norm,
    is_native,
    with_head,
    with_precision,
    without_chance,
)
from segmentation.packing import make_card
from segmentation.receptive_field import derive
from tests.test_segmentation.networks import keras, layers, network
from tests.test_segmentation.trainings import small_unet

IMAGES = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)


def answers(model, **options):
    return np.asarray(model(IMAGES, **options))


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_other_arithmetic_gives_nearly_the_same(precision, tolerance):
    model = small_unet()
    other = with_precision(model, precision)
    np.testing.assert_allclose(answers(other), answers(model), atol=tolerance)
    assert answers(other).dtype == np.float32
    assert np.abs(answers(other) - answers(model)).max() > 0


def test_the_same_arithmetic_gives_the_same():
    model = small_unet()
    np.testing.assert_array_equal(answers(with_precision(model, "float32")), answers(model))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu amx_bf16 sse", "bfloat16"), ("fpu avx512_bf16 sse", "float32"), (None, "float32")],
)
def test_auto_looks_at_the_hardware(tmp_path, flags, expected):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"flags : {flags}\n")
    assert choose_precision("auto", cpu_info=path) == expected
    assert choose_precision("float32", cpu_info=path) == "float32"


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu avx512_bf16", {"float32", "bfloat16"}),
        ("fpu amx_bf16 amx_fp16", set(PRECISIONS)),
        ("fp asimd fphp", {"float32", "float16"}),
        ("fpu avx512_bf16x", {"float32"}),
        (None, set(PRECISIONS)),
    ],
)
def test_instructions_of_the_cpu(tmp_path, flags, native):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"flags\t\t: {flags}\n")
    assert {name for name in PRECISIONS if is_native(name, cpu_info=path)} == native
    assert set(PRECISIONS) == set(POLICIES)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_the_head_stays_in_float32(precision, tolerance):
    model = small_unet()
    other = computed_in(model, precision)
    types = {layer.name: layer.compute_dtype for layer in other.layers if layer.name != "image"}
    assert types.pop("head") == "float32"
    assert set(types.values()) == {precision}
    assert answers(other).dtype == np.float32
    np.testing.assert_allclose(answers(other), answers(model), atol=tolerance)
    assert np.abs(answers(other) - answers(model)).max() > 0
    assert computed_in(model, "float32") is model


def test_every_head_of_an_ensemble_stays_in_float32():
    body = [layers.Conv2D(2, 3, padding="same", name="body")]
    members = [network(*body), network(layers.Conv2D(2, 3, padding="same", name="body"))]
    other = computed_in(average_networks(members), "bfloat16")
    types = [
        (layer.name, layer.compute_dtype)
        for layer in other._flatten_layers(include_self=False)
        if layer.name in ("body", "head", "mean")
    ]
    expected = [("body", "bfloat16"), ("head", "float32")] * 2 + [("mean", "float32")]
    assert sorted(types) == sorted(expected)


def test_a_softmax_of_its_own_belongs_to_the_head():
    source = keras.Input((None, None, 1))
    features = layers.Conv2D(2, 3, padding="same", name="body")(source)
    scores = layers.Conv2D(2, 1, name="scores")(features)
    other = computed_in(keras.Model(source, layers.Softmax(name="last")(scores)), "float16")
    types = [other.get_layer(name).compute_dtype for name in ("body", "scores", "last")]
    assert types == ["float16", "float32", "float32"]


def test_without_chance_training_mode_repeats_itself():
    body = [layers.Dropout(0.5, seed=1), layers.GaussianNoise(1.0, seed=2)]
    model = network(*body)
    calm = without_chance(model)
    assert not np.array_equal(answers(model, training=True), answers(model, training=True))
    np.testing.assert_array_equal(answers(calm, training=True), answers(model))


def test_batch_norm_is_found_in_nested_models_too():
    assert has_batch_norm(small_unet())
    assert not has_batch_norm(small_unet(batch_norm=False))
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.BatchNormalization()])
    assert has_batch_norm(keras.Sequential([keras.Input((8, 8, 1)), inner]))


def test_freezing_keeps_weights_and_statistics():
    model = small_unet()
    frozen = freeze_until(model, "down0b_norm")
    assert frozen == ("down0a", "down0a_norm", "down0b", "down0b_norm")
    before = [w.numpy() for w in model.get_layer("down0b_norm").weights]
    model(IMAGES, training=True)
    for old, new in zip(before, model.get_layer("down0b_norm").weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    assert "head" in {v.path.split("/")[0] for v in model.trainable_variables}


@pytest.mark.parametrize(
    ("name", "message"),
    [("block5", "no layer 'block5' to freeze until; it has down0a"), ("head", "nothing is left")],
)
def test_freezing_that_makes_no_sense_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        freeze_until(small_unet(), name)


def test_a_new_head_stands_on_the_same_features():
    model = small_unet()
    other = with_head(model, 1, "sigmoid", seed=3)
    assert other.output_shape[-1] == 1
    np.testing.assert_array_equal(
        other.get_layer("down0a").get_weights()[0], model.get_layer("down0a").get_weights()[0]
    )
    odd = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Softmax()])
    with pytest.raises(ValueError, match=r"ends in Softmax 'softmax.*', which cannot be exchanged"):
        with_head(odd, 3, "softmax", seed=0)


@pytest.mark.parametrize(("head", "outputs"), [("softmax", 3), ("sigmoid", 2)])
def test_an_ensemble_gives_the_mean_and_is_tiled_exactly(tmp_path, head, outputs):
    members = [
        build_unet("yx", channels=1, num_classes=outputs, width=2, depth=1, head=head, seed=seed)
        for seed in (1, 20, 40)
    ]
    model = average_networks(members)
    expected = np.mean([answers(member) for member in members], axis=0)
    np.testing.assert_allclose(answers(model), expected, atol=1e-6)
    classes = [ClassInfo(v, f"c{v}", (0, 0, 0, 255)) for v in range(3)]
    intensity = {"rule": "percentiles", "low": 1.0, "high": 99.0}
    card = make_card(model, classes, axes="yx", intensity=intensity)
    assert (card.exact, card.head) == (True, head)
    assert (card.halo, card.stride) == (derive(members[0]).halo, derive(members[0]).stride)
    save_bundle(tmp_path, model, card)
    np.testing.assert_array_equal(answers(load_model(tmp_path)), answers(model))


def test_networks_of_several_forms_are_no_ensemble():
    with pytest.raises(ValueError, match="two networks or more; received 1"):
        average_networks([small_unet()])
    with pytest.raises(ValueError, match="expected one form"):
        average_networks([small_unet(), build_unet("yx", channels=2, num_classes=3, width=2)])
