"""Findings on BatchNorm: whether the statistics it kept give other classes than the images' own.

Only predictions count. Statistics of layers may be far off without harm, and stand as evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Severity, Table
from segmentation.audit.model_calibration import Calibration, answers, score
from segmentation.audit.model_norm_layers import (
    RECALIBRATE,
    LayerRow,
    dropout_findings,
    layer_rows,
    layer_table,
)
from segmentation.networks.graph import read_graph
from segmentation.networks.variants import has_batch_norm
from segmentation.training.recalibration import recalibrated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

    from segmentation.audit.thresholds import ModelThresholds


@dataclass(frozen=True, slots=True)
class Comparison:
    """Predictions of a network before and after its BatchNorm statistics were taken anew.

    Attributes
    ----------
    before, after : float or None
        Score, None without truth.
    changed : float
        Share of voxels, or of images, that get another class.
    measure, unit : str
        What the score is, and what is counted.
    shares : tuple of (tuple of float)
        Shares of the classes in the predictions, before and after.
    """

    before: float | None
    after: float | None
    changed: float
    measure: str
    unit: str
    shares: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def gain(self) -> float | None:
        """How much better the score is afterwards."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


def compare(
    model: keras.Model,
    other: keras.Model,
    calibration: Calibration,
    *,
    class_names: Sequence[str],
    head: str,
) -> Comparison:
    """Predictions of two networks on the same images."""
    old, new = (answers(one, calibration.batches, head) for one in (model, other))
    pairs = list(zip(old.classes, new.classes, strict=True))
    changed = sum(int((a != b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)
    return Comparison(
        score(old.classes, calibration, class_names),
        score(new.classes, calibration, class_names),
        changed,
        calibration.measure,
        calibration.unit,
        (
            tuple(old.shares(len(class_names)).tolist()),
            tuple(new.shares(len(class_names)).tolist()),
        ),
    )


def batch_norm_findings(
    model: keras.Model,
    calibration: Calibration,
    *,
    class_names: Sequence[str],
    head: str,
    thresholds: ModelThresholds,
    exact: keras.Model | None = None,
) -> list[Finding]:
    """What BatchNorm's kept statistics do to predictions, and where Dropout has bent them.

    Parameters
    ----------
    model : keras.Model
        Its variables stay as they are.
    calibration : Calibration
        Images of all classes, mixed; with truth it can be said which predictions are better.
    class_names : sequence of str
        By value.
    head : "softmax" or "sigmoid"
        How the output is read.
    thresholds : ModelThresholds
        When a finding is made.
    exact : keras.Model or None
        The network with the population's statistics, where it is at hand; made here otherwise.
    """
    if not has_batch_norm(model):
        return []
    try:
        exact = exact or recalibrated(model, calibration.batches)
    except ValueError as error:
        return [_untested(str(error))]
    found = compare(model, exact, calibration, class_names=class_names, head=head)
    layers = layer_rows(model, exact)
    gap = _gap(found, layers, class_names, thresholds)
    return [*gap, *dropout_findings(read_graph(model), layers, thresholds)]


def _untested(reason: str) -> Finding:
    return Finding(
        code="MODEL-BN-GAP",
        severity="info",
        statement=f"Whether BatchNorm's statistics suit these images was not tested: {reason}.",
        rule="The statistics of every BatchNorm layer must be found from the images.",
        advice="Build the network of layers that follow each other, without models nested behind "
        "other layers.",
        proves_not="That anything is wrong.",
        evidence=(Table("Not tested", ("reason",), ((reason,),)),),
    )


def _gap(
    found: Comparison,
    layers: Sequence[LayerRow],
    class_names: Sequence[str],
    thresholds: ModelThresholds,
) -> Iterator[Finding]:
    severity, limit = gap_severity(found, thresholds)
    if severity is None:
        return
    scored = ""
    if found.gain is not None:
        scored = f", and the score ({found.measure}) goes from {found.before:.3f} to "
        scored += f"{found.after:.3f}"
    yield Finding(
        code="MODEL-BN-GAP",
        severity=severity,
        statement="The statistics that BatchNorm kept from training do not fit these images: with "
        f"those of the images {found.changed:.1%} of the {found.unit}s get another class{scored}.",
        rule=f"Predictions with kept statistics against the exact ones of the images: a score "
        f"better by {thresholds.bn_gap_warning:g} (grave from {thresholds.bn_gap_error:g}), or "
        f"another class for more than {limit:.0%} of the {found.unit}s; measured "
        + (f"{found.gain:+.3f} and " if found.gain is not None else "")
        + f"{found.changed:.1%}.",
        advice=_advice(found),
        proves_not="Why: too few training steps, Dropout in front of BatchNorm, or images unlike "
        "those of the training all look like this."
        + (
            ""
            if found.gain is not None
            else " Nor which predictions are better: that takes truth with all classes."
        ),
        evidence=(_shares(found, class_names), layer_table(layers)),
    )


def gap_severity(found: Comparison, thresholds: ModelThresholds) -> tuple[Severity | None, float]:
    """How grave a gap is (None: there is none), and the limit for changed classes.

    Where truth shows that the score gets no better, other classes alone are worth knowing only.
    """
    voxels = found.unit == "voxel"
    limit = thresholds.bn_disagreement if voxels else thresholds.bn_sample_disagreement
    gain = found.gain
    if gain is not None and gain >= thresholds.bn_gap_error:
        return "error", limit
    if gain is not None and gain >= thresholds.bn_gap_warning:
        return "warning", limit
    if found.changed > limit:
        return "warning" if gain is None else "info", limit
    return None, limit


def _advice(found: Comparison) -> str:
    if found.gain is None:
        return f"Find out which is better, and keep the better one: {RECALIBRATE}."
    if found.gain > 0:
        return (
            f"Use the statistics of such images: {RECALIBRATE} writes a new bundle. If they are "
            "images of the training itself, train longer or with fewer Dropout layers."
        )
    return "Keep the bundle as it is: on these images the other statistics are no better."


def _shares(found: Comparison, class_names: Sequence[str]) -> Table:
    rows = zip(class_names, *found.shares, strict=True)
    return Table(
        f"Share of the {found.unit}s that get each class",
        ("class", "kept statistics", "statistics of the images"),
        tuple(rows),
    )
