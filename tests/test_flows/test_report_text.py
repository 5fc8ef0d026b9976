"""The report in words: numbers, harmless names, intervals, the artifact, the terminal."""

from __future__ import annotations

import io
import re
from copy import deepcopy
from typing import Any

import pytest
from rich.console import Console

from flows.report.document import Cell, Table, shorten
from flows.report.intervals import headline_interval
from flows.report.markdown import render_markdown, table_rows
from flows.report.numbers import (
    counted,
    measured,
    named,
    percent,
    probability,
    quantity,
    score_number,
    signed,
    unit_symbol,
)
from flows.report.safe import html_safe, markdown_safe, shortened
from flows.report.terminal import plain_text, score_table
from tests.test_flows.report_outline import NASTY
from tests.test_flows.results import UNSCORED, full_result, scored

FLATTERED = scored([[90, 0, 0], [2, 3, 0], [1, 4, 0]])
FULL = full_result()


# --- numbers


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (score_number, 0.0, "0.000"),
        (score_number, 1e-5, "<0.001"),
        (score_number, 0.5, "0.500"),
        (score_number, 0.99999, ">0.999"),
        (score_number, 1.0, "1.000"),
        (percent, 0, "0.0 %"),
        (percent, 1e-6, "<0.1 %"),
        (percent, 0.999999, ">99.9 %"),
        (percent, 1, "100.0 %"),
        (signed, 0.0314, "+0.031"),
        (signed, -0.5, "−0.500"),
        (signed, -1e-4, "−<0.001"),
        (signed, 0.0, "0.000"),
        (probability, 0.0, "<0.001"),
        (probability, 0.04999, "0.050"),
        (quantity, 0.0, "0"),
        (quantity, 61.4, "61.4"),
        (quantity, 12345.6, "12,346"),
        (quantity, 0.05, "0.05"),
        (quantity, 2.4151e9, "2.415 × 10⁹"),
        (quantity, 1.5e-7, "1.500 × 10⁻⁷"),
    ],
)
def test_numbers_are_never_rounded_to_perfect_to_nothing_or_to_certain(
    write: Any, value: float, text: str
) -> None:
    assert write(value) == text


def test_counts_names_and_units_read_as_words() -> None:
    assert [counted(n, "class") for n in (0, 1, 2000)] == ["0 classes", "1 class", "2,000 classes"]
    assert named(["a"]) == "a"
    assert named(["a", "b", "c"]) == "a, b and c"
    assert named(list("abcdefg")) == "a, b, c, d, e and 2 others"
    assert unit_symbol("nanometer", 3) == "nm³"
    assert unit_symbol("parsec") == "parsec"
    assert unit_symbol(None, 2) == ""
    assert measured(500, "nm") == "500 nm"
    assert measured(2.5, "") == "2.5"


# --- text from outside


def test_text_from_outside_is_harmless() -> None:
    strange = "a\x00b\x1b[31m\u202e\ud800<&>"
    assert html_safe(strange) == "a b [31m  &lt;&amp;&gt;"
    assert markdown_safe("# *a*\n|b| <i>") == r"\# \*a\* \|b\| &lt;i&gt;"
    assert shortened("a name\nof some length", 10) == "a name of…"
    assert len(shortened("x" * 50, 10)) == 10


def test_long_tables_keep_the_rows_of_least_worth() -> None:
    rows = tuple((Cell(str(i)),) for i in range(30))
    table = Table(("row",), rows, worth=tuple(None if i == 3 else -i for i in range(30)))
    kept, remark = shorten(table, 4)
    assert [row[0].text for row in kept.rows] == ["29", "28", "27", "26"]
    assert remark == "The worst 4 of 30 rows are shown, worst first."
    assert shorten(Table(("row",), rows), 4)[1] == "The first 4 of 30 rows are shown."
    assert shorten(table, 30) == (table, "")


# --- intervals


def test_headline_interval_or_why_there_is_none() -> None:
    macro = FULL["intervals"]["scores"][0]
    assert headline_interval(FULL) == (
        "95 % interval of the macro-foreground Dice "
        f"{macro['low']:.3f}–{macro['high']:.3f}, over 12 specimens"
    )
    single = {"unit": "specimen", "groups": 1, "level": 0.95, "method": None, "scores": []}
    single["note"] = "An interval cannot be estimated from 1 specimen."
    reason = "no interval: an interval cannot be estimated from 1 specimen"
    assert headline_interval({"intervals": single}) == reason
    entry = macro | {"low": None, "high": None, "note": "no interval: defined in 2 specimens"}
    partly = FULL["intervals"] | {"scores": [entry]}
    assert headline_interval({"intervals": partly}) == "no interval: defined in 2 specimens"
    assert headline_interval({}) == "no interval: none was computed"


