"""Bytes of activations: by hand, and against a process that runs the network."""

import subprocess
import sys

import pytest

from segmentation.networks.memory import (
    ALLOCATOR_OVERHEAD,
    LOW_PRECISION_SHARE,
    activation_bytes,
    training_bytes,
)
from tests.test_segmentation.networks import layers, network

MEASURE = """
import sys
import numpy as np
from segmentation.networks.inference import inference_network
from segmentation.networks.memory import activation_bytes
from segmentation.networks.runtime import configure
from segmentation.networks.unet import build_unet
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

configure(2)
axes, extent, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = build_unet(axes, channels=1, num_classes=5, width=width, depth=3)
geometry = derive(model)
network = inference_network(model, geometry.stride, precision=sys.argv[4])
predictor = NetworkPredictor(network, head="softmax", geometry=geometry)
predictor.predict_classes(np.zeros((1, *(16,) * len(axes), 1), np.float32))
image = np.zeros((1, *(extent,) * len(axes), 1), np.float32)
before = peak()
predictor.predict_classes(image)
print((peak() - before) / image.size, activation_bytes(model))
"""


def test_bytes_by_hand():
    # The second convolution reads 8 features and makes 4, and copies both: 2 x 12 numbers of 4
    # bytes for every voxel. The pooled tensors are a quarter as large and never the peak.
    body = [
        layers.Conv2D(8, 3, padding="same"),
        layers.Conv2D(4, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.UpSampling2D(2),
    ]
    assert activation_bytes(network(*body)) == 2 * 12 * 4 * ALLOCATOR_OVERHEAD


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("arguments", ["yx 512 16", "yx 1024 16", "zyx 96 8"])
def test_the_estimate_is_above_the_measured_peak_and_below_twice_it(arguments):
    measured, estimated = measure(arguments, "float32")
    assert measured <= estimated <= 2 * measured


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
# TensorFlow has no pooling of float16 in three dimensions on CPUs.
@pytest.mark.parametrize(
    ("arguments", "precision"),
    [("yx 1024 16", "bfloat16"), ("zyx 96 8", "bfloat16"), ("yx 1024 16", "float16")],
)
def test_a_lower_precision_stays_within_its_share(arguments, precision):
    measured, estimated = measure(arguments, precision)
    assert measured <= LOW_PRECISION_SHARE * estimated


def measure(arguments, precision):
    """Measured and estimated bytes of a voxel; the estimate is that of float32."""
    command = [sys.executable, "-c", MEASURE, *arguments.split(), precision]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    assert output.stderr == ""
    return map(float, output.stdout.split())


def test_bytes_of_a_training_step_by_hand():
    # Kept per voxel: image 1, convolution 8, its ReLU 8, pooled 8 / 4, repeated 8, head 2: 29.
    # The widest step is the ReLU, 8 in and 8 out, times 3; 8 copies of the 2 probabilities.
    body = [
        layers.Conv2D(8, 3, padding="same"),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.UpSampling2D(2),
    ]
    model = network(*body)
    weights = (9 * 8 + 8) + (8 * 2 + 2)
    voxels = 3 * 64 * 32
    expected = voxels * (29 + 3 * 16 + 8 * 2) * 4 * ALLOCATOR_OVERHEAD + 4 * 4 * weights
    assert training_bytes(model, (64, 32), 3) == expected


MEASURE_TRAINING = """
import sys
import numpy as np
from segmentation.networks.memory import training_bytes
from segmentation.networks.presets import build_network
from segmentation.networks.runtime import configure, import_keras
from segmentation.training.losses import make_loss

def memory(kind):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))

def step(extent, batch):
    shape = (batch, *(extent,) * len(axes))
    model.train_on_batch(np.zeros((*shape, 1), np.float32), np.zeros(shape, np.uint8))

configure(2)
preset, axes, extent, width, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
model = build_network(preset, axes, channels=1, num_classes=2, width=width, depth=3)
head = "sigmoid" if model.output_shape[-1] == 1 else "softmax"
model.compile(
    import_keras().optimizers.AdamW(1e-3), make_loss("cross-entropy+dice", 2, head),
    jit_compile=False,
)
step(8, 1)
before = memory("VmRSS")
step(extent, batch)
step(extent, batch)
print(memory("VmHWM") - before, training_bytes(model, (extent,) * len(axes), batch))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        "default yx 256 16 4",
        "default zyx 64 8 2",
        "unet4 yx 256 16 3",
        "unet-one-class yx 192 24 3",
    ],
)
def test_the_estimate_of_a_step_is_above_the_measured_peak_and_not_far(arguments):
    command = [sys.executable, "-c", MEASURE_TRAINING, *arguments.split()]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    assert output.stderr == ""
    measured, estimated = map(int, output.stdout.split())
    assert measured <= estimated <= 2.5 * measured
