"""One classification as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.blocks import flat, render_section
from flows.report.classification_sections import (
    class_scores,
    confusion,
    mistakes,
    probabilities,
    totals,
    unreadable,
)
from flows.report.classification_text import (
    SCORES,
    comparison,
    headline,
    interval_text,
    is_scored,
    remarks,
    value_text,
)
from flows.report.numbers import counted
from flows.report.page import contents, facts, verdict_box, whole_page
from flows.report.safe import html_safe
from flows.report.sections_scores import findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Section
    from flows.report.png import Color, Picture

MEANINGS = (
    ("Sensitivity", "Of the samples of the positive class, the share that was found: its recall."),
    ("Specificity", "Of the samples of the other class, the share that was left alone."),
    ("Balanced accuracy", "Mean of the recalls of all classes: one answer for all has 1 / C."),
    ("Accuracy", "Share of the samples whose class is right; a common class weighs more."),
    (
        "AUROC",
        "Chance that a sample of the positive class has a higher probability than another one; "
        "ties count one half. Of more than two classes the mean, each against the rest.",
    ),
    ("Precision", "Of the samples called the class, the share that is of it."),
    ("Recall", "Of the samples of the class, the share that was called it."),
    ("F1", "2 precision × recall / (precision + recall)."),
    (
        "ECE",
        "Mean distance of the probability from the share that came true, over bins of about equal "
        "numbers; 0 is best. Few samples make it larger.",
    ),
    (
        "Wilson, MOVER, Newcombe",
        "Intervals for independent samples: of a share, of a mean of shares, of an AUROC.",
    ),
    (
        "Cluster bootstrap",
        "Interval for samples that hang together: whole groups are drawn again and again.",
    ),
)


def render_classification(
    result: Mapping[str, Any],
    *,
    title: str,
    provenance: Mapping[str, Any],
    roc: Sequence[tuple[float, float]] = (),
    pictures: Sequence[Picture] = (),
    colors: Mapping[int, Color] | None = None,
) -> str:
    """Render a classification as a page that needs no other file and no network.

    Parameters
    ----------
    result : the content of result.json
        A section is shown where there is something for it.
    title : str
    provenance : nested mapping
        What the predictions were made from; shown as dotted names and values.
    roc : sequence of (float, float)
        False and true positive rate of the positive class; none where it cannot be drawn.
    pictures : sequence of Picture
        Of the worst mistakes.
    colors : class value to red, green, blue, optional

    Returns
    -------
    str
        The HTML document; every string from outside is escaped.
    """
    palette = colors or {}
    shown = [section for section in _sections(result, palette, roc, pictures) if section]
    body = [*_verdict(result), *contents(shown)]
    body += [render_section(section, palette) for section in shown]
    ending = [*facts("Provenance", list(flat(provenance)))]
    ending += [*facts("What the scores mean", MEANINGS if is_scored(result) else ())]
    return whole_page(title, [*body, *ending])


def _sections(
    result: Mapping[str, Any],
    colors: Mapping[int, Color],
    roc: Sequence[tuple[float, float]],
    pictures: Sequence[Picture],
) -> Iterator[Section | None]:
    yield findings(result, colors)
    yield totals(result)
    yield class_scores(result)
    yield confusion(result)
    yield probabilities(result, colors, roc)
    yield mistakes(result, pictures)
    yield unreadable(result)


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the one number to judge by, large, the others beside it, and what to know."""
    if not is_scored(result):
        note = "No truth was given: this page shows what was predicted, not how well."
        yield from verdict_box("Samples classified", f"{result['samples']:,}", note)
    else:
        first, *others = [(key, name) for key, name in SCORES if key in result]
        score = result[first[0]]
        note = interval_text(score) or score["note"] or ""
        beside = [(name, value_text(result[key])) for key, name in others]
        yield from verdict_box(first[1], value_text(score), note, beside)
        yield f'<p class="trust">{html_safe(f"{headline(result)} {comparison(result)}")}</p>'
    for sentence in remarks(result):
        yield f'<p class="soft">{html_safe(sentence)}</p>'
    if not result["samples"]:
        left = counted(len(result["unreadable"]), "image")
        yield f"<p>{html_safe(f'Nothing was classified: {left} could not be read.')}</p>"
