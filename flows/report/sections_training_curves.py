"""Sections on how a network learned: the curves of a training and its epochs in numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flows.report.charts import score_span
from flows.report.classes import drawn, score_cell
from flows.report.curves import CurvePlot, curve_legend, curve_plot, span_from_zero
from flows.report.document import NARROW, Cell, Chart, Charts, Section, Table, Text, chart
from flows.report.numbers import quantity, signed
from flows.report.training_curves import (
    all_scores,
    class_dice_of,
    cross_entropy_of,
    curves_of,
    drawn_curves,
    epochs_per_point,
    line_of,
    macro_of,
    ranges,
    score_at,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.lines import Series
    from flows.report.training_curves import Epoch

LONGEST_LIST = 40  # epochs in numbers; of more every n-th is listed


def learning_curves(result: Mapping[str, Any]) -> Section | None:
    """Return the four curves as a whole and class by class, cross-entropy, loss and its rate."""
    epochs: list[Epoch] = result.get("epochs") or []
    if not epochs:
        return None
    best = result.get("best_epoch")
    blocks: list[Block] = [Text(sentence) for sentence in _reading(result, epochs)]
    blocks += _binned(epochs)
    blocks += [_macro(epochs, best), *_per_class(result, epochs, best), *_losses(epochs, best)]
    blocks.append(_numbers(epochs, best))
    return Section("Learning curves", tuple(blocks), _terms(epochs))


def fold_curves(result: Mapping[str, Any]) -> Section | None:
    """Return the curves of every fold, in small drawings of one scale."""
    folds = [(n, fold) for n, fold in enumerate(result["folds"]) if fold.get("epochs")]
    if not folds:
        return None
    every = [epoch for _, fold in folds for epoch in fold["epochs"]]
    span, name = score_span(all_scores(every, macro_of)), "Macro-foreground Dice"
    drawings = tuple(
        _small(
            CurvePlot(curves_of(fold["epochs"], macro_of), name, span, fold.get("best_epoch")),
            f"{name} of fold {number}",
            f"fold {number}",
        )
        for number, fold in folds
    )
    blocks: list[Block] = [Text(s) for s in _reading(folds[0][1] | {"best_epoch": None}, every)]
    blocks += [_legend(curves_of(every, macro_of)), Charts(drawings)]
    return Section("Learning curves", tuple(blocks), _terms(every))


def _reading(result: Mapping[str, Any], epochs: Sequence[Epoch]) -> list[str]:
    """Say which curves can be compared, by how much one lags, and how far two lie apart."""
    sentences = [
        "Training and validation are scored after an epoch with the same weights, so the two can "
        "be compared."
    ]
    if "train_running" in dict(drawn_curves(epochs)):
        sentences.append(_lag(result.get("steps_per_epoch")))
    best = next((e for e in epochs if e["epoch"] == result.get("best_epoch")), None)
    pair = [score_at(best, key, macro_of) if best else None for key in ("train_eval", "val")]
    if best and pair[0] is not None and pair[1] is not None:
        sentences.append(
            f"With the weights of epoch {best['epoch']}, which were kept, training minus "
            f"validation is {signed(pair[0] - pair[1])}."
        )
    return [" ".join(sentences)]


def _lag(steps: int | None) -> str:
    """Say by how many steps the running average lags, in numbers."""
    words = "Training, running is what a progress bar shows, counted while the weights change"
    if not steps:
        return f"{words}, and lags behind."
    behind = (steps + 1) / 2
    return (
        f"{words}: with n = {steps:,} steps an epoch it lags by (n + 1) / 2 = {quantity(behind)} "
        f"steps, {quantity(round(behind / steps, 3))} of an epoch."
    )


def _binned(epochs: Sequence[Epoch]) -> list[Block]:
    width = epochs_per_point(epochs)
    if width == 1:
        return []
    words = f"Each point stands for {width} neighbouring epochs: their mean; the upright strokes "
    return [Text(f"{words}run from the lowest to the highest of them.", soft=True)]


def _macro(epochs: Sequence[Epoch], best: int | None) -> Charts:
    name, span = "Macro-foreground Dice", score_span(all_scores(epochs, macro_of))
    says = f"{name} over the epochs: {ranges(curves_of(epochs, macro_of))}"

    def draw(width: float) -> str:
        series = curves_of(epochs, macro_of, short=width <= NARROW)
        return curve_plot(CurvePlot(series, name, span, best), says, width)

    return Charts((chart(draw),), wide=True)


def _per_class(result: Mapping[str, Any], epochs: Sequence[Epoch], best: int | None) -> list[Block]:
    """Return a small drawing per class, all of one scale, under one legend."""
    classes, remark = drawn(result["validation"])
    readers = [(entry["name"], partial(class_dice_of, value=entry["value"])) for entry in classes]
    values = [value for _, read in readers for value in all_scores(epochs, read)]
    if not values:
        return []
    span = score_span(values)
    drawings = tuple(
        _small(CurvePlot(curves_of(epochs, read), "Dice", span, best), f"Dice of {name}", name)
        for name, read in readers
    )
    lead = [Text(remark)] if remark else []
    return [*lead, _legend(curves_of(epochs, macro_of)), Charts(drawings)]


def _losses(epochs: Sequence[Epoch], best: int | None) -> list[Block]:
    """Return cross-entropy as four curves, loss and learning rate as one each."""
    lines = [
        ("Cross-entropy (nats)", curves_of(epochs, cross_entropy_of)),
        ("Loss, running", (line_of(epochs, "loss", "loss"),)),
        ("Learning rate", (line_of(epochs, "learning_rate", "learning rate"),)),
    ]
    drawings = []
    for name, series in lines:
        known = [point.y for line in series for point in line.points if point.y is not None]
        if known:
            plot = CurvePlot(series, name, span_from_zero(known), best)
            drawings.append(_small(plot, name))
    return [Charts(tuple(drawings))] if drawings else []


def _small(plot: CurvePlot, what: str, caption: str = "") -> Chart:
    says = f"{what} over the epochs: {ranges(plot.series)}"
    return Chart(curve_plot(plot, says, NARROW, named=False), caption=caption)


def _legend(series: Sequence[Series]) -> Charts:
    return Charts((chart(partial(curve_legend, series)),), wide=True)


def _numbers(epochs: Sequence[Epoch], best: int | None) -> Table:
    """Return the epochs in numbers, folded; of very many every n-th, the kept one and the last."""
    step, last = -(-len(epochs) // LONGEST_LIST), len(epochs) - 1
    shown = [e for n, e in enumerate(epochs) if n % step == 0 or e["epoch"] == best or n == last]
    curves = drawn_curves(epochs)
    rows = tuple(
        (
            Cell(f"{epoch['epoch']:,}", note="kept" if epoch["epoch"] == best else ""),
            *[_number(epoch.get(key)) for key in ("steps", "seconds", "learning_rate", "loss")],
            *[score_cell(score_at(epoch, key, macro_of)) for key, _ in curves],
        )
        for epoch in shown
    )
    names = [name for _, name in curves]
    heads = ("Epoch", "Steps so far", "Seconds so far", "Learning rate", "Loss", *names)
    some = "" if step == 1 else f", every {step} of {len(epochs):,}"
    caption = f"Epochs in numbers{some}: macro-foreground Dice of every curve"
    return Table(heads, rows, caption, folded=True)


def _number(value: float | None) -> Cell:
    return Cell("–" if value is None else quantity(value))


def _terms(epochs: Sequence[Epoch]) -> tuple[str, ...]:
    entropy = ("cross_entropy",) if all_scores(epochs, cross_entropy_of) else ()
    return ("macro", *[key for key, _ in drawn_curves(epochs)], *entropy)
