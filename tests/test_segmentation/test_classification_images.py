"""What a classifier is shown: channels, intensities and size, against PIL and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segmentation.bundle import Card, ClassInfo
from segmentation.classification.images import (
    image_transform,
    prepare,
    prepare_image,
    resized,
    with_channels,
)

PERCENTILES = {"rule": "percentiles", "low": 0.0, "high": 100.0}
CARD = Card(
    classes=(ClassInfo(0, "a", (0, 0, 0, 255)), ClassInfo(1, "b", (9, 9, 9, 255))),
    axes="yx",
    channels=1,
    head="softmax",
    intensity=PERCENTILES,
    stride=(1, 1),
    halo=(0, 0),
    exact=False,
    tile=(4, 6),
    task="classification",
    image_size=(4, 6),
)
EXTENTS = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(deadline=None, max_examples=60)
@given(before=EXTENTS, after=EXTENTS, seed=st.integers(0, 2**16))
def test_resizing_is_that_of_pillow(before, after, seed):
    image = np.random.default_rng(seed).random(before, np.float32)
    expected = Image.fromarray(image).resize(after[::-1], Image.Resampling.BILINEAR)
    found = resized(image[..., np.newaxis], after)[..., 0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=2e-6)


def test_channels_are_resized_each_for_itself():
    image = np.random.default_rng(1).random((9, 7, 3), np.float32)
    together = resized(image, (4, 11))
    for channel in range(3):
        alone = resized(image[..., channel : channel + 1], (4, 11))
        assert np.array_equal(together[..., channel], alone[..., 0])


def test_an_image_of_the_size_stays_as_it_is():
    image = np.random.default_rng(2).random((4, 6, 1), np.float32)
    assert resized(image, (4, 6)) is image


def test_a_checkerboard_becomes_grey_and_no_pattern():
    # Every second pixel: without averaging it would turn all black or all white.
    board = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)[..., np.newaxis]
    inner = resized(board, (16, 16))[1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0.5, atol=1e-6)


def test_colours_become_grey_by_the_weights_of_bt601():
    image = np.array([[[100, 50, 200]]], np.uint8)
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 200
    assert with_channels(image, 1)[0, 0, 0] == pytest.approx(grey)


def test_grey_saved_in_colour_keeps_its_values():
    image = np.repeat(np.array([[[7], [200]]], np.uint8), 3, axis=-1)
    found = with_channels(image, 1)
    assert found.dtype == np.uint8
    assert found[0, :, 0].tolist() == [7, 200]


def test_grey_becomes_three_equal_colours():
    assert with_channels(np.array([[[7]]], np.uint8), 3).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize(("shape", "channels"), [((2, 2, 4), 1), ((2, 2, 2), 3)])
def test_other_channels_are_refused(shape, channels):
    with pytest.raises(ValueError, match=f"{shape[-1]} channels and the network takes {channels}"):
        with_channels(np.zeros(shape, np.uint8), channels)


def test_an_image_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"expected \(y, x, channels\)"):
        with_channels(np.zeros((2, 2), np.uint8), 1)


def test_percentiles_are_those_of_the_image():
    image = np.arange(101, dtype=np.uint8).reshape(1, 101, 1)
    transform = image_transform(image, {"rule": "percentiles", "low": 10.0, "high": 60.0})
    assert (transform.low, transform.high) == ((10.0,), (60.0,))


def test_a_wide_flat_margin_falls_back_on_the_extremes():
    image = np.full((10, 20, 1), 30, np.uint8)
    image[0, 0], image[0, 1] = 10, 90
    transform = image_transform(image, {"rule": "percentiles", "low": 1.0, "high": 99.0})
    assert (transform.low, transform.high) == ((10.0,), (90.0,))


def test_an_image_without_contrast_is_refused():
    with pytest.raises(ValueError, match="no contrast"):
        prepare_image(np.full((4, 4, 1), 9, np.uint8), 1, PERCENTILES, (4, 4))


def test_an_empty_channel_beside_others_becomes_zero():
    image = np.zeros((4, 4, 2), np.uint8)
    image[..., 0] = np.arange(16).reshape(4, 4)
    found = prepare_image(image, 2, PERCENTILES, (4, 4))
    assert not found[..., 1].any()
    assert (found[..., 0].min(), found[..., 0].max()) == (0, 1)


def test_fixed_intensities_are_those_of_the_card():
    rule = {"rule": "fixed", "low": [100.0], "high": [300.0]}
    found = prepare_image(np.full((1, 1, 1), 150, np.uint16), 1, rule, (1, 1))
    assert found.item() == pytest.approx(0.25)


def test_prepare_takes_everything_from_the_card():
    image = np.random.default_rng(3).integers(0, 256, (9, 9, 3), np.uint8)
    found = prepare(image, CARD)
    assert (found.shape, found.dtype) == ((4, 6, 1), np.float32)
    # Brightness and contrast of the file do not matter.
    dim = prepare(image // 2 * 2, CARD)
    np.testing.assert_allclose(prepare(image // 2, CARD), dim, atol=0.03)


def test_another_rule_gives_another_image():
    image = np.random.default_rng(4).integers(0, 256, (8, 8, 1), np.uint8)
    narrow = replace(CARD, intensity={"rule": "percentiles", "low": 20.0, "high": 80.0})
    assert not np.allclose(prepare(image, CARD), prepare(image, narrow))
