from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from segmentation.synthetic import CLASSES, synthetic_stack

SHAPE = (8, 160, 160)


def shares(labels: Any) -> list[float]:
    counts = np.bincount(labels.ravel(), minlength=len(CLASSES))
    return [int(count) / labels.size for count in counts]


def test_same_seed_same_bytes_other_seed_other_stack() -> None:
    image, labels = synthetic_stack(SHAPE, 3)
    again, labels_again = synthetic_stack(SHAPE, 3)
    other, _ = synthetic_stack(SHAPE, 4)
    assert image.tobytes() == again.tobytes()
    assert labels.tobytes() == labels_again.tobytes()
    assert image.tobytes() != other.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_all_classes_occur_and_foreground_is_10_to_30_percent(seed: int) -> None:
    _, labels = synthetic_stack(SHAPE, seed)
    background, membrane, mitochondria, vesicles, synapse = shares(labels)
    assert 0.10 <= 1 - background <= 0.30
    assert 0.10 <= membrane <= 0.22
    assert 0.04 <= mitochondria <= 0.10
    assert 0.02 <= vesicles <= 0.08
    assert 0.001 <= synapse <= 0.03


def test_shapes_dtypes_and_range() -> None:
    image, labels = synthetic_stack((3, 64, 96), 0)
    assert image.shape == labels.shape == (3, 64, 96)
    assert image.dtype == labels.dtype == np.uint8
    assert image.flags.c_contiguous
    assert labels.flags.c_contiguous
    deep, same_labels = synthetic_stack((3, 64, 96), 0, dtype="uint16")
    assert deep.dtype == np.uint16
    assert deep.max() > 40_000
    np.testing.assert_array_equal(labels, same_labels)


def test_one_section_is_enough() -> None:
    image, labels = synthetic_stack((1, 64, 64), 0)
    assert image.shape == labels.shape == (1, 64, 64)


def test_labels_continue_from_section_to_section() -> None:
    _, labels = synthetic_stack(SHAPE, 1)
    foreground = labels > 0
    same = (labels[1:] == labels[:-1]) & foreground[1:]
    by_chance = float(foreground.mean())
    assert same.sum() / foreground[1:].sum() > 2 * by_chance


def test_noise_hides_but_does_not_move_anything() -> None:
    clean, labels = synthetic_stack(SHAPE, 5, noise=0)
    noisy, noisy_labels = synthetic_stack(SHAPE, 5, noise=1)
    louder, _ = synthetic_stack(SHAPE, 5, noise=2)
    np.testing.assert_array_equal(labels, noisy_labels)
    difference = np.std(noisy.astype(float) - clean)
    assert 5 < difference < 30
    assert np.std(louder.astype(float) - clean) > 1.5 * difference


def test_classes_look_different() -> None:
    clean, labels = synthetic_stack(SHAPE, 2, noise=0)
    mean = [float(clean[labels == value].mean()) for value, _, _ in CLASSES]
    background, membrane, mitochondria, vesicles, synapse = mean
    assert synapse < membrane < mitochondria < vesicles < background


def test_quick_enough_for_a_demo() -> None:
    start = time.process_time()
    synthetic_stack((24, 256, 256), 0)
    assert time.process_time() - start < 10  # about 1 s; the demo's stack must not be the wait


def test_classes_are_numbered_from_a_background_and_coloured_apart() -> None:
    assert [value for value, _, _ in CLASSES] == [0, 1, 2, 3, 4]
    assert CLASSES[0][1:] == ("background", (0, 0, 0))
    assert len({color for _, _, color in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4, 16, 64)}, r"shape \(4, 16, 64\) is too small"),
        ({"shape": (64, 64)}, r"expected \(z, y, x\)"),
        ({"dtype": "float32"}, "dtype is 'float32'"),
        ({"noise": -1}, "noise is -1"),
        ({"noise": float("nan")}, "noise is nan"),
    ],
)
def test_refuses_what_it_cannot_draw(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthetic_stack(**{"shape": SHAPE, "seed": 0, **arguments})
