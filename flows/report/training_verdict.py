"""What a training came to, in a few words; and what it was made of, in many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.blocks import flat
from flows.report.intervals import beside, interval_of, level
from flows.report.numbers import counted, quantity, score_number
from flows.report.page import facts, verdict_box
from flows.report.safe import html_safe
from flows.report.training_curves import macro_of, score_at
from flows.report.words import headline_note, score_text, trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MACRO = "macro_foreground_dice"
#: Names of the parts of the network card, with what they are called.
NETWORK = (
    ("preset", "Architecture"),
    ("axes", "Axes"),
    ("parameters", "Parameters"),
    ("halo", "Halo (voxels)"),
    ("stride", "Stride (voxels)"),
    ("exact", "Tiles equal the whole"),
    ("precision", "Precision"),
    ("pretrained", "Pretrained"),
    ("frozen", "Frozen layers"),
)


def scored_part(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the part to judge by, and the scores on it: the test part where there is one."""
    if result.get("folds"):
        return "out of fold", result["out_of_fold"]
    if result.get("test"):
        return "test", result["test"]
    return "validation", result["validation"]


def verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the score to judge by, others beside it, and in sentences how far to trust it."""
    part, final = scored_part(result)
    others = _fold_spread(result) if result.get("folds") else _same_network(result)
    pooled = ("Pooled Dice (= accuracy)", score_text(final, "pooled_dice"))
    note = f"{_interval(final)}{headline_note(final)}"
    name = f"Macro-foreground Dice, {part}"
    yield from verdict_box(name, score_text(final, MACRO), note, [*others, pooled])
    yield f'<p class="trust">{html_safe(trust(final))}</p>'
    yield from (f'<p class="trust">{html_safe(text)}</p>' for text in _warnings(result, part))
    yield f'<p class="soft">{html_safe(_effort(result, part, final))}</p>'


def origin(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield tables of network, settings, augmentation and where all of it came from."""
    first = (result.get("folds") or [result])[0]
    network = result.get("network") or first.get("network") or {}
    card = {name: network[key] for key, name in NETWORK if key in network}
    if isinstance(network.get("parameters"), int):
        card["Parameters"] = f"{network['parameters']:,}"
    yield from facts("Network", _pairs(card))
    for key, heading in (("settings", "Settings"), ("augmentation", "Augmentation")):
        yield from facts(heading, _pairs(result.get(key) or first.get(key) or {}))
    yield from facts("Provenance", _pairs(_provenance(result)))


def _same_network(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the scores of the network that was kept on the other parts."""
    found = []
    if result.get("test"):
        found.append(("Validation (epoch chosen on it)", score_text(result["validation"], MACRO)))
    best = result.get("best_epoch")
    epoch = next((e for e in result.get("epochs") or () if e["epoch"] == best), None)
    score = score_at(epoch, "train_eval", macro_of) if epoch else None
    if score is not None:
        found.append(("Training (learned from it)", score_number(score)))
    return found


def _fold_spread(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    spread = result.get("spread") or {}
    folds = counted(len(result["folds"]), "fold")
    if spread.get("mean") is None:
        return []
    mean, sd = score_number(spread["mean"]), spread.get("sd")
    if sd is None:
        return [(f"Mean of {folds}", mean)]
    return [(f"Mean of {folds} ± SD", f"{mean} ± {score_number(sd)}")]


def _interval(final: Mapping[str, Any]) -> str:
    """Return the interval of the score to judge by, to stand before a note."""
    words = beside(interval_of(final, MACRO), final.get(MACRO))
    return f"{level(final['intervals'])} interval {words}; " if words else ""


def _warnings(result: Mapping[str, Any], part: str) -> Iterator[str]:
    """Yield what makes the number better than it should be."""
    if part == "validation":
        yield (
            "▲ There is no test part. The epoch was chosen on the part that is scored here, so "
            "expect less on new images."
        )
    findings = result.get("findings") or ()
    errors = sum(str(entry["severity"]).lower() == "error" for entry in findings)
    if errors:
        these = "is an error: read it" if errors == 1 else "are errors: read them"
        yield f"✖ {errors} of {counted(len(findings), 'finding')} below {these} first."


def _effort(result: Mapping[str, Any], part: str, final: Mapping[str, Any]) -> str:
    """Say what the score was counted over, and what the training took."""
    trainings = result.get("folds") or [result]
    words = (
        f"Counted over {final['voxels']:,} voxels ({part}), {final['ignored']:,} of them ignored."
    )
    epochs = sum(len(training.get("epochs") or ()) for training in trainings)
    seconds = [(training.get("seconds") or {}).get("train") for training in trainings]
    known = [spent for spent in seconds if spent is not None]
    if epochs and known:
        networks = f"{counted(len(trainings), 'network')}, " if len(trainings) > 1 else ""
        words += f" Trained: {networks}{counted(epochs, 'epoch')}, {_duration(sum(known))}."
    if result.get("best_epoch") is not None:
        words += f" Weights of epoch {result['best_epoch']:,} were kept."
    return words


def _duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 120:
        return f"{quantity(round(seconds, 1))} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _provenance(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bundle and the digests, of every fold."""
    found = {"bundle": result.get("bundle"), "bundle digest": result.get("digest")}
    for number, fold in enumerate(result.get("folds") or ()):
        found[f"fold {number}, bundle"] = fold.get("bundle")
        found[f"fold {number}, bundle digest"] = fold.get("digest")
    found["split digest"] = (result.get("split") or {}).get("digest")
    return {name: value for name, value in found.items() if value is not None}


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested values as names and words."""
    words = {"True": "yes", "False": "no", "": "–"}
    return [(name, words.get(text, text)) for name, text in flat(values)]
