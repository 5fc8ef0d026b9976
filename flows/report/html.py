"""One run as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.blocks import anchor, flat, pairs_table, render_section
from flows.report.contents import sections, terms
from flows.report.definitions import LEAD
from flows.report.document import Gallery, Section, Text
from flows.report.png import CLASS_ERRORS, ERRORS, Color, Picture
from flows.report.safe import html_safe
from flows.report.style import STYLE
from flows.report.words import has_scores, headline_note, score_text, trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Block

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FEWEST_FOR_CONTENTS = 5  # sections; fewer are found without a list


def render_report(
    result: Mapping[str, Any],
    *,
    title: str,
    provenance: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    colors: Mapping[int, Color] | None = None,
    seconds: Mapping[str, float] | None = None,
    worst: Mapping[int, Sequence[Picture]] | None = None,
) -> str:
    """Render one run as a page that needs no other file and no network.

    Parameters
    ----------
    result : the content of result.json
        A section is shown where there is something for it. Without truth it holds "shares"
        (value, name, voxels, share) in place of scores.
    title : str
    provenance : nested mapping
        What the masks were made from; shown as dotted names and values.
    pictures : sequence of Picture
    colors : label value to red, green, blue, optional
        Shown beside the class names; those of the pictures.
    seconds : stage to seconds, optional
    worst : class value to pictures, optional
        Planes of the lowest Dice of a class, worst first; a caption says where and how low.

    Returns
    -------
    str
        The HTML document; every string from outside is escaped.
    """
    palette = colors or {}
    first, last = sections(result, palette)
    galleries = [*_worst(result, worst or {}, palette), *_pictures(result, pictures, palette)]
    shown = [*first, *galleries, *last]
    ending = [*_facts(result, seconds or {}), *_provenance(provenance)]
    ending += _definitions(terms(result, shown))
    verdict = _verdict(result) if has_scores(result) else _no_truth(result)
    body = [f"<h1>{html_safe(title)}</h1>", *verdict, *_contents(shown)]
    body += [render_section(section, palette) for section in shown]
    return "\n".join(
        [*_head(title), "<body><main>", *body, *ending, "</main></body>", "</html>", ""]
    )


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


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the one number to judge by, large, the others beside it, and a sentence."""
    beside = (
        ("Pooled Dice (= accuracy)", score_text(result, "pooled_dice")),
        ("Macro-foreground IoU", score_text(result, "macro_foreground_iou")),
    )
    yield '<div class="verdict"><dl class="lead"><dt>Macro-foreground Dice</dt>'
    yield f"<dd>{html_safe(score_text(result, 'macro_foreground_dice'))}</dd>"
    yield f'<dd class="note">{html_safe(headline_note(result))}</dd></dl>'
    yield from (f"<dl><dt>{name}</dt><dd>{html_safe(text)}</dd></dl>" for name, text in beside)
    yield "</div>"
    counted = f"Counted over {result['voxels']:,} voxels, {result['ignored']:,} of them ignored."
    yield f'<p class="trust">{html_safe(trust(result))}</p><p class="soft">{counted}</p>'


def _no_truth(result: Mapping[str, Any]) -> Iterator[str]:
    total = sum(entry["voxels"] for entry in result["shares"])
    yield '<div class="verdict"><dl class="lead"><dt>Voxels segmented</dt>'
    yield f"<dd>{total:,}</dd>"
    yield '<dd class="note">No truth was given: this page shows shares, not scores.</dd></dl></div>'


def _contents(shown: Sequence[Section]) -> Iterator[str]:
    """Yield links to the sections of a long page."""
    if len(shown) < FEWEST_FOR_CONTENTS:
        return
    links = "".join(
        f'<li><a href="#{anchor(section.title)}">{html_safe(section.title)}</a></li>'
        for section in shown
    )
    yield f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _pictures(
    result: Mapping[str, Any], pictures: Sequence[Picture], colors: Mapping[int, Color]
) -> Iterator[Section]:
    if pictures:
        gallery = Gallery(tuple(pictures), legends=_legends(result, pictures, colors))
        yield Section("Pictures", (*_ids(result), gallery))


def _worst(
    result: Mapping[str, Any],
    worst: Mapping[int, Sequence[Picture]],
    colors: Mapping[int, Color],
) -> Iterator[Section]:
    """Yield the lowest planes of each class, and what their choice does."""
    if not any(worst.values()):
        return
    names = {entry["value"]: entry["name"] for entry in result.get("classes", ())}
    planes = len((result.get("slices") or {}).get("rows", ()))
    total = f"{planes:,} planes" if planes else "many planes"
    lead = (
        f"Chosen for a low Dice, class by class. The worst of {total} is expected to be low, "
        "whatever the model: these show how the masks fail, not how often. Each class is drawn "
        "alone."
    )
    legends = (*_legends(result, (), colors), CLASS_ERRORS)
    blocks: list[Block] = [Text(lead), *_ids(result), Gallery((), legends=legends)]
    blocks += [
        Gallery(tuple(pictures), title=names.get(value, f"class {value}"))
        for value, pictures in worst.items()
        if pictures
    ]
    yield Section("Worst planes", tuple(blocks))


def _ids(result: Mapping[str, Any]) -> Iterator[Text]:
    """Say what the colours of object ids mean, where a label may hold some."""
    instances = result.get("instances")
    if instances and any(entry["value"] is None for entry in instances["classes"]):
        yield Text("The colours of objects tell them apart and mean nothing else.", soft=True)


def _legends(
    result: Mapping[str, Any], pictures: Sequence[Picture], colors: Mapping[int, Color]
) -> tuple[tuple[tuple[Color, str], ...], ...]:
    """Return what the colours of the classes mean, and those of errors where they are shown."""
    classes = result["classes"] if has_scores(result) else result["shares"]
    named = tuple(
        (colors[c["value"]], c["name"]) for c in classes if c["value"] and c["value"] in colors
    )
    errors = any(name == "errors" for picture in pictures for name, _ in picture.panels)
    # One foreground class cannot be confused with another.
    kinds = ERRORS if len(classes) > 2 else ERRORS[:2]
    return (named, kinds) if errors else (named,)


def _facts(result: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[str]:
    """Yield shards, amplification and seconds, as far as they are known."""
    facts = [(f"Shards {kind}", f"{count:,}") for kind, count in result.get("shards", {}).items()]
    if result.get("amplification") is not None:
        text = f"{result['amplification']:.2f} voxels computed for each voxel wanted"
        facts.append(("Amplification", text))
    facts += [(f"Seconds, {stage}", f"{spent:,.1f}") for stage, spent in seconds.items()]
    if facts:
        yield "<h2>Run</h2>"
        yield pairs_table(facts)


def _provenance(provenance: Mapping[str, Any]) -> Iterator[str]:
    if provenance:
        yield "<h2>Provenance</h2>"
        yield pairs_table(list(flat(provenance)))


def _definitions(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    if entries:
        yield f"<h2>What the scores mean</h2>\n<p>{html_safe(LEAD)}</p>"
        yield '<dl class="terms">'
        yield from (f"<dt>{html_safe(a)}</dt><dd>{html_safe(b)}</dd>" for a, b in entries)
        yield "</dl>"
