"""Memory that runs out halves the batch; the classes stay the same; nothing else is tried again."""

import numpy as np
import pytest

from segmentation.networks.unet import build_unet
from segmentation.out_of_memory import is_out_of_memory
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive

TILES = np.random.default_rng(0).random((11, 16, 16, 1), np.float32)


class ArrayMemoryError(MemoryError):
    """As numpy's own, which is private."""


class ResourceExhaustedError(Exception):
    """As TensorFlow's own, told by its name."""


class XlaRuntimeError(RuntimeError):
    """As JAX's own, told by its text."""


EXHAUSTED = XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12884901888 bytes.")
OUT_OF_MEMORY = [MemoryError(), ArrayMemoryError("no"), ResourceExhaustedError("no"), EXHAUSTED]
OTHERS = [ValueError("bad shape"), RuntimeError("INTERNAL: failed"), OSError(28, "No space left")]


def predictor_of(batch_size, **options):
    model = build_unet("yx", channels=1, num_classes=3, width=2, depth=1)
    return NetworkPredictor(
        model, head="softmax", geometry=derive(model), batch_size=batch_size, **options
    )


def starve(predictor, tiles, error):
    """Let a predictor have memory for some tiles only; the batches it asks for."""
    asked, compile_ = [], predictor._compile

    def compiled(shape, wanted):
        run = compile_(shape, wanted)

        def limited(batch):
            asked.append(len(batch))
            if len(batch) > tiles:
                raise error
            return run(batch)

        return limited

    predictor._compile = compiled
    return asked


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_the_batch_is_halved_until_it_fits_and_stays_so(error):
    expected = predictor_of(8).predict_classes(TILES)
    predictor = predictor_of(8)
    asked = starve(predictor, 3, error)
    np.testing.assert_array_equal(predictor.predict_classes(TILES), expected)
    # Eleven tiles two at a time, after eight and four were too many.
    assert asked == [8, 4, *[2] * 6]
    assert predictor.batch_size == 2
    asked.clear()
    predictor.predict_probabilities(TILES[:3])
    assert asked == [2, 2]


def test_tiles_that_were_computed_before_memory_ran_out_are_kept():
    predictor = predictor_of(4)
    asked = starve(predictor, 4, EXHAUSTED)
    first = predictor.predict_classes(TILES[:4])
    predictor._compiled.clear()
    asked = starve(predictor, 1, EXHAUSTED)
    np.testing.assert_array_equal(predictor.predict_classes(TILES[:4]), first)
    assert asked[:2] == [4, 2]


def test_one_tile_that_does_not_fit_is_an_error():
    predictor = predictor_of(4)
    asked = starve(predictor, 0, EXHAUSTED)
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        predictor.predict_classes(TILES)
    assert asked == [4, 2, 1]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_no_other_error_is_tried_again(error):
    predictor = predictor_of(4)
    asked = starve(predictor, 2, error)
    with pytest.raises(type(error)):
        predictor.predict_classes(TILES)
    assert (asked, predictor.batch_size) == ([4], 4)


def test_a_network_that_depends_on_its_batch_is_not_given_a_smaller_one():
    predictor = predictor_of(4, batch_statistics=True)
    starve(predictor, 2, EXHAUSTED)
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        predictor.predict_classes(TILES)


def test_what_counts_as_out_of_memory():
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(None, None, "failed to allocate")
    assert all(map(is_out_of_memory, [*OUT_OF_MEMORY, full]))
    assert is_out_of_memory(RuntimeError("OOM when allocating tensor with shape[8,512,512,64]"))
    with pytest.raises(MemoryError) as caught:
        np.empty(2**62, np.uint8)
    assert is_out_of_memory(caught.value)
    other = tf.errors.InvalidArgumentError(None, None, "shapes differ")
    assert not any(map(is_out_of_memory, [*OTHERS, other, KeyError("RESOURCE")]))
