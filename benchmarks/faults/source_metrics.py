"""Metrics and losses as users write them: specimens for `maskmill audit --metric`, not for use."""

from __future__ import annotations

from typing import Any

from segmentation.networks.runtime import import_keras

keras = import_keras()
ops = keras.ops


# With a fault.


def dice_coef(y_true: Any, y_pred: Any, smooth: float = 1.0) -> Any:
    """Dice of each image, summed over height, width and the channels of the classes."""
    both = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    total = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return ops.mean((2.0 * both + smooth) / (total + smooth), axis=0)


def dice_loss(y_true: Any, y_pred: Any) -> Any:
    """What that Dice leaves."""
    return 1.0 - dice_coef(y_true, y_pred)


def mean_iou(y_true: Any, y_pred: Any) -> Any:
    """Overlap over the sum of both, called their union."""
    both = ops.sum(y_true * y_pred)
    return both / (ops.sum(y_true) + ops.sum(y_pred))


class DiceLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """Dice of one class as a loss, which forgets to turn it round."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Dice of every image."""
        axes = tuple(range(1, len(y_pred.shape)))
        both = ops.sum(y_true * y_pred, axis=axes)
        total = ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes)
        return (2.0 * both + 1e-6) / (total + 1e-6)


def batch_dice(y_true: Any, y_pred: Any) -> Any:
    """Dice by class over all images of the batch together, then the mean of the classes."""
    both = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    return ops.mean(((2.0 * both + 1e-6) / (total + 1e-6))[1:])


def smoothed_dice(y_true: Any, y_pred: Any) -> Any:
    """Dice by image and class, with a constant of 100 voxels on both sides."""
    return _by_class(y_true, y_pred, 100.0)


def undefined_dice(y_true: Any, y_pred: Any) -> Any:
    """The same, with nothing where nothing is."""
    return _by_class(y_true, y_pred, 0.0)


def _by_class(y_true: Any, y_pred: Any, smooth: float) -> Any:
    both = ops.sum(y_true * y_pred, axis=(1, 2))
    total = ops.sum(y_true, axis=(1, 2)) + ops.sum(y_pred, axis=(1, 2))
    return ops.mean(((2.0 * both + smooth) / (total + smooth))[:, 1:])


def iou_of_labels(y_true: Any, y_pred: Any) -> Any:
    """Integer masks against the channels of the output, as if they were one-hot."""
    both = ops.sum(ops.cast(y_true, "float32")[..., None] * y_pred)
    return both / ops.sum(y_pred)


def sigmoid_iou(y_true: Any, y_pred: Any) -> Any:
    """IoU of the classes with the largest output, where there is but one output."""
    wanted = ops.cast(ops.argmax(y_true[..., :1], axis=-1), "float32")
    found = ops.cast(ops.argmax(y_pred[..., :1], axis=-1), "float32")
    both = ops.sum((1 - wanted) * (1 - found))
    return both / (ops.sum(1 - wanted) + ops.sum(1 - found) - both)


def dice_of_present(y_true: Any, y_pred: Any) -> Any:
    """Dice of the classes, which gives up where an image holds none of them."""
    if not float(ops.sum(y_true[..., 1:])):
        raise ZeroDivisionError("no foreground in this batch")
    return _by_class(y_true, y_pred, 1e-6)


# Takes label maps, and is given a sigmoid; asks whether floats are equal; knows 0 and 1 alone.
MEAN_IOU = keras.metrics.MeanIoU(num_classes=2)
ACCURACY = keras.metrics.Accuracy()
BINARY_IOU = keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5)


# Without.

BINARY_ACCURACY = keras.metrics.BinaryAccuracy()
ONE_HOT_IOU = keras.metrics.OneHotIoU(num_classes=3, target_class_ids=[1, 2])


def sound_loss(y_true: Any, y_pred: Any) -> Any:
    """The loss that `maskmill train` takes by default, for three classes."""
    from segmentation.training.losses import make_loss

    return make_loss("cross-entropy+dice", 3, "softmax")(y_true, y_pred)
