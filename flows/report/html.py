"""One run as one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from flows.report.blocks import bar, class_name, confusion_table, flat, legend, pairs_table, table
from flows.report.png import ERRORS, Color, Picture, data_uri
from flows.report.style import STYLE
from flows.report.words import (
    SCORES,
    has_scores,
    headline_note,
    percent,
    score_number,
    score_text,
    top_confusions,
    warnings,
    weakest_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
DEFINITIONS = (
    ("Dice", "2 TP / (2 TP + FP + FN): twice the overlap, over the two sizes added up."),
    ("IoU", "TP / (TP + FP + FN): the overlap, over everything either of the two covers."),
    ("Precision", "TP / (TP + FP): of what was predicted as the class, the share that is right."),
    ("Recall", "TP / (TP + FN): of the class in the truth, the share that was found."),
    ("Specificity", "TN / (TN + FP): of everything else, the share that was left alone."),
    ("Support", "TP + FN: voxels of the class in the truth."),
    (
        "Macro-foreground",
        "Plain mean over the foreground classes, so that a rare class counts as much as a common "
        "one. Classes that occur neither in truth nor in prediction are left out, and counted.",
    ),
    (
        "Pooled Dice",
        "All classes thrown together, the background included. It equals accuracy, the share of "
        "voxels whose class is right, and is mostly about the background.",
    ),
    ("Undefined", "The score would divide by zero. It is never counted as 0 or as 1."),
)


def render_report(
    result: Mapping[str, Any],
    *,
    title: str,
    provenance: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    colors: Mapping[int, Color] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> str:
    """Render one run as a page that needs no other file and no network.

    Parameters
    ----------
    result : the content of result.json
        Without truth it holds "shares" (value, name, voxels, share) in place of scores. "shards"
        (planned, done, skipped, failed) and "amplification" are shown where they are there.
    title : str
    provenance : nested mapping
        What the masks were made from; shown as dotted names and values.
    pictures : sequence of Picture
    colors : label value to red, green, blue, optional
        Shown beside the class names; those of the pictures.
    seconds : stage to seconds, optional

    Returns
    -------
    str
        The HTML document; every string from outside is escaped.
    """
    palette = colors or {}
    scored = has_scores(result)
    body = [f"<h1>{escape(title)}</h1>", *(_verdict(result) if scored else _no_truth(result))]
    body += [f'<p class="warning"><b>Warning.</b> {escape(text)}</p>' for text in warnings(result)]
    body += [*(_scores(result, palette) if scored else _shares(result, palette))]
    if scored:
        body += _confusion(result)
    body += [*_pictures(result, pictures, palette), *_facts(result, seconds or {})]
    body += _provenance(provenance)
    if scored:
        body += _definitions()
    return "\n".join([*_head(title), "<body><main>", *body, "</main></body>", "</html>", ""])


def _head(title: str) -> list[str]:
    return [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style></head>",
    ]


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the one number to judge by, large, and the others beside it."""
    beside = (
        ("Pooled Dice (= accuracy)", score_text(result, "pooled_dice")),
        ("Macro-foreground IoU", score_text(result, "macro_foreground_iou")),
    )
    yield '<div class="verdict"><dl class="lead"><dt>Macro-foreground Dice</dt>'
    yield f"<dd>{escape(score_text(result, 'macro_foreground_dice'))}</dd>"
    yield f'<dd class="note">{escape(headline_note(result))}</dd></dl>'
    yield from (f"<dl><dt>{name}</dt><dd>{escape(text)}</dd></dl>" for name, text in beside)
    yield "</div>"
    counted = f"Counted over {result['voxels']:,} voxels, {result['ignored']:,} of them ignored."
    yield f"<p>{escape(' '.join(filter(None, (weakest_class(result), counted))))}</p>"


def _no_truth(result: Mapping[str, Any]) -> Iterator[str]:
    total = sum(entry["voxels"] for entry in result["shares"])
    yield '<div class="verdict"><dl class="lead"><dt>Voxels segmented</dt>'
    yield f"<dd>{total:,}</dd>"
    yield '<dd class="note">No truth was given: this page shows shares, not scores.</dd></dl></div>'


def _scores(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Iterator[str]:
    yield "<h2>Scores per class</h2>"
    rows = [
        class_name(entry, colors)
        + "".join(_score_cell(entry, name, heading) for name, heading in SCORES)
        + f'<td data-label="Support">{entry["support"]:,}</td>'
        for entry in result["classes"]
    ]
    yield table(["Class", *[heading for _, heading in SCORES], "Support"], rows)
    yield '<p class="soft">The background is not part of the macro-foreground mean.</p>'


def _shares(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Iterator[str]:
    yield "<h2>Shares per class</h2>"
    rows = [
        class_name(entry, colors)
        + f'<td data-label="Voxels">{entry["voxels"]:,}</td>'
        + f'<td data-label="Share"><span>{percent(entry["share"])}'
        + f"{bar(entry['share'])}</span></td>"
        for entry in result["shares"]
    ]
    yield table(["Class", "Voxels", "Share"], rows)


def _score_cell(entry: Mapping[str, Any], name: str, heading: str) -> str:
    value = entry[name]
    if value is None:
        text = f'<span class="undefined">{escape(score_text(entry, name))}</span>'
    else:
        drawn = bar(value) if name == "dice" else ""
        text = f"<span>{escape(score_number(value))}{drawn}</span>"
    return f'<td data-label="{heading}">{text}</td>'


def _confusion(result: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>What was taken for what</h2>"
    yield from (f"<p>{escape(sentence)}</p>" for sentence in top_confusions(result))
    yield confusion_table([entry["name"] for entry in result["classes"]], result["confusion"])
    yield '<p class="soft">Each row adds up to 100 % of a class of the truth; framed: right.</p>'


def _pictures(
    result: Mapping[str, Any], pictures: Sequence[Picture], colors: Mapping[int, Color]
) -> Iterator[str]:
    if not pictures:
        return
    classes = result["classes"] if has_scores(result) else result["shares"]
    named = [
        (colors[c["value"]], c["name"]) for c in classes if c["value"] and c["value"] in colors
    ]
    yield "<h2>Pictures</h2>"
    yield legend(named)
    if any(name == "errors" for picture in pictures for name, _ in picture.panels):
        yield legend(ERRORS)
    for picture in pictures:
        caption = escape(picture.caption)
        yield f'<figure><figcaption>{caption}</figcaption><div class="panels">'
        for name, png in picture.panels:
            label = escape(name)
            yield f'<div><span>{label}</span><img alt="{label}, {caption}" '
            yield f'src="{data_uri(png)}"></div>'
        yield "</div></figure>"


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


def _definitions() -> Iterator[str]:
    yield "<h2>What the scores mean</h2>"
    yield "<p>For one class: TP voxels are rightly given it, FP wrongly; FN voxels are of the"
    yield "class but were given another; TN are all the rest.</p>"
    yield '<dl class="terms">'
    yield from (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in DEFINITIONS)
    yield "</dl>"
