"""What every page shares: its head, the links to its sections, facts and definitions at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.blocks import anchor, pairs_table
from flows.report.definitions import LEAD
from flows.report.safe import html_safe
from flows.report.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flows.report.document import Section

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FEWEST_FOR_CONTENTS = 5  # sections; fewer are found without a list


def whole_page(title: str, body: Iterable[str]) -> str:
    """Return a document that needs no other file and no network; `title` is escaped, not `body`."""
    parts = [f"<h1>{html_safe(title)}</h1>", *body]
    return "\n".join([*_head(title), "<body><main>", *parts, "</main></body>", "</html>", ""])


def verdict_box(
    name: str, value: str, note: str, beside: Sequence[tuple[str, str]] = ()
) -> Iterator[str]:
    """Yield the one number to judge by, large, with a note, and others beside it."""
    yield f'<div class="verdict"><dl class="lead"><dt>{html_safe(name)}</dt>'
    yield f'<dd>{html_safe(value)}</dd><dd class="note">{html_safe(note)}</dd></dl>'
    yield from (
        f"<dl><dt>{html_safe(other)}</dt><dd>{html_safe(text)}</dd></dl>" for other, text in beside
    )
    yield "</div>"


def contents(shown: Sequence[Section]) -> Iterator[str]:
    """Yield links to the sections of a long page."""
    if len(shown) < FEWEST_FOR_CONTENTS:
        return
    links = "".join(
        f'<li><a href="#{anchor(section.title)}">{html_safe(section.title)}</a></li>'
        for section in shown
    )
    yield f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def facts(heading: str, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield names and what they stand for under a heading, if there are any."""
    if pairs:
        yield f"<h2>{html_safe(heading)}</h2>"
        yield pairs_table(pairs)


def definition_list(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield terms with their meanings, if there are any."""
    if entries:
        yield f"<h2>What the scores mean</h2>\n<p>{html_safe(LEAD)}</p>"
        yield '<dl class="terms">'
        yield from (f"<dt>{html_safe(a)}</dt><dd>{html_safe(b)}</dd>" for a, b in entries)
        yield "</dl>"


def _head(title: str) -> list[str]:
    return [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{html_safe(title)}</title>",
        f"<style>{STYLE}</style></head>",
    ]
