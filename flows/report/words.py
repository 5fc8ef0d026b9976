"""What a result says, in words: shared by the page, the artifact and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.intervals import headline_interval
from flows.report.numbers import counted, percent, score_number

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Order of the scores wherever they are shown, with their headings.
SCORES: tuple[tuple[str, str], ...] = (
    ("dice", "Dice"),
    ("iou", "IoU"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("specificity", "Specificity"),
)
POOLED_GAP = 0.15  # pooled Dice above macro Dice by more than this deserves a warning
CONFUSION_SHARE = 0.01  # confusions of less of their class are not put into words


def has_scores(result: Mapping[str, Any]) -> bool:
    """Return whether the result was scored against a truth."""
    return any("dice" in entry for entry in result.get("classes", ()))


def score_text(scored: Mapping[str, Any], name: str) -> str:
    """Return a score of a class, or of the whole result, or "undefined (the reason)"."""
    value = scored.get(name)
    if value is not None:
        return score_number(value)
    return f"undefined ({scored.get('undefined', {}).get(name, 'not computed')})"


def headline_note(result: Mapping[str, Any]) -> str:
    """Say over which classes the macro-foreground Dice is the mean."""
    foreground = len(result["classes"]) - 1
    left_out = int(result.get("macro_undefined", 0))
    if not left_out:
        return f"mean of {counted(foreground, 'foreground class')}"
    return (
        f"mean of {foreground - left_out} of {counted(foreground, 'foreground class')}; "
        f"{left_out} left out because neither truth nor prediction has any voxel of it"
    )


def trust(result: Mapping[str, Any]) -> str:
    """Say in one sentence how far the masks can be trusted, class by class and as a whole."""
    scored = [entry for entry in result["classes"][1:] if entry["dice"] is not None]
    if not scored:
        return "No foreground class could be scored."
    best = max(scored, key=lambda entry: float(entry["dice"]))
    worst = min(scored, key=lambda entry: float(entry["dice"]))
    last = f"{worst['name']}: Dice {score_number(worst['dice'])}, "
    last += f"{counted(worst['support'], 'voxel')} in the truth"
    if len(scored) == 1:
        classes = f"The one class scored is {last}"
    else:
        classes = f"The masks are best for {best['name']}: Dice {score_number(best['dice'])}"
        classes += f", and worst for {last}"
    return f"{classes}; {headline_interval(result)}."


def warnings(result: Mapping[str, Any]) -> list[str]:
    """List what a reader must know before believing the numbers, most important first.

    What a finding of the result says already is left out.
    """
    said = {finding["code"] for finding in result.get("findings") or ()}
    found = [unfinished(result)]
    found += [_pooled_gap(result)] if "EVAL-POOLED" not in said else []
    found += [_out_of_range(result)] if "METRIC-LABELS-DROPPED" not in said else []
    return [sentence for sentence in found if sentence]


def top_confusions(result: Mapping[str, Any], limit: int = 3) -> list[str]:
    """Put the largest confusions into words, by the share of the true class that went astray."""
    names = [entry["name"] for entry in result["classes"]]
    pairs = [
        (count / sum(row), count, sum(row), names[truth], names[prediction])
        for truth, row in enumerate(result["confusion"])
        for prediction, count in enumerate(row)
        if truth != prediction and count >= max(1, CONFUSION_SHARE * sum(row))
    ]
    pairs.sort(key=lambda pair: pair[:2], reverse=True)
    return [
        f"{percent(share)} of {truth} was predicted as {prediction} "
        f"({count:,} of {counted(whole, 'voxel')})."
        for share, count, whole, truth, prediction in pairs[:limit]
    ]


def unfinished(result: Mapping[str, Any]) -> str | None:
    """Say that shards have failed, if any have."""
    shards = result.get("shards", {})
    failed = int(shards.get("failed", 0))
    if not failed:
        return None
    return (
        f"This run is incomplete: {failed:,} of {counted(shards.get('planned', 0), 'shard')} "
        "failed, and their voxels are in none of these numbers. The same command resumes it."
    )


def _pooled_gap(result: Mapping[str, Any]) -> str | None:
    macro, pooled = result.get("macro_foreground_dice"), result.get("pooled_dice")
    if macro is None or pooled is None or pooled - macro <= POOLED_GAP:
        return None
    right = result["confusion"][0][0] / sum(map(sum, result["confusion"]))
    return (
        f"The pooled score flatters these masks: it is {score_number(pooled)} while the foreground "
        f"classes reach {score_number(macro)} on average, because background that is easily right "
        f"makes up {percent(right)} of the voxels. Judge by the macro-foreground Dice."
    )


def _out_of_range(result: Mapping[str, Any]) -> str | None:
    count = int(result.get("out_of_range", 0))
    if not count:
        return None
    return (
        f"{counted(count, 'voxel')} hold a value that is no class, in truth or prediction; "
        "they are in none of these scores."
    )
