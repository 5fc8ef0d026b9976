"""Sections on what was chosen by what, and on the scores that are left at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.report.document import Cell, Section, Table, Text
from flows.report.numbers import named, score_number
from flows.report.sections_images import distribution
from flows.report.sections_left_out import left_out, sample_sizes
from flows.report.sections_scores import class_scores, confusion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

    Builder = Callable[[Mapping[str, Any], Mapping[int, Color]], Section | None]

ALIKE = "Every fold made its choices by the same rules, on its own parts."
MOST = {"max": "highest", "min": "lowest"}


def tuned(result: Mapping[str, Any], folds: Sequence[Mapping[str, Any]] = ()) -> Section:
    """Return every choice with the part it was made on; of folds `result` is the first."""
    rows = tuple(
        (Cell(what), Cell(part, words=True), Cell(how, words=True))
        for what, part, how in _choices(result, folds or [result])
    )
    words = ALIKE if folds else str(result.get("tuned_on") or "")
    lead = [Text(words)] if words else []
    blocks: list[Block] = [*lead, Table(("Choice", "Made on", "How"), rows)]
    return Section("What was tuned on what", tuple(blocks))


def final_scores(
    scores: Mapping[str, Any], colors: Mapping[int, Color], part: str, *, matrix: bool
) -> list[Section]:
    """Return the scores on a part, class by class, and if `matrix` what was taken for what.

    Parameters
    ----------
    scores : what `segmentation.metrics.summary.summarise` returns
    colors : label value to red, green, blue
    part : str
        Where they were counted, such as "test"; in every heading.
    """
    builders = (class_scores, confusion) if matrix else (class_scores,)
    return _titled(builders, scores, colors, part)


def basis(scores: Mapping[str, Any], colors: Mapping[int, Color], part: str) -> list[Section]:
    """Return what scores on a part rest on: images, specimens, sizes, and what was left out."""
    return _titled((distribution, sample_sizes, left_out), scores, colors, part)


def _titled(
    builders: Sequence[Builder], scores: Mapping[str, Any], colors: Mapping[int, Color], part: str
) -> list[Section]:
    built = [build(scores, colors) for build in builders]
    return [replace(found, title=f"{found.title} ({part})") for found in built if found]


def _choices(
    result: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """Yield what was chosen, the part it was chosen on, and how."""
    network, epochs = result.get("network") or {}, result.get("epochs") or []
    if network.get("pretrained"):
        yield "First weights", "another training", str(network["pretrained"])
    if network.get("frozen"):
        yield "Layers kept as they were", "another training", ", ".join(network["frozen"])
    if epochs:
        ends = [training["epochs"][-1] for training in trainings if training.get("epochs")]
        steps = ", ".join(dict.fromkeys(f"{end['steps']:,}" for end in ends))
        stops = named(list(dict.fromkeys(str(t.get("stopped") or "done") for t in trainings)))
        yield "Weights", "training", f"{steps} of {ends[0]['planned_steps']:,} steps; {stops}"
    yield from _epoch_choice(result, trainings)
    for number, training in enumerate(trainings):
        fold = f", fold {number}" if len(trainings) > 1 else ""
        yield from _recalibration(training.get("recalibration"), fold)
    if result.get("test"):
        yield "Final score", "test", "no choice was made on this part"
    else:
        how = "▲ of the part that the epoch was chosen on: expect less on new images"
        yield "Final score", "validation", how


def _epoch_choice(
    result: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    monitor, best = result.get("monitor"), result.get("best_epoch")
    if not monitor or best is None:
        return
    rule = f"{MOST.get(monitor['direction'], 'best')} {_score_name(monitor['name'])}"
    kept = ", ".join(f"{t['best_epoch']} of {len(t.get('epochs') or ())}" for t in trainings)
    yield "Epoch kept", "validation", f"{kept}: the {rule}"
    if monitor.get("patience"):
        how = f"after {monitor['patience']} epochs without a better one"
        yield "When to stop", "validation", how


def _score_name(monitor: str) -> str:
    """Return the name of a monitored score as it stands elsewhere on the page."""
    plain = {
        "val_macro_foreground_dice": "macro-foreground Dice",
        "val_cross_entropy": "cross-entropy",
    }
    of_class = f"Dice of {monitor.removeprefix('val_dice_')}"
    return plain.get(monitor, of_class if monitor.startswith("val_dice_") else monitor)


def _recalibration(found: Mapping[str, Any] | None, fold: str) -> Iterator[tuple[str, str, str]]:
    """Yield what became of the stored averages of batch normalisation."""
    if not found:
        return
    values = [found.get("before"), found.get("after")]
    change = " → ".join("undefined" if v is None else score_number(v) for v in values)
    outcome = f"counted anew, macro-foreground Dice {change}: "
    if not found["helped"]:
        outcome += "left as they were"
    elif found.get("bundle"):
        outcome += f"in a bundle of its own, {found['bundle']}; the scores here are without"
    else:
        outcome += "taken"
    yield f"Batch normalisation{fold}", "training; taken or not on validation", outcome