# --- artifact


def tables(text: str) -> list[list[str]]:
    """Rows of every Markdown table."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]


def test_markdown_has_one_row_per_class_whatever_their_names() -> None:
    result = scored([[5, 0], [1, 0]], ("background", NASTY))
    text = render_markdown(result, report_url="/runs/a b/report.html")
    rows = tables(text)[0]
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert "<script>" not in text
    assert "**Macro-foreground Dice 0.000**" in text
    assert "[Full report](</runs/a%20b/report.html>)" in text


def test_markdown_without_truth_shows_shares() -> None:
    text = render_markdown(UNSCORED)
    assert "No truth was given" in text
    assert "| 0 | background | 3,000 | 75.0 % |" in text
    assert "Dice" not in text


def test_markdown_says_what_the_page_says_without_drawings() -> None:
    text = render_markdown(FULL)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Findings",
        "Scores per class",
        "What was taken for what",
        "Comparison",
        "Images and specimens",
        "Scores along z",
        "Scores on the grid of shards",
        "Objects",
        "Components",
        "Surfaces",
        "Probabilities",
        "How much the scores rest on",
        "What was left out",
        "What the scores mean",
    ]
    assert "> **Error:** Synapse is in the truth" in text
    assert "svg" not in text
    for rows in tables(text):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_markdown_cuts_long_tables_to_the_worst_rows() -> None:
    result = deepcopy(FULL)
    group = result["groups"][0]
    result["groups"] = [
        group | {"group": f"fly{i}", "macro_foreground_dice": i / 100} for i in range(60)
    ]
    text = render_markdown(result)
    specimens = next(rows for rows in tables(text) if rows[0].startswith("| Specimen"))
    assert len(specimens) == 22
    assert specimens[2].startswith("| fly0 | 2 | 0.000 |")
    assert "The worst 20 of 60 rows are shown, worst first." in text


def test_table_rows_are_plain_and_name_what_is_undefined() -> None:
    last = table_rows(FLATTERED)[2]
    assert last["class"] == "synapse"
    assert last["Precision"] == "undefined (no voxel was predicted as this class)"
    assert (last["Dice"], last["support"]) == (0.0, 5)
    assert table_rows(UNSCORED)[0] == {
        "value": 0,
        "class": "background",
        "voxels": 3000,
        "share": 0.75,
    }


# --- terminal


def test_plain_text_is_aligned_and_explains_dashes() -> None:
    lines = plain_text(FLATTERED).splitlines()
    assert {len(line) for line in lines[:4]} == {len(lines[0])}
    assert lines[3].split() == ["2", "synapse", "0.000", "0.000", "–", "0.000", "1.000", "5"]
    assert "macro-foreground Dice 0.250 (mean of 2 foreground classes)" in lines[4]
    assert lines[5] == "– synapse, Precision: no voxel was predicted as this class"
    assert lines[6].startswith("Warning: The pooled score flatters")
    assert plain_text(UNSCORED).count("\n") == 4


def test_terminal_has_a_line_each_for_interval_objects_surface_and_comparison() -> None:
    lines = plain_text(FULL).splitlines()
    assert sum("95 % interval of the macro-foreground Dice" in line for line in lines) == 1
    assert "objects: mitochondrion AP@0.5 0.579, PQ 0.510;" in "\n".join(lines)
    assert "surface: NSD within 50 nm: membrane 0.880;" in "\n".join(lines)
    assert "comparison: Macro-foreground Dice, unet-3d − unet-2d: +0.031, p 0.002" in lines


def test_terminal_says_undefined_where_there_is_nothing_to_say() -> None:
    result = deepcopy(FULL)
    result["instances"]["classes"][0] |= {"pq": None, "matches": []}
    result["surface"] |= {"unit": None}
    result["surface"]["classes"][0]["nsd"] = [None, None]
    result["comparison"]["scores"][0] |= {"difference": None, "p": None}
    result["intervals"]["scores"] = []
    text = plain_text(result)
    assert "mitochondrion AP@0.5 –, PQ –" in text
    assert "NSD within 50: membrane –" in text
    assert "undefined, no test" in text
    assert "no interval: mean and 95 % t interval" in text


def test_terminal_table_prints_names_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(score_table(scored([[5, 0], [1, 3]], ("background", "[red]cell[/]"))))
    console.print(score_table(UNSCORED))
    console.print(score_table(FULL))
    text = console.export_text()
    assert "[red]cell[/]" in text
    assert "0.857" in text  # 2*3 / (4+3)
    assert "75.0 %" in text
