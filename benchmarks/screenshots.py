"""The README's screenshots: the top of reports, as a browser shows them.

Run ``python -m benchmarks.screenshots docs/images``; it writes ``report-nuclei.png`` (an Otsu
threshold on the DSB2018 images of the data folder), ``report-stack.png`` (a synthetic four-class
stack with a disturbed truth for a mask; with ``--demo demo-output`` the unseen sections of the
demo), and ``audit-log.png`` (the audit of a pasted log, that of the source case 004 beside the
project). ``--pages PAGE.html ...`` takes pictures of other pages instead. It needs Chromium and
scikit-image.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from flows.audit import run_audit
from flows.evaluation_run import run_evaluation
from flows.jobs import AuditJob, EvaluateJob
from segmentation.synthetic import CLASSES, synthetic_stack
from storage.convert import import_image, import_labels
from tests.test_flows.browser import CHROMIUM, screenshot

DATA = Path(__file__).parents[2] / "shared" / "data"
LOG = next((Path(__file__).parents[2] / "shared" / "seeds").glob("004_*.txt"), Path("004.txt"))
NUCLEI = DATA / "dsb2018_nuclei" / "nuclei.npz"
STACK_SHAPE = (16, 512, 512)
STACK_VOXEL = (0.05, 0.01, 0.01)  # micrometers
HEIGHT = 1600  # pixels
MOST_BYTES = 400_000


def main() -> None:
    """Evaluate, look, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go, such as docs/images")
    parser.add_argument("--demo", type=Path, help="folder that `maskmill demo` made")
    parser.add_argument("--pages", type=Path, nargs="+", help="pages to take instead")
    options = parser.parse_args()
    _check(options.folder, options.demo, options.pages)
    with tempfile.TemporaryDirectory() as scratch:
        pages = {page.stem: page for page in options.pages or ()}
        for name, report in (pages or _own(Path(scratch), options.demo)).items():
            target = options.folder / f"{name}.png"
            picture(report, target, Path(scratch))
            sys.stdout.write(f"{target}: {target.stat().st_size // 1000} kB\n")


def _own(scratch: Path, demo: Path | None) -> dict[str, Path]:
    """The pages that are always taken."""
    return {
        "report-nuclei": nuclei_report(scratch),
        "report-stack": demo_report(demo) if demo else stack_report(scratch),
        "audit-log": log_audit(scratch),
    }


def log_audit(scratch: Path) -> Path:
    """The audit of a forum post, pasted whole."""
    with chdir(scratch):
        Path("log.txt").write_text(LOG.read_text(encoding="utf-8"), encoding="utf-8")
        run_audit(AuditJob(target="log.txt", report="audit-log.html"))
    return scratch / "audit-log.html"


def _check(folder: Path, demo: Path | None, pages: list[Path] | None) -> None:
    """Leave with one message if something is missing."""
    if CHROMIUM is None:
        raise SystemExit("no chromium or chromium-browser on the PATH; install Chromium")
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder; give the one where the pictures go")
    for file in pages or (NUCLEI, LOG):
        if not file.is_file():
            raise SystemExit(f"{file} is not there; put shared/ beside the project")
    if demo is not None and not _demo_reports(demo):
        raise SystemExit(f"{demo} holds no evaluation; make it with `maskmill demo --out {demo}`")


def nuclei_report(scratch: Path) -> Path:
    """Evaluate an Otsu threshold of every image; the report."""
    with np.load(NUCLEI) as data:
        images, truth = data["fluor256_images"], data["fluor256_instances"]
    image = make_image(scratch / "nuclei.zarr", images)
    make_label(image, "truth", truth)
    mask = (otsu_objects(images) > 0).astype(np.uint8)
    make_label(image, "otsu", mask, ("background", "nucleus"))
    return _evaluate(image, labels="otsu", images_along="z")


def stack_report(scratch: Path) -> Path:
    """Evaluate a disturbed truth of a synthetic stack; the report."""
    voxels, truth = synthetic_stack(STACK_SHAPE, seed=1)
    image = make_image(scratch / "stack.zarr", voxels, STACK_VOXEL)
    names = tuple(name for _, name, _ in CLASSES)
    make_label(image, "truth", truth, names)
    make_label(image, "cells", disturbed(truth), names)
    return _evaluate(image, labels="cells")


def demo_report(folder: Path) -> Path:
    """The newest evaluation report of a demo."""
    return max(_demo_reports(folder), key=lambda path: path.stat().st_mtime)


def _demo_reports(folder: Path) -> list[Path]:
    return list(folder.glob("*.zarr.runs/evaluate-*/report.html"))


def make_image(path: Path, voxels: np.ndarray, voxel_size: tuple[float, ...] | None = None) -> str:
    """Import a stack, its voxel size in micrometers; its URL."""
    source = path.with_suffix(".npy")
    np.save(source, voxels)
    unit = "micrometer" if voxel_size else None
    import_image([str(source)], str(path), axes="zyx", voxel_size=voxel_size, unit=unit)
    return str(path)


def make_label(
    image: str, name: str, labels: np.ndarray, classes: tuple[str, ...] | None = None
) -> None:
    """Import a label of an image; without classes its values are object ids."""
    source = Path(image).with_name(f"{name}.npy")
    np.save(source, labels)
    instances = classes is None
    import_labels([str(source)], image, name=name, classes=classes, instances=instances)


def _evaluate(image: str, **fields: Any) -> Path:
    job = EvaluateJob(image=image, truth="truth", instances=True, executor="serial", **fields)
    return Path(run_evaluation(job)["report"])


def otsu_objects(images: np.ndarray) -> np.ndarray:
    """Connected components of each image above its Otsu threshold; uint16 ids of that image."""
    from skimage.filters import threshold_otsu

    found = [ndimage.label(image > threshold_otsu(image))[0] for image in images]
    return np.stack(found).astype(np.uint16)


def disturbed(truth: np.ndarray) -> np.ndarray:
    """A mask that is wrong as masks are: borders off, objects missed, confused and invented."""
    random = np.random.default_rng(0)
    shift = 9 * ndimage.gaussian_filter(random.standard_normal((2, *truth.shape)), (0, 2, 12, 12))
    shift *= 3 / np.abs(shift).max()
    z, y, x = np.indices(truth.shape)
    mask = ndimage.map_coordinates(truth, (z, y + shift[0], x + shift[1]), order=0, mode="nearest")
    for value in (2, 3, 4):
        objects, _ = ndimage.label(truth == value)
        mask[(objects % 6 == 1) & (mask == value)] = 0
        mask[(objects % 6 == 3) & (mask == value)] = 2 + (value - 1) % 3
    spots = ndimage.gaussian_filter(random.standard_normal(truth.shape), (1, 5, 5))
    mask[(mask == 0) & (spots > np.quantile(spots, 0.995))] = 3
    return mask


def picture(report: Path, target: Path, scratch: Path) -> None:
    """Write the top of a report as a PNG; of fewer colours where it would be large."""
    page = scratch / "page.html"
    page.write_bytes(report.read_bytes())
    shot = Image.fromarray(screenshot(page, HEIGHT))
    shot.save(target, "PNG", optimize=True)
    if target.stat().st_size > MOST_BYTES:
        # An octree keeps the rare colours of legends, which a median cut throws together.
        shot.quantize(method=Image.Quantize.FASTOCTREE).save(target, "PNG", optimize=True)


if __name__ == "__main__":
    main()
