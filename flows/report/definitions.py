"""What every score means, with its formula; a page shows those of the scores it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Term, then what it means, by the key under which a section names it; in the order of the page.
DEFINITIONS: dict[str, tuple[str, str]] = {
    "dice": ("Dice", "2 TP / (2 TP + FP + FN): twice the overlap, over the two sizes added up."),
    "iou": ("IoU", "TP / (TP + FP + FN): the overlap, over everything either of the two covers."),
    "precision": (
        "Precision",
        "TP / (TP + FP): of what was predicted as the class, the share that is right.",
    ),
    "recall": ("Recall", "TP / (TP + FN): of the class in the truth, the share that was found."),
    "specificity": (
        "Specificity",
        "TN / (TN + FP): of everything else, the share that was left alone.",
    ),
    "support": ("Support", "TP + FN: voxels of the class in the truth."),
    "macro": (
        "Macro-foreground",
        "Plain mean over the foreground classes, so that a rare class counts as much as a common "
        "one. Classes that occur neither in truth nor in prediction are left out, and counted.",
    ),
    "pooled": (
        "Pooled Dice",
        "All classes thrown together, the background included. It equals accuracy, the share of "
        "voxels whose class is right, and is mostly about the background.",
    ),
    "interval_t": (
        "Interval (t)",
        "m ± t s / √n of the n groups' scores, m their mean, s their standard deviation, t the "
        "quantile of Student's t with n − 1 degrees of freedom; on the logit scale, "
        "log(x / (1 − x)), and transformed back. Of many such intervals the share that the level "
        "names holds the score of a typical group.",
    ),
    "interval_bootstrap": (
        "Interval (bootstrap)",
        "Whole groups are drawn with replacement, as many as there are, again and again, and the "
        "score is counted anew; the interval leaves a little less than (1 − level) / 2 of the "
        "results out at either end, as n groups vary less than all there are.",
    ),
    "median": ("Median", "The middle of the sorted scores: half of the images reach it."),
    "components": (
        "Component",
        "Voxels of one class that touch by their faces. Volume: voxels × voxel size.",
    ),
    "pq": (
        "PQ, SQ, RQ",
        "Panoptic quality PQ = SQ × RQ of objects matched at an IoU above 0.5: SQ = mean IoU of "
        "the matched, RQ = 2 TP / (2 TP + FP + FN) with TP, FP, FN counted in objects.",
    ),
    "errors": (
        "Missed, invented, splits, merges",
        "Missed: a truth object at most a tenth of which lies in mask objects of its class; "
        "invented: the same the other way round. Split: a truth object of which the largest of "
        "several mask objects holds less than nine tenths of what they hold together; merge: the "
        "same the other way round.",
    ),
    "ap_at": (
        "AP at an IoU",
        "TP / (TP + FP + FN), counted in objects; a match is a pair of one class whose IoU lies "
        "above the threshold. Objects of all images are counted together.",
    ),
    "voi": (
        "VOI",
        "Variation of information = H(mask | truth) + H(truth | mask) in bits: split, 0 where no "
        "truth object is in pieces, plus merge, 0 where no segment holds two truth objects.",
    ),
    "rand": (
        "Rand precision, recall, adapted error",
        "Of the pairs of voxels in one segment of the mask, the share that lies in one object of "
        "the truth; of the pairs in one object, the share in one segment; 1 − their harmonic mean.",
    ),
    "nsd": (
        "NSD",
        "Normalised surface Dice: the surface of truth and mask that lies within the tolerance of "
        "the other, over both surfaces, (T′ + M′) / (T + M).",
    ),
    "boundary_iou": (
        "Boundary IoU",
        "IoU of those voxels of truth and mask that lie within the tolerance of their own border.",
    ),
    "hd": (
        "HD50, HD95",
        "Of the distances of each surface from the other, weighted by area, the one that 50 % or "
        "95 % do not exceed; the larger of the two directions.",
    ),
    "censored": (
        "Surface beyond the cap",
        "Share of the surface farther from the other than distances were measured.",
    ),
    "auroc": (
        "AUROC",
        "Chance that a voxel of the class has a higher probability than another one; ties count "
        "one half. Area under the ROC curve.",
    ),
    "average_precision": (
        "Average precision",
        "Σ (Rᵢ − Rᵢ₋₁) Pᵢ over the probability levels, with recall R and precision P of the voxels "
        "at or above each. Not the AP of objects.",
    ),
    "brier": ("Brier score", "Mean of (p − t)², for probability p and truth t, 0 or 1; 0 is best."),
    "ece": (
        "ECE",
        "Expected calibration error, Σ nᵦ |pᵦ − oᵦ| / n over the bins of the reliability diagram: "
        "mean probability p, observed share o; 0 is best.",
    ),
    "mce": ("MCE", "Maximum calibration error: the largest |pᵦ − oᵦ| of all bins."),
    "soft_dice": ("Soft Dice", "2 Σ p t / (Σ p + Σ t): the Dice without a threshold."),
    "best_threshold": (
        "Best threshold",
        "The lowest probability t for which the voxels with p ≥ t have the highest Dice.",
    ),
    "reliability": (
        "Reliability diagram",
        "Share of voxels truly of the class over their mean probability, in bins of about equal "
        "mass.",
    ),
    "difference": (
        "Difference",
        "Mean over the groups of first − second. Wins are groups in which the first is higher.",
    ),
    "p": (
        "p",
        "If the two were alike, every difference could as well have the other sign: the share of "
        "sign patterns whose mean is at least as far from 0 as the one observed.",
    ),
    "holm": (
        "Holm p",
        "p made larger for the number n of classes tested: × n for the smallest, × (n − 1) for the "
        "next, and so on.",
    ),
    "detectable": (
        "Detectable difference",
        "(t₁ + t₂) s / √n: a true difference of this size would have been shown in 80 % of such "
        "comparisons; s is the standard deviation of the n differences.",
    ),
    "mcnemar": (
        "McNemar's test",
        "Of the objects found by one only, how far from half are those of the first: the exact "
        "binomial p.",
    ),
    "train_running": (
        "Training, running",
        "Counted over the crops of an epoch while it ran: every step with the weights of that "
        "step, augmentation and dropout at work. It is older than the weights at the end of the "
        "epoch by (n + 1) / 2 of its n steps, on average.",
    ),
    "train_eval": (
        "Training",
        "Part of the training regions, as they are, after the epoch, with the network as it will "
        "be used.",
    ),
    "val": ("Validation", "The validation part, with the same weights in the same way."),
    "val_batchstats": (
        "Validation, batch stats",
        "The validation part with the same weights, but batch normalisation takes mean and "
        "variance from what it is shown instead of the averages that it has stored. Where this is "
        "smoother or higher than validation, the stored averages are to blame.",
    ),
    "cross_entropy": (
        "Cross-entropy",
        "Mean of −ln p over the voxels, p the probability of the true class; 0 is best.",
    ),
    "crop_share": (
        "Share in crops",
        "Voxels of a class over all counted voxels of the crops that the network was shown.",
    ),
    "out_of_fold": (
        "Out of fold",
        "Every group is scored by the network of the fold that tested it, which saw it neither in "
        "training nor in validation; the counts of all groups are added up.",
    ),
    "false_skip": (
        "False-skip rate",
        "Of the voxels of blocks that looked empty and were computed all the same, drawn at "
        "random, the share that the network gave to another class than the background.",
    ),
    "undefined": (
        "Undefined",
        "The score would divide by zero, or lies beyond what was measured. It is never counted as "
        "0 or as 1.",
    ),
}
LEAD = (
    "For one class: TP voxels are rightly given it, FP wrongly; FN voxels are of the class but "
    "were given another; TN are all the rest."
)


def definitions(terms: Iterable[str]) -> list[tuple[str, str]]:
    """Return term and meaning of every key, once, in the order of the page.

    Raises
    ------
    KeyError
        If a key has no definition.
    """
    wanted = set(terms)
    missing = wanted - set(DEFINITIONS)
    if missing:
        raise KeyError(f"terms without a definition: {sorted(missing)}; add them to DEFINITIONS")
    return [entry for key, entry in DEFINITIONS.items() if key in wanted]
