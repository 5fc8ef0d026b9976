"""Findings on whether a prediction depends on anything but its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.model_calibration import outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras
    from numpy.typing import NDArray

    from segmentation.audit.thresholds import ModelThresholds

# Images that are looked at together: enough to tell, few enough to be quick.
TOGETHER = 4
# Other batches add in another order. That moves outputs about as far as the smallest change of
# the images does, which large weights amplify alike; measured: 0.1 to 0.8 of it.
ROUNDINGS = 4


def repeat_findings(
    model: keras.Model, batches: Sequence[NDArray[np.float32]], thresholds: ModelThresholds
) -> list[Finding]:
    """The same images twice, alone, and in other company.

    Parameters
    ----------
    model : keras.Model
        Its variables may change where it keeps statistics in use; the caller restores them.
    batches : sequence of float32, shape (batch, *spatial, channels)
        Normalised images of one size; the first few are used.
    thresholds : ModelThresholds
        When a finding is made.
    """
    images = np.concatenate([*batches], dtype=np.float32)[:TOGETHER]
    first, again = outputs_of(model, images), outputs_of(model, images)
    apart = _difference(first, again)
    if apart > 0:
        return list(_changing(apart, first, again))
    found = _in_other_company(model, images, first)
    allowed = thresholds.batch_difference
    if max(found.values()) > allowed:
        allowed = max(allowed, ROUNDINGS * _rounding(model, images, first))
    return list(_dependent(found, allowed))


def _rounding(model: keras.Model, images: NDArray[np.float32], first: NDArray[Any]) -> float:
    """Largest change of an output if every intensity moves on to the next float32."""
    return _difference(first, outputs_of(model, np.nextafter(images, np.float32(np.inf))))


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a - b).max())


def _in_other_company(
    model: keras.Model, images: NDArray[np.float32], together: NDArray[np.float32]
) -> dict[str, float]:
    """Largest change of an output, by what the images were shown with."""
    alone = np.concatenate([outputs_of(model, images[i : i + 1]) for i in range(len(images))])
    empty = np.zeros_like(images)
    empty[0] = images[0]
    beside = outputs_of(model, empty)[:1]
    return {
        "alone, and with others": _difference(alone, together),
        "beside empty images, and with others": _difference(beside, together[:1]),
    }


def _dependent(found: dict[str, float], allowed: float) -> Iterator[Finding]:
    worst = max(found.values())
    if worst <= allowed:
        return
    yield Finding(
        code="INFER-BATCH-DEPENDENT",
        severity="error",
        statement="What the network says of an image depends on the images computed with it: "
        f"probabilities change by up to {worst:.2g}.",
        rule=f"The same image alone and in a batch may differ by {allowed:.2g}, "
        f"which is rounding; it differs by {worst:.2g}.",
        advice="Leave out operations that mix the images of a batch, such as a mean over the first "
        "axis or normalisation by the batch, and pack the network again with `maskmill pack`.",
        proves_not="That single predictions are bad; they cannot be repeated, which is bad enough.",
        evidence=(
            Table(
                "Largest difference of a probability",
                ("same image", "difference"),
                tuple(found.items()),
            ),
        ),
    )


def _changing(apart: float, first: NDArray[Any], again: NDArray[Any]) -> Iterator[Finding]:
    changed = float((np.abs(first - again) > 0).mean())
    yield Finding(
        code="INFER-NONDETERMINISTIC",
        severity="warning",
        statement="Shown the same images twice the network answers differently: probabilities "
        f"change by up to {apart:.2g}.",
        rule=f"Two predictions of the same images on the same machine must be equal; "
        f"{changed:.1%} of the outputs differ.",
        advice="Leave out layers that draw random numbers in use, and pack the network again with "
        "`maskmill pack`; without such a layer it is the device: compare with `maskmill segment "
        "--gpus-per-worker 0`.",
        proves_not="That it is wrong on average: the mean of many such predictions may be good.",
        evidence=(
            Table(
                "The same images twice",
                ("measured", "value"),
                (("largest difference", apart), ("share of outputs that differ", changed)),
            ),
        ),
    )
