"""Cards of classifiers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from segmentation.bundle import CLASSIFICATION, BundleError, Card, ClassInfo
from segmentation.classification.images import RESIZE
from segmentation.classification.scorer import WHOLE_IMAGE
from segmentation.networks.memory import activation_bytes
from segmentation.packing import SOFTWARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def classifier_card(
    model: Any,
    classes: Sequence[ClassInfo],
    *,
    intensity: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
) -> Card:
    """Card of a network that gives one class to an image.

    Parameters
    ----------
    model : keras.Model
        Input (batch, y, x, channels) of one size, output (batch, classes), probabilities.
    classes : sequence of ClassInfo
        By label; none of them is a background.
    intensity, training
        See `segmentation.bundle.Card`. Percentiles are those of each image.

    Raises
    ------
    BundleError
        If the network has another form.
    """
    source, result = tuple(model.input_shape), tuple(model.output_shape)
    if len(source) != 4 or None in source[1:] or result[1:] != (len(classes),):
        raise BundleError(
            f"the network has the input {source} and the output {result}; a classifier of "
            f"{len(classes)} classes takes (batch, y, x, channels) of one size and gives "
            f"(batch, {len(classes)})"
        )
    size = (int(source[1]), int(source[2]))
    return Card(
        classes=tuple(classes),
        axes="yx",
        channels=int(source[3]),
        head="softmax",
        intensity=dict(intensity),
        stride=WHOLE_IMAGE.stride,
        halo=WHOLE_IMAGE.halo,
        exact=WHOLE_IMAGE.exact,
        inexact_reasons=WHOLE_IMAGE.reasons,
        tile=size,
        activation_bytes=activation_bytes(model),
        training=dict(training or {}),
        versions={name: version(name) for name in SOFTWARE},
        task=CLASSIFICATION,
        image_size=size,
        resize=RESIZE,
    )
