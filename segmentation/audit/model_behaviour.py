"""All findings on what a network does with images; its variables stay as they are."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from segmentation.audit.model_batch_norm import batch_norm_findings
from segmentation.audit.model_input import scale_findings
from segmentation.audit.model_outputs import output_findings
from segmentation.audit.model_repeat import repeat_findings
from segmentation.networks.runtime import reading_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

    from segmentation.audit.finding import Finding
    from segmentation.audit.model_calibration import Calibration
    from segmentation.audit.thresholds import Thresholds


def behaviour_findings(
    model: keras.Model,
    calibration: Calibration,
    *,
    class_names: Sequence[str],
    head: str,
    thresholds: Thresholds,
    exact: keras.Model | None = None,
) -> list[Finding]:
    """Show a network images, and say what is wrong with its answers.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.
    calibration : Calibration
        Images or crops as the network is shown them, classes mixed; truth if there is any.
    class_names : sequence of str
        By value; for segmentation the background first.
    head : "softmax" or "sigmoid"
        How its output is read.
    thresholds : Thresholds
        When a finding is made.
    exact : keras.Model or None
        The network with BatchNorm statistics of these or such images, where it is at hand.

    Raises
    ------
    GraphError
        If the model has no graph that can be read.
    """
    limits = thresholds.model
    with unchanged(model):
        return [
            *scale_findings(model, calibration.batches, thresholds),
            *repeat_findings(model, calibration.batches, limits),
            *batch_norm_findings(
                model,
                calibration,
                class_names=class_names,
                head=head,
                thresholds=limits,
                exact=exact,
            ),
            *output_findings(
                model, calibration, class_names=class_names, head=head, thresholds=limits
            ),
        ]


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Restore all variables afterwards: a call in training mode moves BatchNorm's statistics."""
    with reading_weights():
        before = model.get_weights()
    try:
        yield
    finally:
        with reading_weights():
            model.set_weights(before)
