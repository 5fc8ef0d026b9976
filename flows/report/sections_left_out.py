"""Sections on what the scores rest on, and on what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import class_cell, part_of
from flows.report.document import Cell, Section, Table, Text
from flows.report.numbers import counted, percent
from flows.report.words import SCORES, has_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Row = dict[str, Any]
FEW = 5  # counts below this are marked


def sample_sizes(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return how much there is of everything that a score rests on."""
    images, groups = result.get("images"), result.get("groups")
    if not images and not groups:
        return None
    rows = [
        (
            class_cell(entry),
            few(entry["support"]),
            few(_containing(images or [], entry["value"])),
            few(_containing(groups or [], entry["value"])) if groups else Cell("–"),
        )
        for entry in result["classes"]
    ]
    heads = ("Class", "Voxels in the truth", "Images with it", "Specimens with it")
    size = [_size(rows, noun) for rows, noun in ((images, "image"), (groups, "specimen")) if rows]
    lead = f"Scored: {', '.join(size)}."
    blocks: list[Block] = [Text(lead), Table(heads, tuple(rows))]
    if any(cell.note for row in rows for cell in row):
        last = f"Scores that rest on fewer than {FEW} can change with a single image."
        blocks.append(Text(last, soft=True))
    return Section("How much the scores rest on", tuple(blocks))


def _size(rows: Sequence[Row], noun: str) -> str:
    small = f" (▲ fewer than {FEW})" if len(rows) < FEW else ""
    return f"{counted(len(rows), noun)}{small}"


def few(count: int) -> Cell:
    """Return a count, marked in words where it is small."""
    return Cell(f"{count:,}", note=f"▲ fewer than {FEW}" if count < FEW else "")


def _containing(rows: Sequence[Row], value: int) -> int:
    return sum(bool(part_of(row, "support", value)) for row in rows)


def left_out(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return what no score, or not every score, has counted."""
    if not has_scores(result):
        return None
    rows = tuple(_left_out(result))
    table = Table(("Left out", "How much", "Why"), rows)
    return Section("What was left out", (table,))


def _left_out(result: Mapping[str, Any]) -> Iterator[tuple[Cell, Cell, Cell]]:
    voxels = result["voxels"]
    label = result.get("ignore_label")
    why = "the truth says nothing there" if label is None else f"the truth has the value {label}"
    yield _share("Ignored voxels", result["ignored"], voxels, why)
    why = "truth or prediction has a value that is no class"
    yield _share("Voxels out of range", result["out_of_range"], voxels, why)
    for entry in result["classes"]:
        names = [heading for name, heading in SCORES if entry[name] is None]
        if names:
            reasons = "; ".join(dict.fromkeys(entry["undefined"].values()))
            yield _row(f"Scores of {entry['name']}", f"{len(names)} undefined", reasons)
    if result.get("macro_undefined"):
        number = counted(result["macro_undefined"], "class")
        yield _row("Macro-foreground mean", number, "neither truth nor prediction has any voxel")
    yield from _surface(result.get("surface"))


def _surface(surface: Mapping[str, Any] | None) -> Iterator[tuple[Cell, Cell, Cell]]:
    for entry in (surface or {}).get("classes", ()):
        if entry["excluded"]:
            number = counted(entry["excluded"], "surfel")
            yield _row(f"Surface of {entry['name']}", number, "they touch ignored voxels")
        if entry["censored_share"]:
            share = f"{percent(entry['censored_share'])} of the area"
            yield _row(f"Distances of {entry['name']}", share, "farther away than the cap")


def _share(name: str, count: int, whole: int, why: str) -> tuple[Cell, Cell, Cell]:
    share = percent(count / whole) if whole else "of none"
    return _row(name, f"{count:,} ({share})", why if count else "–")


def _row(name: str, number: str, why: str) -> tuple[Cell, Cell, Cell]:
    return Cell(name), Cell(number), Cell(why, words=True)
