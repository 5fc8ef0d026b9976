"""One run as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.blocks import flat, render_section
from flows.report.contents import sections, terms
from flows.report.document import Gallery, Section, Text
from flows.report.page import contents, definition_list, facts, verdict_box, whole_page
from flows.report.png import CLASS_ERRORS, ERRORS, Color, Picture
from flows.report.requests_text import requests_text
from flows.report.safe import html_safe
from flows.report.words import has_scores, headline_note, score_text, trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.report.document import Block


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
    ending = [*facts("Run", list(_run_facts(result, seconds or {})))]
    ending += [*facts("Provenance", list(flat(provenance)))]
    ending += definition_list(terms(result, shown))
    verdict = _verdict(result) if has_scores(result) else _no_truth(result)
    body = [*verdict, *contents(shown)]
    body += [render_section(section, palette) for section in shown]
    return whole_page(title, [*body, *ending])


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the one number to judge by, large, the others beside it, and a sentence."""
    beside = (
        ("Pooled Dice (= accuracy)", score_text(result, "pooled_dice")),
        ("Macro-foreground IoU", score_text(result, "macro_foreground_iou")),
    )
    score = score_text(result, "macro_foreground_dice")
    yield from verdict_box("Macro-foreground Dice", score, headline_note(result), beside)
    counted = f"Counted over {result['voxels']:,} voxels, {result['ignored']:,} of them ignored."
    yield f'<p class="trust">{html_safe(trust(result))}</p><p class="soft">{counted}</p>'


def _no_truth(result: Mapping[str, Any]) -> Iterator[str]:
    total = sum(entry["voxels"] for entry in result["shares"])
    note = "No truth was given: this page shows shares, not scores."
    yield from verdict_box("Voxels segmented", f"{total:,}", note)


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


def _run_facts(
    result: Mapping[str, Any], seconds: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """Yield shards, amplification and seconds, as far as they are known."""
    for kind, count in result.get("shards", {}).items():
        yield f"Shards {kind}", f"{count:,}"
    if result.get("amplification") is not None:
        text = f"{result['amplification']:.2f} voxels computed for each voxel wanted"
        yield "Amplification", text
    asked = requests_text(result.get("requests") or {})
    if asked:
        yield "Requests to the store", asked
    for stage, spent in seconds.items():
        yield f"Seconds, {stage}", f"{spent:,.1f}"
