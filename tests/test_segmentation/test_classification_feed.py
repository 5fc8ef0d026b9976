"""Batches of images: each as often as the others, the same for the same step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.classification.feed import SampleFeed, SampleSet, shifted
from segmentation.classification.settings import ClassifierSettings, image_augmentation
from tests.test_segmentation.sample_sets import sample_set, squares


def feed(samples, batch_size=4, augment="none", shift=0.0, seed=0):
    return SampleFeed(samples, image_augmentation(augment), shift, batch_size, seed)


@given(
    count=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 99),
    rounds=st.integers(1, 4),
)  # fmt: skip
def test_every_image_is_taken_once_before_any_is_taken_again(count, batch, seed, rounds):
    samples = SampleSet(lambda place: np.zeros((1, 1, 1), np.float32), np.zeros(count, np.int64))
    found = feed(samples, batch, seed=seed)
    steps = -(-rounds * count // batch)
    places = np.concatenate([found.places(step) for step in range(steps)])
    for number in range(rounds):
        assert sorted(places[number * count : (number + 1) * count]) == list(range(count))


def test_a_step_gives_the_same_images_whatever_was_drawn_before():
    first, again = (feed(sample_set(10), augment="standard", shift=0.1) for _ in range(2))
    for step in (0, 1, 2):
        first.batch(step)
    images, labels = first.batch(7)
    other_images, other_labels = again.batch(7)
    assert np.array_equal(images, other_images)
    assert np.array_equal(labels, other_labels)


def test_labels_are_those_of_the_images():
    images, labels = squares(10)
    found = feed(SampleSet(lambda place: images[place], labels))
    for step in range(3):
        batch, truth = found.batch(step)
        places = found.places(step)
        assert np.array_equal(batch, images[places])
        assert np.array_equal(truth, labels[places])


def test_augmentation_changes_images_and_keeps_their_form():
    plain, varied = feed(sample_set(8)), feed(sample_set(8), augment="standard", shift=0.1)
    before, after = plain.batch(0)[0], varied.batch(0)[0]
    assert before.shape == after.shape
    assert after.dtype == np.float32
    assert not np.allclose(before, after)
    assert np.isfinite(after).all()


def test_flips_alone_move_pixels_and_change_none():
    images, _ = squares(6)
    found = feed(SampleSet(lambda p: images[p], np.zeros(6, np.int64)), 6, "flips", shift=0.5)
    batch = found.batch(0)[0]
    for image, place in zip(batch, found.places(0), strict=True):
        assert np.array_equal(np.sort(image.ravel()), np.sort(images[place].ravel()))


def test_a_shift_mirrors_at_the_border():
    image = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    seen = {tuple(shifted(np.random.default_rng(seed), image, 0.4)[0, :, 0]) for seed in range(40)}
    # By -2 … 2 pixels; what is beyond the border is its mirror.
    assert seen == {
        (2, 1, 0, 1, 2), (1, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 3), (2, 3, 4, 3, 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; expected more than 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"shift": -0.1}, "shift is -0.1"),
        ({"class_weights": "all"}, "expected one of none, sqrt, inverse"),
        ({"augment": "much"}, "expected one of none, flips, standard"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ClassifierSettings(**changes)
