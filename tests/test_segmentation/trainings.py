"""Small trainings that several tests share."""

import numpy as np
from scipy import ndimage

from segmentation.networks.unet import build_unet
from segmentation.normalize import IntensityTransform
from segmentation.region import Region
from segmentation.training.fit import prepare_training
from segmentation.training.monitor import resolve_monitor
from segmentation.training.samples import TrainingVolume
from segmentation.training.scorer import TrainingParts
from segmentation.training.settings import TrainSettings

TRANSFORM = IntensityTransform((0.0,), (200.0,))
NAMES = ("grey", "dark", "bright")
MONITOR = resolve_monitor("val_macro_foreground_dice", None, NAMES)
QUICK = TrainSettings(
    crop=(32, 32),
    batch_size=4,
    steps=60,
    steps_per_epoch=20,
    learning_rate=1e-2,
    class_share=0.7,
    class_weights="sqrt",
    augment="flips",
)


def blobs(shape, seed=0):
    """Bright and dark blobs on grey: three classes that a small network tells apart."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), (0,) * (len(shape) - 2) + (4, 4))
    smooth /= smooth.std()
    label = np.digitize(smooth, [-1.0, 1.0]).astype(np.uint8)
    label = np.array([1, 0, 2], np.uint8)[label]
    image = np.array([100, 40, 160])[label] + rng.normal(0, 15, shape)
    return image.clip(0, 255).astype(np.uint8), label


def volume(part, shape=(6, 64, 64), **options):
    """Sections of such a stack."""
    image, label = blobs(shape)
    region = Region((part.start, *(0,) * (len(shape) - 1)), (part.stop, *shape[1:]))
    return TrainingVolume(image, label, region, TRANSFORM, name="stack", group="a", **options)


def small_unet(axes="yx", **options):
    """A U-Net of a few hundred weights."""
    return build_unet(axes, channels=1, num_classes=3, width=4, depth=1, **options)


TRAINING, VALIDATION = volume(slice(0, 4)), volume(slice(4, 6))
PARTS = TrainingParts((TRAINING,), (VALIDATION,))


def prepared(settings=QUICK, *, model=None, parts=PARTS, num_classes=3):
    """A training before its first step."""
    return prepare_training(
        model or small_unet(), parts, num_classes=num_classes, settings=settings
    )
