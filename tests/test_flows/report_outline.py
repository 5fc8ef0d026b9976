"""The report page as its tests see it: tags that nest, text, drawings, addresses."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

from flows.report.html import render_report

VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}
#: A name that means something to HTML, to XML, to Markdown and to a terminal.
NASTY = "glia|<script>alert('x')</script>&\n**bold**"


class Outline(HTMLParser):
    """Checks that tags nest, and keeps tags, addresses and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "title" not in self.open:
            self.text += data

    @property
    def headings(self) -> list[str]:
        return re.findall(r"<h2[^>]*>(.*?)</h2>", self.page)

    @property
    def drawings(self) -> list[ElementTree.Element]:
        """Every drawing, read as XML."""
        return drawings(self.page)


def drawings(markup: str) -> list[ElementTree.Element]:
    """Read every drawing as XML, which fails if one is not well formed."""
    found = re.findall(r"<svg.*?</svg>", markup, re.DOTALL)
    return [ElementTree.fromstring(text) for text in found]  # noqa: S314  # our own markup


def page(result: Any, **options: Any) -> Outline:
    return Outline(render_report(result, **{"title": "run", "provenance": {}, **options}))
