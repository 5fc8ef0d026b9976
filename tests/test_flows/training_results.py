"""Documents of a training and of five folds for the report, with plausible numbers and pictures."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.summary import VolumeCounts, summarise
from tests.test_flows.results import COLORS, NAMES, SHARES, planes

EPOCHS, STEPS = 10, 150
GROUPS, ITEMS = 10, 20
CLASSES = [
    {"value": v, "name": n, "color": [*COLORS.get(v, (0, 0, 0)), 255 if v else 0]}
    for v, n in enumerate(NAMES)
]
FINDINGS = [
    {
        "code": "SPLIT-CLASS-SUPPORT",
        "severity": "warning",
        "statement": "Synapse occurs in 1 of 2 groups of the test part.",
        "advice": "Its test score rests on one group; folds would test it on every group.",
    },
    {
        "code": "DATA-IMBALANCE",
        "severity": "info",
        "statement": "Synapse holds 0.5 % of the voxels of the training part.",
        "advice": "Crops around drawn classes show it more often; judge it by its own Dice.",
    },
]
LEAK = {
    "code": "SPLIT-LEAK",
    "severity": "error",
    "statement": "The same image is in training and test: fly3/em.zarr and copy/em.zarr.",
    "advice": "Take the copy out of the catalog; --allow-overlap is for experiments only.",
}


def one_training() -> dict[str, Any]:
    """The document of one training with a test part."""
    split = split_document(folds=None)
    epochs, best = learned(0)
    return {
        "schema": 1,
        "classes": CLASSES,
        "bundle": "models/fly-unet",
        "digest": "5c1f" * 16,
        "settings": settings(),
        "augmentation": {"flips": True, "turns": True, "rotate": 15.0, "scale": [0.9, 1.1]},
        "network": {
            "preset": "default",
            "parameters": 1_946_821,
            "halo": [92, 92],
            "stride": [16, 16],
            "exact": True,
            "precision": "float32",
            "pretrained": None,
            "frozen": [],
        },
        "split": split,
        "sampling": {
            "class_share": 0.5,
            "voxel_share": list(SHARES),
            "crop_share": [0.66, 0.158, 0.108, 0.052, 0.022],
        },
        "epochs": epochs,
        "steps_per_epoch": STEPS,
        "monitor": {"name": "val_macro_foreground_dice", "direction": "max", "patience": None},
        "best_epoch": best,
        "stopped": "all steps were taken",
        "validation": part_scores("v", seed=3),
        "test": part_scores("t", seed=4),
        "tuned_on": "Weights were fitted to the training part; the epoch was chosen on the "
        "validation part; the test part was looked at once, after that.",
        "recalibration": {
            "helped": True,
            "before": 0.744,
            "after": 0.752,
            "bundle": "recalibrated",
        },
        "seconds": {"train": 2243.8},
        "findings": FINDINGS,
    }


def recalibration() -> dict[str, Any]:
    """Statistics of batch normalisation that made the network better."""
    return {"helped": True, "before": 0.744, "after": 0.752, "bundle": "recalibrated"}


def settings() -> dict[str, Any]:
    """Settings as they are told in a report."""
    return {
        "crop": [256, 256],
        "batch_size": 4,
        "steps": EPOCHS * STEPS,
        "learning_rate": 0.003,
        "loss": "cross-entropy+dice",
        "class_weights": "sqrt",
        "augment": "standard",
        "seed": 0,
    }


def learned(seed: int) -> tuple[list[dict[str, Any]], int]:
    """Epochs, and the number of the one with the best validation score."""
    epochs = [epoch(number, seed) for number in range(1, EPOCHS + 1)]
    scores = [found["curves"]["val"]["macro_foreground_dice"] for found in epochs]
    for place, found in enumerate(epochs):
        found["best"] = scores[place] == max(scores[: place + 1])
    return epochs, 1 + scores.index(max(scores))


def epoch(number: int, seed: int) -> dict[str, Any]:
    """An epoch of a network that learns, and in the end learns by heart."""
    random = np.random.default_rng(1000 * seed + number)
    rate = 0.003 * (1 + np.cos(np.pi * number / EPOCHS)) / 2

    def row(ceiling: float, wobble: float, lag: float = 0.0) -> dict[str, Any]:
        age = max(number - lag, 0.2)
        tops = np.array([0.995, 0.97, 0.985, 0.86, 0.46]) - ceiling
        speeds = np.array([3.0, 1.2, 0.9, 0.5, 0.3])
        dice = tops * (1 - np.exp(-speeds * age)) + random.normal(0, wobble, 5)
        dice = np.clip(dice, 0.0, 0.995)
        return {
            "macro_foreground_dice": float(dice[1:].mean()),
            "dice": dice.tolist(),
            "cross_entropy": float(0.08 + 0.3 * ceiling + 0.9 * np.exp(-0.45 * age)),
        }

    return {
        "epoch": number,
        "steps": number * STEPS,
        "planned_steps": EPOCHS * STEPS,
        "seconds": 224.0 * number,
        "learning_rate": float(rate),
        "loss": float(0.3 + 1.4 * np.exp(-0.35 * number)),
        "curves": {
            "train_running": row(0.03, 0.004, lag=0.5),
            "train_eval": row(0.0, 0.004),
            "val": row(0.05, 0.02),
            "val_batchstats": row(0.055, 0.006),
        },
    }


def split_document(folds: int | None) -> dict[str, Any]:
    """A split of twenty items of ten groups, into three parts or into folds."""
    random = np.random.default_rng(5)
    items = []
    for number in range(ITEMS):
        shares = np.array(SHARES) * random.uniform(0.6, 1.4, len(NAMES))
        shares[4] *= number % 3 != 0
        counts = (shares / shares.sum() * 16 * 512 * 512).astype(int)
        items.append(
            {
                "image": f"fly{number // 2 + 1}/em-{'ab'[number % 2]}.zarr",
                "label": "truth",
                "region": {"start": [0, 0, 0], "stop": [16, 512, 512]},
                "group": f"fly{number // 2 + 1}",
                "image_digest": f"{number:064x}",
                "label_digest": f"{number + 99:064x}",
                "counts": counts.tolist(),
                "ignored": 1200 * number,
            }
        )
    per_group = ITEMS // GROUPS
    sizes = (6, 2, 2) if folds is None else (GROUPS - 2 * GROUPS // folds, *[GROUPS // folds] * 2)
    parts = []
    for fold in range(folds or 1):
        order = np.roll(np.arange(GROUPS), -fold * (GROUPS // (folds or 1)))[::-1]
        ends = np.cumsum((0, *sizes))
        train, validation, test = (
            sorted(int(g) * per_group + k for g in order[a:b] for k in range(per_group))
            for a, b in pairwise(ends)
        )
        parts.append({"train": train, "validation": validation, "test": test})
    split = {
        "schema": 1,
        "rule": "grouped, stratified",
        "seed": 0,
        "shares": [0.7, 0.15, 0.15],
        "classes": list(NAMES),
        "items": items,
        "linked": [["fly1", "fly2"]],
        "folds": parts,
    }
    text = json.dumps(split, sort_keys=True)
    return {**split, "digest": hashlib.sha256(text.encode()).hexdigest()}


def part_scores(name: str, seed: int, volumes: int = 4) -> dict[str, Any]:
    """Scores of a part, as they are summed up after a training."""
    counts = planes(volumes, 8, seed)
    rest = np.zeros((volumes, 8, 2), np.int64)
    rows = np.concatenate([counts.reshape(volumes, 8, -1), rest], axis=2)
    made = [
        VolumeCounts(f"{name}{i}/em.zarr", f"{name}{i // 2}", rows[i], "z") for i in range(volumes)
    ]
    return summarise(made, NAMES)


def without_test() -> dict[str, Any]:
    """The same training without a test part, batch normalisation and anything optional."""
    result = one_training()
    split = split_document(folds=None)
    parts = split["folds"][0]
    parts["train"], parts["test"] = sorted(parts["train"] + parts["test"]), []
    for number in result["epochs"]:
        number["curves"]["val_batchstats"] = None
    return result | {"test": None, "split": split, "recalibration": None, "findings": []}


def fold_trainings(count: int = 5) -> dict[str, Any]:
    """The document of a cross-validation."""
    folds = []
    for number in range(count):
        fold = one_training()
        fold["epochs"], fold["best_epoch"] = learned(number + 1)
        fold |= {
            "bundle": f"models/fly-unet/fold-{number}",
            "digest": f"{number:x}" * 64,
            "validation": part_scores(f"v{number}", seed=20 + number),
            "test": part_scores(f"t{number}", seed=40 + number),
            "recalibration": None,
        }
        folds.append(fold)
    scores = [fold["test"]["macro_foreground_dice"] for fold in folds]
    return {
        "schema": 1,
        "classes": CLASSES,
        "split": split_document(folds=count),
        "folds": folds,
        "out_of_fold": part_scores("o", seed=60, volumes=ITEMS),
        "spread": {
            "mean": float(np.mean(scores)),
            "sd": float(np.std(scores, ddof=1)),
            "per_fold": scores,
        },
        "findings": FINDINGS[1:],
    }


def write_arrays(folder: Path, *, ignored: bool = False, size: int = 128) -> Path:
    """Write what a training leaves for its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    image, label = _planes(random, 4, size)
    if ignored:
        label[0, : size // 8] = 255
    steps = [["flip y", "turn 90°", "elastic 4 px, gamma 0.8, brightness +0.1"]] * 4
    moved = np.pad(image, ((0, 0), (9, 0), (0, 0)), mode="reflect")[:, :-9] ** 0.8 + 0.1
    warped = np.pad(label, ((0, 0), (9, 0), (0, 0)), mode="reflect")[:, :-9]
    changed = np.stack([image[:, ::-1], np.rot90(image, axes=(1, 2)), moved], axis=1)
    labels = np.stack([label[:, ::-1], np.rot90(label, axes=(1, 2)), warped], axis=1)
    np.savez(
        folder / "samples.npz",
        image=image,
        label=label,
        augmented_image=changed.astype(np.float32),
        augmented_label=labels,
        steps=np.array(steps),
    )
    image, truth = _planes(random, 2, 2 * size)
    names = np.array(["fly7/em-a.zarr, z 4", "fly8/em-b.zarr, z 11"])
    np.savez(folder / "slices.npz", image=image, truth=truth, names=names)
    for number in range(1, EPOCHS + 1):
        masks = np.roll(truth, max(1, 12 - number), axis=2)
        masks[:, :, : 3 * (EPOCHS - number)] = 0
        np.savez(folder / f"predictions-{number:04d}.npz", masks=masks)
    return folder


def _planes(
    random: np.random.Generator, number: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Blobs of four classes in noise, about 0 to 1."""
    y, x = np.mgrid[:size, :size] / size
    labels = np.zeros((number, size, size), np.uint8)
    for plane in labels:
        for value in (1, 1, 2, 3, 3, 3, 4):
            cy, cx = random.uniform(0.1, 0.9, 2)
            plane[(y - cy) ** 2 + (x - cx) ** 2 < (0.2 - 0.035 * value) ** 2] = value
    noise = random.normal(0, 0.05, labels.shape)
    return np.clip(0.25 + 0.13 * labels + noise, 0, 1).astype(np.float32), labels
