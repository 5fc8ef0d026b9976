"""What the pipeline adds: a run with the identity predictor beside plain copies of the volume.

Run ``python -m benchmarks.pipeline [--bytes 8e9] [--rounds 5] [--workers 2] [--labels] [--json]``.
Every contender writes the same array with the same chunks, shards and codec, with the same number
of processes. Of maskmill the seconds of the stage ``infer`` count, with the start of its workers;
pyramid and verification stand beside it. The copies' processes are started off the clock. maskmill
leaves its bytes on the disk, copies in the page cache: their seconds until all is on the disk
stand beside.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from benchmarks.bench import machine, tell
from benchmarks.copies import Copier, copiers
from benchmarks.rounds import scratch, show, take_turns
from benchmarks.stacks import UNIT, VOXEL_SIZE, depth_of, sections, write_planes
from storage.convert import import_image

if TYPE_CHECKING:
    from storage.volume import Image

STAGES = ("infer", "pyramid", "verify")
PACKAGES = ("zarr", "zarrs", "tensorstore", "ray", "numcodecs", "numpy")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=float, default=8e9)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", choices=("ray", "serial"), default="ray")
    parser.add_argument("--labels", action="store_true", help="classes instead of a noisy image")
    parser.add_argument("--folder", help="where the volumes are made and removed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with scratch(options.folder) as folder:
        image = _image(folder, options)
        figures = _compare(folder, image, options)
    show(machine(PACKAGES) | figures, as_json=options.json)


def _image(folder: Path, options: argparse.Namespace) -> Image:
    depth = depth_of(options.bytes, options.side)
    tell(f"making a volume of {depth} sections of {options.side} × {options.side}")
    planes = write_planes(folder / "planes", sections(options.side, labels=options.labels), depth)
    image = import_image(
        [str(planes)], str(folder / "stack.zarr"), voxel_size=VOXEL_SIZE, unit=UNIT
    )
    shutil.rmtree(planes)
    return image


@dataclass(slots=True)
class Segmenting:
    """`maskmill segment --model identity`, and the seconds of its stages."""

    image: str
    out: Path
    options: argparse.Namespace
    stages: list[dict[str, float]] = field(default_factory=list)

    def __call__(self) -> None:
        """One run."""
        command = [str(Path(sys.executable).parent / "maskmill"), "segment", self.image]
        command += ["--model", "identity", "--name", "copy", "--out", str(self.out), "--json"]
        command += ["--executor", self.options.executor]
        if self.options.executor == "ray":
            command += ["--workers", str(self.options.workers)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        run = Path(json.loads(done.stdout)["run"])
        attempt = json.loads((run / "timings.json").read_text())["attempts"][-1]
        self.stages.append(attempt["seconds"])


def _compare(folder: Path, image: Image, options: argparse.Namespace) -> dict[str, Any]:
    out, source = folder / "out.zarr", f"{image.url}/0"
    segmenting = Segmenting(image.url, out, options)
    copies = {name: Copier(source, out, copy, options.workers) for name, copy in copiers().items()}

    def clean() -> None:
        _check_copy(source, out)
        for path in folder.glob("out.zarr*"):
            shutil.rmtree(path)

    try:
        times = take_turns({"maskmill": segmenting, **copies}, options.rounds, clean=clean)
    finally:
        for copy in copies.values():
            copy.close()
    stages = {
        stage: statistics.median(seconds[stage] for seconds in segmenting.stages)
        for stage in STAGES
    }
    voxels = int(np.prod(image.volumes[0].shape))
    return {
        "voxels": voxels,
        "shards": image.volumes[0].shards,
        "workers": options.workers,
        "stored_bytes": sum(f.stat().st_size for f in Path(source).rglob("*") if f.is_file()),
        "maskmill_stages_s": stages,
        "contenders": times,
        "infer_over_copy": {name: times[name]["seconds"] / stages["infer"] for name in copies},
        "infer_over_durable_copy": {
            name: times[name]["durable_seconds"] / stages["infer"] for name in copies
        },
    }


def _check_copy(source: str, out: Path) -> None:
    """The last section of what was written is that of the source."""
    (written,) = [*out.glob("labels/copy-*/0"), *out.glob("0")]
    last = zarr.open_array(str(written), mode="r")[-1]
    if not np.array_equal(last, zarr.open_array(source, mode="r")[-1]):
        raise RuntimeError(f"{written} is no copy of {source}")


if __name__ == "__main__":
    main()
