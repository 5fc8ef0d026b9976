"""Any metric or loss, run on probes in every layout it may take."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.audit.probe_fixtures import Probe, further_probes, trial_probes
from segmentation.audit.probe_layouts import Layout, Masks, Output
from segmentation.audit.probe_reading import ProbeResult, Reading
from segmentation.audit.probe_subject import ProbeError, Subject
from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

# Class counts to try of a function that does not say how many it takes.
CLASS_COUNTS = (5, 2, 3, 4, 6, 7, 8, 9, 10)
# Layouts with several classes, in the order in which findings name them.
FAMILIES: tuple[tuple[Masks, Output], ...] = (
    ("one-hot", "channels"),
    ("integer", "channels"),
    ("integer", "labels"),
    ("integer plane", "channels"),
)
# Numbers of classes with which it runs, and knows no right prediction: there is none to be found.
ENOUGH = 2
# How near logits must come to the ideal, where probabilities do not.
NEAR = 0.01


def run_probes(subject: Subject) -> tuple[ProbeResult, ...]:
    """Run a metric or loss on the probes of every layout, its own number of classes found out.

    It is called as Keras calls it: a function on every batch, and the values of the batches
    are averaged; a metric batch by batch, and asked for its result. It runs in this process.
    A function that takes no tensors is given NumPy arrays.

    Raises
    ------
    ProbeError
        If it raises on every probe, or gives several values instead of one.
    """
    results: tuple[ProbeResult, ...] = ()
    for convert, rows in product((import_keras().ops.convert_to_tensor, np.asarray), (False, True)):
        found = tuple(_all_layouts(subject, convert, rows=rows))
        if any(one.value is not None for one in found):
            return found
        results += found
    raise ProbeError(_nothing_said(subject, results))


def _nothing_said(subject: Subject, results: Sequence[ProbeResult]) -> str:
    shapes = [(one.shape, one.probe.layout.words) for one in results if one.shape]
    if shapes:
        shape, words = shapes[0]
        return (
            f"{subject.name} returns an array of shape {shape} for a batch of two images, given "
            f"{words}; expected one number. Take its mean in the function, or name the element to "
            f"probe, such as {subject.name}[0]"
        )
    errors = dict.fromkeys(f"given {r.probe.layout.words}: {r.error}" for r in results)
    return (
        f"{subject.name} raises on every probe; {next(iter(errors)).rstrip('.')}. Expected a "
        "function of (y_true, y_pred) that gives a number for masks and outputs of shape "
        "(n, y, x, channels)"
    )


def _all_layouts(
    subject: Subject, convert: Callable[[Any], Any], *, rows: bool
) -> Iterator[ProbeResult]:
    declared = subject.num_classes
    counts = CLASS_COUNTS if declared is None else (declared,) if declared > 1 else ()
    layouts = [Layout("plane", "plane", 2, rows=rows)] * (declared is None or declared <= 2)
    results = list(_first_that_fits(subject, convert, layouts))
    for masks, output in FAMILIES[:1] if rows else FAMILIES:
        layouts = [Layout(masks, output, count, rows=rows) for count in counts]
        results += _first_that_fits(subject, convert, layouts)
    yield from results


def _first_that_fits(
    subject: Subject, convert: Callable[[Any], Any], layouts: Sequence[Layout]
) -> tuple[ProbeResult, ...]:
    """Results in the first layout that it recognises, else takes, else in any."""
    ran: list[tuple[ProbeResult, ...]] = []
    for layout in layouts:
        fresh = subject.fresh()
        trial = _trial(fresh, convert, layout)
        if Reading.of(trial).fits:
            return _as_logits(fresh, convert, trial + _further(fresh, convert, layout))
        ran.append(trial)
        taken = [results for results in ran if results[0].value is not None]
        if len(taken) == ENOUGH:
            break
    return max(ran, key=lambda results: results[0].value is not None, default=())


def _trial(
    subject: Subject, convert: Callable[[Any], Any], layout: Layout
) -> tuple[ProbeResult, ...]:
    """Results that tell whether a layout is right; one alone if that has no value."""
    results: list[ProbeResult] = []
    for probe in trial_probes(layout):
        results.append(_ask(subject, convert, probe))
        if results[0].value is None:
            break
    return tuple(results)


def _further(
    subject: Subject, convert: Callable[[Any], Any], layout: Layout
) -> tuple[ProbeResult, ...]:
    return tuple(_ask(subject, convert, probe) for probe in further_probes(layout))


def _as_logits(
    subject: Subject, convert: Callable[[Any], Any], results: tuple[ProbeResult, ...]
) -> tuple[ProbeResult, ...]:
    """Return results on logits instead, where only those bring it to 0 or 1."""
    layout, before = results[0].probe.layout, Reading.of(results)
    if layout.output == "labels" or before.deviation <= NEAR:
        return results
    other = replace(layout, logits=True)
    trial = _trial(subject, convert, other)
    reading = Reading.of(trial)
    meant = reading.fits and reading.rises == before.rises and reading.deviation <= NEAR
    return trial + _further(subject, convert, other) if meant else results


def _ask(subject: Subject, convert: Callable[[Any], Any], probe: Probe) -> ProbeResult:
    batch = probe.layout.batch
    batches = [
        (convert(batch(probe.truth, part)), convert(batch(probe.prediction, part)))
        for part in probe.batches
    ]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = _value(subject, batches)
    # Whatever the user's function raises is the answer that is reported.
    except Exception as error:
        return ProbeResult(probe, None, _first_line(error))
    if value.ndim:
        return ProbeResult(probe, None, f"returned shape {value.shape}", value.shape)
    return ProbeResult(probe, float(value), None)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"


def _value(subject: Subject, batches: Sequence[tuple[Any, Any]]) -> NDArray[np.float64]:
    if subject.kind == "metric":
        subject.call.reset_state()
        for truth, prediction in batches:
            subject.call.update_state(truth, prediction)
        return _chosen(subject, _array(subject.call.result()))
    values = [_of_batch(subject, truth, prediction) for truth, prediction in batches]
    whole: NDArray[np.float64] = np.mean(values, axis=0)
    return whole


def _of_batch(subject: Subject, truth: Any, prediction: Any) -> NDArray[np.float64]:
    value = _chosen(subject, _array(subject.call(truth, prediction)))
    # One value a voxel is what Keras averages; one a sample or a class is not one number.
    per_voxel = value.ndim >= 3 and value.shape[:3] == tuple(truth.shape)[:3]
    return np.asarray(value.mean()) if per_voxel else value


def _array(value: Any) -> NDArray[np.float64]:
    if isinstance(value, dict):
        raise TypeError(f"returned a dictionary of {', '.join(map(str, value))}, not a number")
    if value is None:
        raise TypeError("returned nothing")
    return np.asarray(import_keras().ops.convert_to_numpy(value), np.float64)


def _chosen(subject: Subject, value: NDArray[np.float64]) -> NDArray[np.float64]:
    if subject.element is None:
        return value
    if value.ndim != 1 or not -len(value) <= subject.element < len(value):
        raise IndexError(f"shape {value.shape} has no element {subject.element}")
    return np.asarray(value[subject.element])
