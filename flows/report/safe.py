"""Text from outside, made harmless for the place it is shown in."""

from __future__ import annotations

import html
import re

LONGEST_PIECE = 14  # letters of a word that stay together


def printable(text: str) -> str:
    """Return text with a blank for every control, format and surrogate character but line ends."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in text)


def html_safe(text: str) -> str:
    """Return text in which HTML and XML find nothing to interpret."""
    return html.escape(printable(text))


def breakable(text: str) -> str:
    """Return `html_safe` text in which words too long for a narrow column may be broken."""
    pieces = re.findall(rf"\S{{1,{LONGEST_PIECE}}}|\s+", text)
    return "".join(
        html_safe(piece) + ("<wbr>" if len(piece) == LONGEST_PIECE else "") for piece in pieces
    )


def markdown_safe(text: str) -> str:
    """Return text in which Markdown and HTML find nothing to interpret, on one line."""
    one_line = " ".join(printable(text).split())
    marked = re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", one_line)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """Return text without line breaks and control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def cell_safe(text: str) -> str:
    """Return text on one line in which HTML finds no tags; for tables that may be shown as HTML."""
    return html.escape(one_line(text), quote=False)


def shortened(text: str, length: int) -> str:
    """Return text of at most `length` characters, with an ellipsis where it was cut."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: max(1, length - 1)].rstrip()}…"
