"""Readers of documents from outside, fed with broken ones: ``python -m benchmarks.fuzz``.

Valid documents are changed at random, from a seed, and read. Either a reader takes the document,
or it raises the errors that it declares; anything else is a fault, printed with the number of its
case, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fuzz.subject import Failure, Subject, try_case
from benchmarks.fuzz.subjects import subjects

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 100
SHOWN = 20


@dataclass(slots=True)
class Tally:
    """What came of the cases of one reader."""

    cases: int = 0
    refused: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)


def fuzz(
    readers: Sequence[Subject], seed: int, *, seconds: float, cases: int | None = None
) -> dict[str, Tally]:
    """Try all readers in turns until the time is up, or each has had so many cases."""
    tallies = {reader.name: Tally() for reader in readers}
    deadline = time.monotonic() + seconds
    limit = sys.maxsize if cases is None else cases
    while time.monotonic() < deadline and any(t.cases < limit for t in tallies.values()):
        for reader in readers:
            tally = tallies[reader.name]
            for _ in range(min(BATCH, limit - tally.cases)):
                _count(tally, try_case(reader, seed, tally.cases))
    return tallies


def _count(tally: Tally, outcome: Failure | bool) -> None:
    tally.cases += 1
    if isinstance(outcome, Failure):
        tally.failures.setdefault(outcome.place, outcome)
        tally.failed[outcome.place] += 1
    else:
        tally.refused += outcome


def table(tallies: dict[str, Tally]) -> str:
    """Markdown: cases, those refused by a declared error, and other exceptions."""
    lines = ["| reader | cases | refused | other exceptions |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {tally.cases:,} | {tally.refused:,} | {tally.failed.total()} |"
        for name, tally in tallies.items()
    ]
    whole = [sum(t.cases for t in tallies.values()), sum(t.refused for t in tallies.values())]
    failed = sum(tally.failed.total() for tally in tallies.values())
    return "\n".join([*lines, f"| **all** | {whole[0]:,} | {whole[1]:,} | {failed} |"])


def main() -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="name of one reader")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maskmill-fuzz-") as folder:
        readers = [r for r in subjects(Path(folder)) if chosen.only in (None, r.name)]
        tallies = fuzz(readers, chosen.seed, seconds=60 * chosen.minutes)
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes\n\n{table(tallies)}")
    found = [(name, one) for name, tally in tallies.items() for one in tally.failures.values()]
    for name, failure in found[:SHOWN]:
        print(f"{name}, case {failure.case}: {failure.place}: {failure.message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
