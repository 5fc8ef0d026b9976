"""One training, or the folds of one, as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.blocks import render_section
from flows.report.contents import terms
from flows.report.page import contents, definition_list, whole_page
from flows.report.sections_scores import findings
from flows.report.sections_training_curves import fold_curves, learning_curves
from flows.report.sections_training_folds import fold_scores
from flows.report.sections_training_pictures import (
    class_legend,
    predictions_section,
    samples_section,
)
from flows.report.sections_training_scores import basis, final_scores, tuned
from flows.report.sections_training_split import fold_split, sampling, split_table
from flows.report.training_verdict import origin, scored_part, verdict
from flows.report.words import warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Section
    from flows.report.png import Color, Picture
    from flows.report.sample_sheet import Sheet


def render_training(
    result: Mapping[str, Any],
    *,
    title: str,
    samples: Sequence[Sheet] = (),
    predictions: Sequence[Picture] = (),
    ignored: bool = False,
) -> str:
    """Render a training as a page that needs no other file and no network.

    Parameters
    ----------
    result : the document of a training, or of its folds
        A section is shown where there is something for it.
    title : str
    samples : sequence of Sheet
        Samples beside their augmented versions; of folds those of the first.
    predictions : sequence of Picture
        Slices of the validation part after several epochs; of folds those of the first.
    ignored : bool
        Pictures hold voxels without a class, in grey.

    Returns
    -------
    str
        The HTML document; every string from outside is escaped.
    """
    folds = bool(result.get("folds"))
    colors = class_colors(result)
    names = [str(entry["name"]) for entry in result["classes"]]
    legend = class_legend(names, colors, ignored=ignored)
    pictures = [
        predictions_section(predictions, legend, len(names)),
        samples_section(samples, legend),
    ]
    build = _fold_sections if folds else _sections
    shown = [section for section in build(result, names, colors, pictures) if section]
    body = [*verdict(result), *contents(shown)]
    body += [render_section(section, colors) for section in shown]
    ending = [*origin(result), *definition_list(terms(scored_part(result)[1], shown))]
    return whole_page(title, [*body, *ending])


def class_colors(result: Mapping[str, Any]) -> dict[int, Color]:
    """Return the colours of the classes that have one and can be seen through it."""
    return {
        entry["value"]: tuple(entry["color"][:3])
        for entry in result["classes"]
        if entry.get("color") and any(entry["color"][3:] or (1,))
    }


def _sections(
    result: Mapping[str, Any],
    names: Sequence[str],
    colors: Mapping[int, Color],
    pictures: Sequence[Section | None],
) -> Iterator[Section | None]:
    """Yield the sections of one training, in their order."""
    part, final = scored_part(result)
    predictions, samples = pictures
    yield findings({**final, "findings": _found(result, final)}, colors)
    yield tuned(result)
    yield from final_scores(final, colors, part, matrix=True)
    if part == "test":
        yield from final_scores(result["validation"], colors, "validation", matrix=False)
    yield learning_curves(result)
    yield predictions
    yield split_table(result)
    yield sampling(result, names)
    yield samples
    yield from basis(final, colors, part)


def _found(result: Mapping[str, Any], final: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return findings, weightiest first, and warnings of the scores where none is about them."""
    weights = ("error", "warning", "warn", "info")
    found = sorted(result.get("findings") or (), key=lambda e: _place(weights, e["severity"]))
    if any(str(entry["code"]).startswith("EVAL-") for entry in found):
        return found
    more = [{"code": "", "severity": "warning", "statement": text} for text in warnings(final)]
    return [*found, *more]


def _place(weights: Sequence[str], severity: Any) -> int:
    word = str(severity).lower()
    return weights.index(word) if word in weights else len(weights)


def _fold_sections(
    result: Mapping[str, Any],
    names: Sequence[str],
    colors: Mapping[int, Color],
    pictures: Sequence[Section | None],
) -> Iterator[Section | None]:
    """Yield the sections of folds, in their order."""
    final, first = result["out_of_fold"], result["folds"][0]
    predictions, samples = pictures
    yield findings({**final, "findings": _found(result, final)}, colors)
    yield fold_scores(result, colors)
    yield tuned(first, folds=result["folds"])
    yield from final_scores(final, colors, "out of fold", matrix=True)
    yield fold_curves(result)
    yield predictions
    yield fold_split(result)
    yield sampling(first, names)
    yield samples
    yield from basis(final, colors, "out of fold")
