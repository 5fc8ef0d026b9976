"""What mean scores say of each other: the spread behind them, and accuracy by the name of Dice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from segmentation.audit.finding import Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.log import TrainingLog
    from segmentation.audit.thresholds import TrainThresholds

# Half a unit of the fourth decimal, of Dice and of IoU.
_ROUNDING = 1.5e-4


class _Pair(NamedTuple):
    line: str
    part: str
    accuracy: float | None
    dice: float
    iou: float


def score_findings(log: TrainingLog, thresholds: TrainThresholds) -> Iterator[Finding]:
    """LOG-SPREAD and EVAL-POOLED."""
    pairs = list(_pairs(log))
    yield from _spread(pairs, thresholds)
    yield from _pooled(pairs, thresholds)


def spread_of_pair(dice: float, iou: float) -> float:
    """Standard deviation of Dice over the images behind a mean Dice and a mean IoU.

    IoU = f(D) = D / (2 - D) bends upwards, so that the mean IoU exceeds f of the mean Dice by
    about f'' / 2 times the variance, with f'' = 4 / (2 - D)³ (Taylor, second order).

    Parameters
    ----------
    dice, iou : float
        Means over the same images, or batches.

    Returns
    -------
    float
        0 where the pair shows no spread.
    """
    gap = iou - dice / (2 - dice)
    return math.sqrt(max(0.0, 2 * gap / (4 / (2 - dice) ** 3)))


def _pairs(log: TrainingLog) -> Iterator[_Pair]:
    lines = [(f"line {n}", scores) for n, scores in enumerate(log.results, start=1)]
    last = {name: value for name in log.scored if (value := log.last(name)) is not None}
    for line, scores in [*lines, (f"epoch {log.epochs}", last)]:
        for prefix, part in (("", "training"), ("val_", "validation")):
            dice = _named(scores, prefix, ("dice",))
            iou = _named(scores, prefix, ("iou", "io_u", "jaccard"))
            if dice is not None and iou is not None:
                yield _Pair(line, part, _named(scores, prefix, ("acc",)), dice, iou)


def _named(scores: Mapping[str, float], prefix: str, words: Sequence[str]) -> float | None:
    """First score of a part with one of these words in its name."""
    for name, value in scores.items():
        plain = name.removeprefix("val_").lower()
        same_part = name.startswith("val_") == bool(prefix)
        if same_part and "loss" not in plain and any(word in plain for word in words):
            return value if 0 <= value <= 1 else None
    return None


def _spread(pairs: Sequence[_Pair], thresholds: TrainThresholds) -> Iterator[Finding]:
    rows = [(p.line, p.part, p.dice, p.iou, p.iou - p.dice / (2 - p.dice)) for p in pairs]
    spreads = [spread_of_pair(p.dice, p.iou) for p in pairs]
    shown = [s for s, row in zip(spreads, rows, strict=True) if row[-1] > _ROUNDING]
    if max(shown, default=0.0) < thresholds.spread:
        return
    texts = [
        f"{p.line}, {p.part}: {s:.3f}" for p, s in zip(pairs, spreads, strict=True) if s in shown
    ]
    heads = ("where", "part", "Dice", "IoU", "IoU − D/(2−D)", "SD of Dice")
    yield Finding(
        code="LOG-SPREAD",
        severity="info",
        statement=f"Behind the mean Dice the images differ: its standard deviation between them "
        f"is about {'; '.join(texts)}.",
        rule="Mean Dice D and mean IoU of the same images give SD ≈ sqrt(2 · (IoU − D/(2−D)) / "
        f"f''), f'' = 4/(2−D)³; it is at least {thresholds.spread:g}, the largest "
        f"{max(shown):.3f}.",
        advice="Look at the worst images, not at the mean: `maskmill evaluate IMAGE.zarr --labels "
        "NAME --truth LABEL` shows them. Differences between two trainings below twice SD / √n "
        "are none.",
        proves_not="The spread may be between batches instead of images, and it does not say "
        "which images are bad.",
        evidence=(
            Table(
                "Spread behind the means",
                heads,
                tuple((*row, s) for row, s in zip(rows, spreads, strict=True)),
            ),
        ),
    )


def _pooled(pairs: Sequence[_Pair], thresholds: TrainThresholds) -> Iterator[Finding]:
    """Accuracy and Dice that agree everywhere, and IoU as one number's function of Dice."""
    known = [(p, p.accuracy) for p in pairs if p.accuracy is not None]
    if not known:
        return
    apart = max(abs(accuracy - p.dice) for p, accuracy in known)
    bent = max(abs(p.iou - p.dice / (2 - p.dice)) for p, _ in known)
    if apart > thresholds.twin or bent > thresholds.twin:
        return
    rows = tuple((p.line, p.part, a, p.dice, p.dice / (2 - p.dice), p.iou) for p, a in known)
    yield Finding(
        code="EVAL-POOLED",
        severity="warning",
        statement=f"This Dice looks like pixel accuracy under another name: in {len(known)} "
        f"places it differs from the accuracy by at most {apart:.3f}, and IoU from D/(2−D) by at "
        f"most {bent:.3f}. A mask of background alone then scores the share of the background.",
        rule=f"|accuracy − Dice| and |IoU − D/(2−D)| of all lines at most {thresholds.twin:g}; "
        f"they are {apart:.3f} and {bent:.3f}.",
        advice="Check the metric: `maskmill audit --metric MODULE:FUNCTION`. Score every class by "
        "itself with `maskmill evaluate IMAGE.zarr --labels NAME --truth LABEL`.",
        proves_not="Numbers alone cannot prove it: a Dice by class can be near the accuracy by "
        "accident. Only the metric's code, or its values on known masks, can.",
        evidence=(
            Table(
                "Accuracy beside Dice",
                ("where", "part", "accuracy", "Dice", "D/(2−D)", "IoU"),
                rows,
            ),
        ),
    )
