"""The section on probabilities: how well they rank, and whether they mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.classes import MOST_DRAWN, class_cell, class_color, marks, named_score, title
from flows.report.document import Cell, Chart, Charts, Section, Table, Text
from flows.report.numbers import counted, percent, score_number
from flows.report.reliability import reliability_diagram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flows.report.document import Block
    from flows.report.png import Color

Entry = dict[str, Any]
SCORES = (
    ("auroc", "AUROC"),
    ("average_precision", "Average precision"),
    ("brier", "Brier score"),
    ("ece", "ECE"),
    ("mce", "MCE"),
    ("soft_dice", "Soft Dice"),
)


def probabilities(result: Mapping[str, Any], colors: Mapping[int, Color]) -> Section | None:
    """Return ranking, calibration and best threshold of each class."""
    found = result.get("probability")
    if not found:
        return None
    classes: list[Entry] = found["classes"]
    blocks: list[Block] = [Text(_summary(found)), _scores(classes), _thresholds(classes)]
    blocks.append(Text("The best threshold was chosen on these very voxels.", soft=True))
    blocks += _diagrams(classes, colors)
    blocks += [_bins(entry) for entry in classes if entry["reliability"]]
    terms = (*[name for name, _ in SCORES], "best_threshold", "reliability")
    return Section("Probabilities", tuple(blocks), terms)


def _summary(found: Mapping[str, Any]) -> str:
    ranking = named_score(found, "macro_foreground_auroc").text
    error = named_score(found, "foreground_ece").text
    return (
        f"Mean of the foreground classes: AUROC {ranking}, expected calibration error {error}. "
        f"Probabilities were counted in {found['levels']:,} levels, each class against the rest."
    )


def _scores(classes: Sequence[Entry]) -> Table:
    rows = tuple(
        (
            class_cell(entry),
            *[named_score(entry, name) for name, _ in SCORES],
            Cell(f"{entry['positives']:,}"),
            Cell(f"{entry['negatives']:,}"),
        )
        for entry in classes
    )
    worth = tuple(entry["auroc"] for entry in classes)
    heads = ("Class", *[heading for _, heading in SCORES], "Voxels of it", "Other voxels")
    return Table(heads, rows, worth=worth)


def _thresholds(classes: Sequence[Entry]) -> Table:
    names = ("best_threshold", "best_threshold_dice", "dice_at_half")
    rows = tuple(
        (class_cell(entry), *[named_score(entry, name) for name in names]) for entry in classes
    )
    heads = ("Class", "Best threshold", "Dice there", "Dice at one half")
    worth = tuple(entry["best_threshold_dice"] for entry in classes)
    return Table(heads, rows, "Thresholds", worth)


def _diagrams(classes: Sequence[Entry], colors: Mapping[int, Color]) -> list[Block]:
    """Draw a diagram per class, those of the highest calibration error if there are many."""
    known = [e for e in classes if e["value"] and e["reliability"]]
    if not known:
        return []
    worst = sorted(known, key=lambda e: -float(e["ece"] or 0))[:MOST_DRAWN]
    drawn = [entry for entry in known if entry in worst]
    charts = tuple(
        Chart(
            reliability_diagram(
                entry["reliability"],
                _says(entry),
                number=number,
                color=class_color(entry["value"], colors),
            ),
            caption=f"{title(entry)}: ECE {named_score(entry, 'ece').text}",
        )
        for number, entry in zip(marks(drawn), drawn, strict=True)
    )
    lead = "On the diagonal a probability is the share of voxels that are of the class; below it "
    lead += "the probabilities promise too much. The area of a mark grows with its voxels."
    if len(drawn) < len(known):
        lead += f" Of {len(known)} classes the {len(drawn)} of the highest ECE are drawn."
    return [Text(lead), Charts(charts)]


def _says(entry: Entry) -> str:
    bins = [b for b in entry["reliability"] if b["observed"] is not None]
    gaps = [(abs(b["observed"] - b["mean_probability"]), b) for b in bins]
    if not gaps:
        return f"Reliability diagram of {title(entry)}: no bin has a voxel"
    _, widest = max(gaps, key=lambda pair: pair[0])
    return (
        f"Reliability diagram of {title(entry)}, {counted(len(bins), 'bin')}; the largest gap: "
        f"mean probability {score_number(widest['mean_probability'])}, observed share "
        f"{score_number(widest['observed'])}"
    )


def _bins(entry: Entry) -> Table:
    rows = tuple(
        (
            Cell(f"{b['low']:.3f}–{b['high']:.3f}"),
            _share(b["mean_probability"]),
            _share(b["observed"]),
            Cell(f"{b['count']:,}"),
        )
        for b in entry["reliability"]
    )
    heads = ("Probability", "Mean probability", "Observed share", "Voxels")
    return Table(heads, rows, f"Reliability of {entry['name']} in numbers", folded=True)


def _share(value: float | None) -> Cell:
    if value is None:
        return Cell("undefined (no voxel)", undefined=True)
    return Cell(percent(value))
