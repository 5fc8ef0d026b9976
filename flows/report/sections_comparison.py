"""The section on two masks of the same images: is one better, or can it not be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import class_cell, score_cell
from flows.report.document import Cell, Section, Table, Text
from flows.report.intervals import bounds, by_reason, level
from flows.report.numbers import counted, probability, signed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.report.document import Block
    from flows.report.png import Color

Entry = dict[str, Any]


def comparison(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return paired differences of two masks, and in words what they mean."""
    found = result.get("comparison")
    if not found:
        return None
    lead = (
        f"{found['first']} against {found['second']}, paired over "
        f"{counted(found['groups'], found['unit'])}; a difference is the first minus the second."
    )
    blocks: list[Block] = [Text(lead), *[Text(text) for text in verdicts(found)]]
    blocks += [_scores(found), *_remarks(found)]
    if found.get("voxels"):
        blocks.append(_voxels(found))
    if found.get("objects"):
        blocks.append(_objects(found))
    terms = ["difference", "p", "holm", "detectable"]
    if found.get("objects"):
        terms.append("mcnemar")
    return Section("Comparison", tuple(blocks), tuple(terms))


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """Put every compared score into a sentence; those that were not tested together."""
    tested = [entry for entry in found["scores"] if _p_value(entry) is not None]
    untested = [entry for entry in found["scores"] if _p_value(entry) is None]
    reason = found.get("note") or "too few pairs"
    return [f"{entry['name']}: {_verdict(found, entry)}" for entry in tested] + by_reason(
        (e["name"], f"no test was possible ({(e.get('note') or reason).rstrip('.')})")
        for e in untested
    )


def _p_value(entry: Entry) -> float | None:
    """Return the p that decides: adjusted for the number of classes where it was."""
    p: float | None = entry["p"] if entry.get("p_holm") is None else entry["p_holm"]
    return None if entry["difference"] is None else p


def _verdict(found: Mapping[str, Any], entry: Entry) -> str:
    p = _p_value(entry) or 0.0
    kind = "p" if entry.get("p_holm") is None else "Holm p"
    if p < 1 - found["level"]:
        better = found["first"] if entry["difference"] > 0 else found["second"]
        return f"{better} is better by {abs(entry['difference']):.3f} ({kind} {probability(p)})."
    smallest = entry.get("minimum_detectable_difference")
    limit = ""
    if smallest is not None:
        limit = f"; a difference below {smallest:.3f} could not have been seen reliably"
    return f"no difference was shown ({kind} {probability(p)}){limit}."


def _scores(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            Cell(e["name"], value=e["value"]),
            score_cell(e["first"]),
            score_cell(e["second"]),
            _difference(e),
            Cell(_p(e["p"]), note=f"Holm {_p(e['p_holm'])}" if e.get("p_holm") is not None else ""),
            Cell(f"{e['wins']} / {e['ties']} / {e['losses']}"),
            score_cell(e["minimum_detectable_difference"], "too few pairs"),
        )
        for e in found["scores"]
    )
    heads = (
        "Dice",
        found["first"],
        found["second"],
        f"Difference, {level(found)} interval",
        "p",
        "Wins / ties / losses",
        "Detectable",
    )
    worth = tuple(entry["difference"] for entry in found["scores"])
    return Table(heads, rows, worth=worth)


def _difference(entry: Entry) -> Cell:
    if entry["difference"] is None:
        return Cell("undefined", undefined=True)
    ends = bounds(entry)
    note = f"{signed(ends[0])} to {signed(ends[1])}" if ends else "no interval"
    return Cell(signed(entry["difference"]), note)


def _p(value: float | None) -> str:
    return "–" if value is None else probability(value)


def _remarks(found: Mapping[str, Any]) -> list[Block]:
    """Say by what test and how, and what is special about single rows."""
    tests = dict.fromkeys(entry["test"] for entry in found["scores"] if entry.get("test"))
    lines = [f"Test: {test}." for test in tests]
    lines += [found["note"]] if found.get("note") else []
    lines += by_reason((entry["name"], entry["note"]) for entry in found["scores"])
    return [Text(line, soft=True) for line in lines]


def _voxels(found: Mapping[str, Any]) -> Table:
    keys = ("both", "first_only", "second_only", "neither")
    rows = tuple((class_cell(e), *[Cell(f"{e[key]:,}") for key in keys]) for e in found["voxels"])
    return Table(("Class", *_kinds(found)), rows, "Voxels of the truth that are right in")


def _objects(found: Mapping[str, Any]) -> Table:
    counts = found["objects"]
    keys = ("both", "first_only", "second_only", "neither")
    row = (
        Cell("All objects"),
        *[Cell(f"{counts[key]:,}") for key in keys],
        Cell(_p(counts["p"]), note=counts["test"]),
    )
    return Table(("Objects", *_kinds(found), "p"), (row,), "Objects of the truth that are found in")


def _kinds(found: Mapping[str, Any]) -> tuple[str, ...]:
    return "Both", f"Only {found['first']}", f"Only {found['second']}", "Neither"
