"""The runs as Markdown: one line a kind of victim, one line a run."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

SUMMARY = ("executor", "killed", "runs", "hit", "exit codes of the command hit", "commands given")
SUMMARY += ("shards done twice", "seconds, mean", "same bytes")
RUNS = ("run", "executor", "killed", "at s", "records then", "exit codes", "attempts")
RUNS += ("done twice", "files left", "strays", "same bytes")


def markdown(lines: list[dict[str, Any]]) -> str:
    """Both tables."""
    kinds = defaultdict(list)
    for line in lines:
        kinds[line["executor"], line["victim"]].append(line)
    summary = [_summary(kind, found) for kind, found in sorted(kinds.items())]
    runs = [_run(line) for line in sorted(lines, key=lambda line: line["number"])]
    return f"{_table(SUMMARY, summary)}\n{_table(RUNS, runs)}"


def _summary(kind: tuple[str, str], lines: list[dict[str, Any]]) -> tuple[Any, ...]:
    hit = [line for line in lines if line["hit"]]
    codes = sorted({str(line["codes"][0]) for line in hit})
    given = [len(line["codes"]) for line in lines]
    return (
        *kind,
        len(lines),
        len(hit),
        ", ".join(codes),
        f"{min(given)} to {max(given)}",
        sum(line["records"]["twice"] for line in lines),
        f"{sum(line['seconds'] for line in lines) / len(lines):.0f}",
        f"{sum(not line['differing'] for line in lines)} of {len(lines)}",
    )


def _run(line: dict[str, Any]) -> tuple[Any, ...]:
    records = line["records"]
    return (
        line["number"],
        line["executor"],
        line["victim"] if line["hit"] else f"{line['victim']} (too late)",
        f"{line['second']:.1f}",
        line["recorded"],
        ", ".join(map(str, line["codes"])),
        records["attempts"],
        records["twice"],
        line["partials"],
        line["strays"],
        "yes" if not line["differing"] else f"NO: {', '.join(line['differing'][:3])}",
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)
