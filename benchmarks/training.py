"""Networks on real stacks, as the README's commands train them, and their scores.

Run ``python -m benchmarks.training {vnc,isbi,nuclei} FOLDER [--data ../shared/data]``. The stack
is imported into FOLDER, a catalog is written beside it, ``maskmill train`` runs with its default
settings (but for what is listed in `CASES`), and the scores of the test part are printed. FOLDER
keeps bundle and report; run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from storage.convert import import_image, import_labels

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Case:
    """One data set.

    Attributes
    ----------
    folder : str
        Under the data folder.
    classes : tuple of str
        By value.
    voxel_size : tuple of float
        z, y, x in `unit`.
    parts : tuple of (str, str)
        Regions and the part each is; none leaves the split to maskmill.
    unit : str
        Of the voxel size.
    settings : dict
        Fields of the job that are not the default.
    """

    folder: str
    classes: tuple[str, ...]
    voxel_size: tuple[float, ...]
    parts: tuple[tuple[str, str], ...] = ()
    unit: str = "nanometer"
    settings: dict[str, Any] = field(default_factory=dict)


CASES = {
    "vnc": Case(
        "vnc_sstem",
        ("intracellular", "membrane", "glia", "mitochondria", "synapse"),
        (45.0, 4.6, 4.6),
        (("z=0:10", "train"), ("z=10:12", "validation"), ("z=12:16", "test")),
    ),
    "isbi": Case(
        "isbi2012_membrane",
        ("cell", "membrane"),
        (50.0, 4.0, 4.0),
        (("z=0:20", "train"), ("z=20:24", "validation"), ("z=24:30", "test")),
        settings={"steps": 450, "steps_per_epoch": 90},
    ),
    "nuclei": Case(
        "dsb2018_nuclei",
        ("background", "nucleus"),
        (1.0, 1.0, 1.0),
        unit="micrometer",
        settings={
            **{"folds": 5, "width": 8, "depth": 3, "crop": (128, 128)},
            **{"steps": 200, "steps_per_epoch": 50},
        },
    ),
}


def main() -> None:
    """Import, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    case = CASES[options.case]
    options.folder.mkdir(parents=True, exist_ok=True)
    catalog = write_catalog(options.folder, case, options.data)
    started = time.monotonic()
    result = train(catalog, options.folder / "bundle", case) | {
        "minutes": (time.monotonic() - started) / 60
    }
    sys.stdout.write(json.dumps(result) + "\n" if options.json else _text(result))


def write_catalog(folder: Path, case: Case, data: Path) -> Path:
    """Stack and truth as OME-Zarr, and the catalog that names them."""
    image = folder / "stack.zarr"
    if not (image / "labels" / "truth").exists():
        voxels, labels = _read(data / case.folder)
        for name, array in (("image", voxels), ("truth", labels)):
            np.save(folder / f"{name}.npy", array)
        import_image(
            [str(folder / "image.npy")],
            str(image),
            axes="zyx",
            voxel_size=case.voxel_size,
            unit=case.unit,
        )
        truth = [str(folder / "truth.npy")]
        import_labels(truth, str(image), name="truth", classes=case.classes, axes="zyx")
    base = {"image": image.name, "label": "truth", "group": case.folder}
    volumes = [base | {"region": region, "split": part} for region, part in case.parts]
    content = {"volumes": volumes or [base | {"images_along": "z"}]}
    path = folder / "catalog.yaml"
    path.write_text(json.dumps(content, indent=1))
    return path


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and classes, (z, y, x)."""
    if (folder / "nuclei.npz").is_file():
        with np.load(folder / "nuclei.npz") as file:
            images, labels = (file[f"fluor256_{name}"] for name in ("images", "instances"))
        return images, (labels > 0).astype(np.uint8)
    import tifffile

    labels = tifffile.imread(folder / "labels.tif")
    if labels.max() == 255:
        labels = labels // 255
    return tifffile.imread(folder / "images.tif"), labels.astype(np.uint8)


def train(catalog: Path, bundle: Path, case: Case) -> dict[str, Any]:
    """What the command ``maskmill train`` says; its progress goes to stderr.

    Raises
    ------
    SystemExit
        With the command's own code, if it fails.
    """
    config = catalog.with_name("settings.yaml")
    config.write_text(json.dumps(case.settings))
    command = [Path(sys.executable).with_name("maskmill"), "train", catalog, "--out", bundle]
    done = subprocess.run(
        [*map(str, command), "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['minutes']:.1f} minutes; scored on: {result['scored_on']}"]
    lines += [f"{name:>16}  Dice {dice:.3f}" for name, dice in result["dice"].items()]
    lines.append(f"macro-foreground  Dice {result['macro_foreground_dice']:.3f}")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
