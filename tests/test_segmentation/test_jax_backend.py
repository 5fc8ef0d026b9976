"""Keras on JAX, in a process of its own: the same probabilities, and a training that steps."""

import os
import subprocess
import sys

import numpy as np
import pytest

from segmentation.networks.model_file import write_model
from segmentation.networks.unet import build_unet
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

from segmentation.networks.model_file import read_model
from segmentation.networks.runtime import import_keras
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive
from segmentation.training.fit import train
from tests.test_segmentation.trainings import MONITOR, QUICK, prepared
from dataclasses import replace

assert import_keras().backend.backend() == "jax"
folder = Path(sys.argv[1])
model = read_model(folder / "model.keras")
predictor = NetworkPredictor(model, head="softmax", geometry=derive(model))
tiles = np.load(folder / "tiles.npy")
np.save(folder / "jax.npy", predictor.predict_probabilities(tiles))
np.save(folder / "classes.npy", predictor.predict_classes(tiles))
training = prepared(replace(QUICK, steps=4, steps_per_epoch=2))
result = train(training, MONITOR, folder=folder)
print(*(epoch.loss for epoch in result.epochs))
"""


@pytest.mark.slow
def test_jax_predicts_the_same_and_trains(tmp_path):
    model = build_unet("yx", channels=1, num_classes=3, width=4, depth=2)
    write_model(model, tmp_path / "model.keras")
    tiles = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    np.save(tmp_path / "tiles.npy", tiles)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(float, done.stdout.split())
    assert np.isfinite([first, second]).all()
    predictor = NetworkPredictor(model, head="softmax", geometry=derive(model))
    expected = predictor.predict_probabilities(tiles)
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), expected, atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "classes.npy"), expected.argmax(-1))
    assert (tmp_path / "checkpoint.npz").is_file()
