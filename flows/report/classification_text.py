"""What the result of a classification says, in words and rows: for page, terminal and artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.intervals import level
from flows.report.numbers import counted, low_high, percent, score_number
from flows.report.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Scores of all samples, with their headings, in the order in which they are shown.
SCORES = (
    ("balanced_accuracy", "Balanced accuracy"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("auroc", "AUROC"),
    ("accuracy", "Accuracy"),
)


def is_scored(result: Mapping[str, Any]) -> bool:
    """Whether predictions were compared with a truth."""
    return "accuracy" in result


def value_text(score: Mapping[str, Any]) -> str:
    """A score, or why there is none."""
    if score["value"] is None:
        return f"undefined ({score['note']})"
    return score_number(score["value"])


def interval_text(score: Mapping[str, Any]) -> str:
    """The interval of a score; nothing where there is none."""
    return "" if score["low"] is None else low_high(score["low"], score["high"])


def headline(result: Mapping[str, Any]) -> str:
    """What came out, in one sentence."""
    if not is_scored(result):
        return f"{counted(result['samples'], 'sample')} classified; no truth was given."
    score = result["balanced_accuracy"]
    found = interval_text(score)
    within = f" ({level(result)} interval {found})" if found else ""
    return f"Balanced accuracy {value_text(score)}{within} of {_samples(result)}."


def comparison(result: Mapping[str, Any]) -> str:
    """Accuracy beside that of one answer for all."""
    accuracy, baseline = result["accuracy"], result["baseline"]
    return (
        f"{percent(accuracy['value'])} of the samples are right; always answering "
        f"{baseline['name']} would be right for {percent(baseline['accuracy'])}."
    )


def remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else a reader must know, a sentence each."""
    if is_scored(result):
        if "positive" in result:
            yield (
                f"Positive is {result['positive']['name']}: sensitivity is its recall, specificity "
                "the recall of the other class."
            )
        yield from dict.fromkeys(
            f"{name}: {result[key]['note']}." for key, name in SCORES if _has_note(result, key)
        )
        if result["without_truth"]:
            yield f"{counted(result['without_truth'], 'sample')} without truth count for no score."
    resize = result["resize"]
    if resize["samples"]:
        size = " × ".join(map(str, resize["image_size"]))
        yield (
            f"{counted(resize['samples'], 'image')} had another size and were brought to {size} "
            f"({resize['rule']})."
        )
    if result["unreadable"]:
        yield f"No row for {counted(len(result['unreadable']), 'image')} that could not be read."


def class_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the classes."""
    if not is_scored(result):
        rows = [[one_line(c["name"]), f"{c['predicted']:,}"] for c in result["classes"]]
        return ["class", "predicted"], rows
    rows = [
        [
            one_line(entry["name"]),
            *["–" if entry[k] is None else score_number(entry[k]) for k in _CLASS_SCORES],
            f"{entry['support']:,}",
            f"{entry['predicted']:,}",
        ]
        for entry in result["classes"]
    ]
    return ["class", *_CLASS_SCORES, "samples", "predicted"], rows


def plain_text(result: Mapping[str, Any]) -> str:
    """The result as lines for a terminal, ending in a newline."""
    heads, rows = class_rows(result)
    lines = [*_aligned([heads, *rows])]
    if is_scored(result):
        scores = [
            [name, value_text(result[key]), interval_text(result[key])]
            for key, name in SCORES
            if key in result
        ]
        lines += ["", *_aligned([["score", "value", f"{level(result)} interval"], *scores]), ""]
        lines.append(comparison(result))
    lines += map(one_line, remarks(result))
    lines += [
        f"{entry['severity']}: {entry['code']}: {one_line(entry['statement'])}"
        for entry in result["findings"]
    ]
    return "\n".join(lines) + "\n"


_CLASS_SCORES = ("precision", "recall", "f1")


def _has_note(result: Mapping[str, Any], key: str) -> bool:
    score = result.get(key)
    return bool(score and score["value"] is not None and score["note"])


def _samples(result: Mapping[str, Any]) -> str:
    scored, groups = counted(result["scored"], "sample"), result["groups"]
    return scored if groups == result["scored"] else f"{scored} in {counted(groups, 'group')}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows with their cells below each other, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
