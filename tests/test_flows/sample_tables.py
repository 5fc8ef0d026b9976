"""Folders of small images with a table and a catalog, that several tests share."""

import csv
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from flows.jobs import TrainJob

SIDE = 16
SETTINGS = {
    **{"width": 4, "batch_size": 8, "steps": 4, "steps_per_epoch": 2, "augment": "flips"},
    **{"learning_rate": 1e-2, "executor": "serial", "precision": "float32"},
}


def picture(label, seed, side=SIDE):
    """Noise; of class 1 with a bright square."""
    voxels = np.random.default_rng((seed, label)).normal(100, 25, (side, side))
    if label:
        voxels[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] += 80
    return voxels.clip(0, 255).astype(np.uint8)


def write_table(path, rows):
    """A CSV file of dicts, whose keys are the columns."""
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_samples(folder, count=24, *, per_group=2, change=lambda rows, images: None, **content):
    """Images, truth.csv and catalog.yaml; sorted by class, as such tables are. Its path."""
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, images = [], {}
    for number in range(count):
        label, name = int(number >= count // 2), f"{number:03}.png"
        images[name] = picture(label, number)
        group = f"g{number // per_group}"
        rows.append({"image": name, "class": ("no", "yes")[label], "group": group})
    change(rows, images)
    for name, voxels in images.items():
        Image.fromarray(voxels).save(folder / "images" / name)
    write_table(folder / "truth.csv", rows)
    fields = {"samples": "truth.csv", "images": "images"} | content
    (folder / "catalog.yaml").write_text(yaml.safe_dump(fields))
    return folder / "catalog.yaml"


def train_job(catalog, out, **fields):
    return TrainJob(catalog=str(catalog), out=out and str(out), **(SETTINGS | fields))
