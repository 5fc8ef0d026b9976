"""A whole result.json for the report: four foreground classes, 24 volumes of 12 specimens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.report.png import Picture, draw_picture
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from tests.test_flows.report_outline import NASTY

Counts = NDArray[np.int64]

NAMES = ("background", "membrane", "mitochondrion", "vesicle", "synapse")
COLORS = {1: (86, 180, 233), 2: (230, 159, 0), 3: (0, 158, 115), 4: (240, 228, 66)}
IMAGES, SPECIMENS, SLICES, MAP = 24, 12, 16, (3, 4)
RECALL = (0.985, 0.88, 0.93, 0.72, 0.55)
SHARES = (0.78, 0.12, 0.07, 0.025, 0.005)
PLANE = 256 * 256


UNSCORED: dict[str, Any] = {
    "classes": [{"value": 0, "name": "background"}, {"value": 1, "name": NASTY}],
    "shares": [
        {"value": 0, "name": "background", "voxels": 3000, "share": 0.75},
        {"value": 1, "name": NASTY, "voxels": 1000, "share": 0.25},
    ],
}


def scored(counts: Any, names: tuple[str, ...] = ("background", "membrane", "synapse")) -> Any:
    """Scores of some counts, rows truth."""
    return scores(ConfusionMatrix(np.array(counts, np.int64)), names)


def planes(images: int = IMAGES, slices: int = SLICES, seed: int = 7) -> Counts:
    """Confusions of every plane, shape (images, slices, 5, 5); synapses are in few planes."""
    random = np.random.default_rng(seed)
    counts = np.zeros((images, slices, 5, 5), np.int64)
    for image, plane in np.ndindex(images, slices):
        shares = np.array(SHARES) * random.uniform(0.7, 1.3, 5)
        shares[4] *= plane % 16 in (3, 4, 5, 9, 11, 12)
        support = (shares / shares.sum() * PLANE).astype(np.int64)
        poor = 0.25 if image == 5 and 6 <= plane % 16 <= 9 else 0.0
        for truth in range(5):
            hit = np.clip(RECALL[truth] + random.normal(0, 0.03) - poor * (truth > 0), 0.02, 0.999)
            row = np.full(5, 0.1) * (1 - hit)
            row[0] += 0.5 * (1 - hit)
            row[truth] = hit
            counts[image, plane, truth] = random.multinomial(support[truth], row / row.sum())
    return counts


def row(counts: Counts) -> dict[str, Any]:
    """Scores of some confusions, as rows of images, specimens, planes and places hold them."""
    whole = counts.reshape(-1, 5, 5).sum(axis=0)
    found = scores(ConfusionMatrix(whole), NAMES)
    return {
        "voxels": found["voxels"],
        "ignored": 0,
        "macro_foreground_dice": found["macro_foreground_dice"],
        "pooled_dice": found["pooled_dice"],
        **{key: [e[key] for e in found["classes"]] for key in ("dice", "support", "predicted")},
    }


def full_result(images: int = IMAGES, slices: int = SLICES) -> dict[str, Any]:
    """Everything that a result may hold, with plausible numbers."""
    counts = planes(images, slices)
    rows = [
        {"image": f"fly{i // 2 + 1}-{'ab'[i % 2]}.zarr", "group": f"fly{i // 2 + 1}", "index": None}
        | row(counts[i])
        for i in range(images)
    ]
    groups = [
        {"group": f"fly{i + 1}", "images": 2, **row(counts[2 * i : 2 * i + 2])}
        for i in range(images // 2)
    ]
    whole = ConfusionMatrix(counts.sum(axis=(0, 1)), ignored=120_345, out_of_range=17)
    return {
        **scores(whole, NAMES),
        "shards": {"planned": 288, "done": 288, "skipped": 0, "failed": 0},
        "amplification": 1.31,
        "findings": findings(),
        "voxel_size": [50.0, 4.0, 4.0],
        "unit": "nanometer",
        "axes": "zyx",
        "ignore_label": 255,
        "intervals": intervals(groups),
        "groups": groups,
        "images": rows,
        "slices": {
            "axis": "z",
            "rows": [
                {"image": i, "index": z, **row(counts[i, z])}
                for i in range(images)
                for z in range(slices)
            ],
        },
        "map": shard_map(counts),
        "probability": probability(),
        "components": components(),
        "instances": instances(),
        "surface": surface(),
        "comparison": comparison(),
    }


def findings() -> list[dict[str, str]]:
    return [
        {
            "code": "EVAL-CLASS-MISSED",
            "severity": "error",
            "statement": "Synapse is in the truth of 24 images and is hardly found in fly3-b.zarr.",
            "advice": "Look at the worst planes of synapse before using its masks.",
        },
        {
            "code": "EVAL-POOLED",
            "severity": "warning",
            "statement": "The pooled Dice is 0.24 above the macro-foreground Dice.",
            "advice": "Judge by the macro-foreground Dice.",
        },
        {
            "code": "EVAL-SMALL-N",
            "severity": "info",
            "statement": "Twelve specimens make wide intervals.",
            "advice": "",
        },
    ]


def intervals(groups: list[dict[str, Any]]) -> dict[str, Any]:
    def entry(score: str, value: int | None, name: str, found: list[float]) -> dict[str, Any]:
        mean, half = np.mean(found), 2.2 * np.std(found, ddof=1) / len(found) ** 0.5
        return {
            "score": score,
            "value": value,
            "name": name,
            "estimate": float(mean),
            "low": float(mean - half),
            "high": float(mean + half),
            "groups": len(found),
            "undefined": len(groups) - len(found),
            "note": None,
        }

    macro = [g["macro_foreground_dice"] for g in groups]
    entries = [entry("macro_foreground_dice", None, "Macro-foreground Dice", macro)]
    for value, name in enumerate(NAMES[1:4], 1):
        entries.append(entry("dice", value, name, [g["dice"][value] for g in groups]))
    last = entry("dice", 4, NAMES[4], [0.4, 0.5])
    note = "no interval: defined in only 2 specimens"
    entries.append(last | {"low": None, "high": None, "undefined": 10, "note": note})
    return {
        "unit": "specimen",
        "groups": len(groups),
        "level": 0.95,
        "method": "t",
        "note": f"Mean and 95 % t interval of the scores of {len(groups)} specimens, on the logit "
        "scale and transformed back.",
        "scores": entries,
    }


def shard_map(counts: Counts, shape: tuple[int, int] = MAP) -> dict[str, Any]:
    """Deal the planes out to places; the last place has no foreground."""
    places = list(np.ndindex(shape))
    dealt = counts.reshape(-1, 5, 5)
    rows = [
        {"place": list(place), **row(dealt[number :: len(places)][:3])}
        for number, place in enumerate(places)
    ]
    empty = np.zeros((5, 5), np.int64)
    empty[0, 0] = PLANE
    rows[-1] = {"place": list(places[-1]), **row(empty)}
    return {"axes": "yx", "shape": list(shape), "rows": rows}


def probability() -> dict[str, Any]:
    bins = 10
    classes = []
    for value, name in enumerate(NAMES):
        bias = 0.03 * value
        means = [(i + 0.5) / bins for i in range(bins)]
        counts = [int(10 ** (6.3 - value / 2) * (0.2 + abs(2 * m - 1)) ** 3) for m in means]
        classes.append(
            {
                "value": value,
                "name": name,
                "positives": int(25e6 * SHARES[value]),
                "negatives": int(25e6 * (1 - SHARES[value])),
                "auroc": 0.99 - 0.02 * value,
                "average_precision": 0.99 - 0.09 * value,
                "brier": 0.05 - 0.01 * value,
                "ece": 0.012 + bias,
                "mce": 0.1 + bias,
                "soft_dice": 0.95 - 0.1 * value,
                "best_threshold": 0.51 - 0.04 * value,
                "best_threshold_dice": 0.96 - 0.09 * value,
                "dice_at_half": 0.95 - 0.1 * value,
                "undefined": {},
                "reliability": [
                    {
                        "low": i / bins,
                        "high": (i + 1) / bins,
                        "mean_probability": m,
                        "observed": max(0.0, m - bias * 4 * m * (1 - m) * 2),
                        "count": n,
                    }
                    for i, (m, n) in enumerate(zip(means, counts, strict=True))
                ],
            }
        )
    return {
        "levels": 256,
        "classes": classes,
        "macro_foreground_auroc": 0.94,
        "foreground_ece": 0.087,
        "undefined": {},
    }


def components() -> list[dict[str, Any]]:
    return [
        {
            "value": value,
            "name": name,
            "truth_voxels": voxels,
            "mask_voxels": int(voxels * 1.04),
            "truth_components": number,
            "mask_components": int(number * 1.3),
            "truth_volume": voxels * 800.0,
            "mask_volume": int(voxels * 1.04) * 800.0,
        }
        for value, (name, voxels, number) in enumerate(
            zip(
                NAMES[1:], (3_019_000, 1_760_000, 629_000, 47_000), (96, 334, 5210, 41), strict=True
            ),
            1,
        )
    ]


def instances() -> dict[str, Any]:
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    classes = []
    for value, (name, truth) in enumerate(zip(NAMES[2:], (334, 5210, 41), strict=True), 2):
        matches = []
        for place, threshold in enumerate(thresholds):
            hits = int(truth * (0.93 - 0.08 * value) * (1 - (place / 10) ** 2))
            false = int(truth * 1.1) - hits
            matches.append(
                {
                    "threshold": round(threshold, 2),
                    "true_positives": hits,
                    "false_positives": false,
                    "false_negatives": truth - hits,
                    "average_precision": hits / (truth + false),
                    "f1": 2 * hits / (2 * hits + false + truth - hits),
                    "precision": hits / (hits + false),
                    "recall": hits / truth,
                    "undefined": {},
                }
            )
        recall, precision = matches[0]["recall"], matches[0]["precision"]
        note = "Wilson interval of the counts at IoU 0.5; objects of one image are not independent"
        classes.append(
            {
                "value": value,
                "name": name,
                "truth_objects": truth,
                "mask_objects": int(truth * 1.1),
                "matches": matches,
                "pq": 0.71 - 0.1 * value,
                "sq": 0.84 - 0.02 * value,
                "rq": 0.85 - 0.1 * value,
                "mean_matched_iou": 0.84 - 0.02 * value,
                "splits": 12 * value,
                "merges": 7 * value,
                "missed": truth // 9,
                "invented": truth // 7,
                "undefined": {},
                "recall_interval": {"low": recall - 0.04, "high": recall + 0.03, "note": note},
                "precision_interval": {
                    "low": precision - 0.04,
                    "high": precision + 0.03,
                    "note": note,
                },
            }
        )
    return {
        "thresholds": thresholds,
        "connectivity": "faces",
        "images": IMAGES,
        "classes": classes,
        "voi_split": 0.412,
        "voi_merge": 0.187,
        "voi": 0.599,
        "adapted_rand_error": 0.094,
        "rand_precision": 0.931,
        "rand_recall": 0.882,
        "undefined": {},
    }


def surface() -> dict[str, Any]:
    found = {
        "tolerances": [50.0, 100.0],
        "cap": 500.0,
        "unit": "nanometer",
        "classes": [
            {
                "value": value,
                "name": name,
                "nsd": [0.97 - 0.09 * value, 0.99 - 0.05 * value],
                "boundary_iou": [0.81 - 0.09 * value, 0.86 - 0.07 * value],
                "hd50": 4.0 * value,
                "hd95": 61.4 * value,
                "censored_share": 0.002 * value,
                "truth_area": 4.4e8 / value,
                "mask_area": 4.7e8 / value,
                "excluded": 1_204 if value == 1 else 0,
                "undefined": {},
            }
            for value, name in enumerate(NAMES[1:], 1)
        ],
    }
    reason = "more than the cap of 500 nanometer away"
    found["classes"][3] |= {"hd95": None, "censored_share": 0.11, "undefined": {"hd95": reason}}
    return found


def comparison() -> dict[str, Any]:
    scores_ = []
    for value, name in enumerate(("Macro-foreground Dice", *NAMES[1:])):
        difference = (0.031, 0.004, 0.022, 0.058, 0.040)[value]
        half = (0.014, 0.006, 0.015, 0.03, 0.09)[value]
        p = (0.0015, 0.21, 0.011, 0.002, 0.37)[value]
        scores_.append(
            {
                "score": "dice" if value else "macro_foreground_dice",
                "value": value or None,
                "name": name,
                "first": 0.78 - 0.05 * value,
                "second": 0.78 - 0.05 * value - difference,
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
                "wins": 10 - value,
                "ties": value // 4,
                "losses": 2 + value - value // 4,
                "p": p,
                "p_holm": (None, 0.42, 0.033, 0.008, 0.42)[value],
                "test": "sign-flip permutation, exact",
                "minimum_detectable_difference": half * 1.4,
                "note": None,
            }
        )
    voxels = [
        {"value": v, "name": n, "first_only": 9000 // v, "second_only": 4000 // v}
        | {"both": 100_000 // v, "neither": 12_000 // v}
        for v, n in enumerate(NAMES[1:], 1)
    ]
    objects = {"first_only": 61, "second_only": 33, "both": 4120, "neither": 871, "p": 0.0051}
    return {
        "first": "unet-3d",
        "second": "unet-2d",
        "unit": "specimen",
        "groups": SPECIMENS,
        "level": 0.95,
        "note": "Mean of the paired differences of 12 specimens with its t interval.",
        "scores": scores_,
        "voxels": voxels,
        "objects": objects | {"test": "McNemar, exact"},
    }


def pictures(number: int = 2) -> list[Picture]:
    """Planes of blobs and of masks that are not quite right."""
    random = np.random.default_rng(3)
    made = []
    for z in range(number):
        y, x = np.mgrid[:96, :128]
        truth = np.zeros((96, 128), np.uint8)
        for value in range(1, 5):
            cy, cx, r = random.uniform(15, 80), random.uniform(15, 110), 20 - 3 * value
            truth[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = value
        mask = np.roll(truth, 3, axis=1)
        image = 60 + 30 * truth + random.normal(0, 9, truth.shape)
        caption = f"z {7 * z + 4}, Dice 0.{41 + z}"
        made.append(draw_picture(caption, image, mask, truth, colors=COLORS))
    return made


def full_options() -> dict[str, Any]:
    """What `render_report` is given beside the result."""
    return {
        "title": "cells: flies.zarr",
        "provenance": {
            "image": "s3://bucket/a/rather/long/path/to/the/images/of/the/flies.zarr",
            "model": {"name": "unet-3d", "halo": [8, 32, 32], "digest": "8f1e" * 16},
            "seed": None,
        },
        "pictures": pictures(2),
        "colors": COLORS,
        "seconds": {"plan": 0.4, "infer": 812.3, "aggregate": 1.9},
        "worst": {value: pictures(2) for value in (1, 4)},
    }
