"""maskmill beside what else runs a U-Net over a stack: same weights, same image, same masks.

Run ``python -m benchmarks.peers [--bundle FOLDER] [--planes 16] [--side 1024] [--rounds 5]
[--quick] [--json] [--out FOLDER]``. The settings of every peer are searched first, on two
sections. Then all take turns, every one in a process of its own; figures are medians of the
rounds. Seconds are those from the first voxel read to the last one written; what was started
before is listed apart. Without a bundle a small network is trained first and kept in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import MEBIBYTE, Watched, machine, median, print_figures, rounds, tell
from benchmarks.peers.contender import PEAK, UNTILED
from benchmarks.peers.spec import Spec
from benchmarks.peers.trial import FLOAT32, Contender, agreement, contenders, run_child
from benchmarks.specimen import make_image, seeded_bundle, trained_bundle
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.run import intensity_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("tensorflow-cpu", "keras", "torch", "monai", "dask", "ray", "zarr", "numpy")
SEARCHED_PLANES = 2
Figures = dict[str, Any]


def main() -> None:
    """Make, search, measure, print."""
    options = _options()
    with _folder(options.out) as folder:
        spec = _spec(options, folder)
        reference = str(folder / "untiled.zarr")
        untiled = run_child(replace(spec, target=reference), UNTILED, {}, folder).figures
        peak = run_child(spec, PEAK, {}, folder).figures
        found = contenders(spec, folder, min(SEARCHED_PLANES, spec.planes), reference)
        measured = rounds(
            {one.label: partial(_run, spec, one, folder) for one in found}, options.rounds, tell
        )
        rows = [_row(spec, one, measured[one.label], reference, untiled, peak) for one in found]
    ours = [row for row in rows if row["contender"].startswith("maskmill")]
    for row in rows:
        row |= {f"× {own['contender']}": round(row["seconds"] / own["seconds"], 2) for own in ours}
    figures = {
        "machine": machine(PACKAGES),
        "rounds": options.rounds,
        "volume": [spec.planes, options.side, options.side],
        "network": {"bundle": options.bundle, "width": options.width, "depth": options.depth},
        "untiled": untiled,
        "peak_flops": peak,
        "contenders": rows,
    }
    print_figures(figures, rows, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--bundle", help="a trained two-dimensional network of one channel")
    parser.add_argument("--planes", type=int, default=16)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--steps", type=int, default=240, help="of the training, if there is one")
    parser.add_argument("--quick", action="store_true", help="tiny, untrained, not searched")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="keeps image, network and masks")
    options = parser.parse_args()
    if options.quick:
        options.planes, options.side, options.rounds, options.width = 2, 320, 1, 4
    return options


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        yield Path(folder)


def _spec(options: argparse.Namespace, folder: Path) -> Spec:
    """The image and the network; made where they are not there yet."""
    image = str(folder / "image.zarr")
    if not Path(image).exists():
        tell("making the image")
        make_image(folder, options.planes, options.side)
    bundle = options.bundle or str(folder / "bundle")
    if not Path(bundle).exists():
        tell("making the network")
        if options.quick:
            seeded_bundle(Path(bundle), options.width, options.depth)
        else:
            trained_bundle(folder, options.width, options.depth, options.steps)
    prepared = prepare(SegmentJob(image=image, model=bundle, name="bench"))
    # The intensities that maskmill takes for this image, for every peer.
    intensity: Any = intensity_of(prepared, SerialExecutor())
    return Spec(
        image=image,
        bundle=bundle,
        target=str(folder / "mask.zarr"),
        planes=options.planes,
        low=intensity["low"][0],
        high=intensity["high"][0],
        threads=os.cpu_count() or 1,
        quick=options.quick,
    )


def _run(spec: Spec, contender: Contender, folder: Path) -> Watched:
    target = str(folder / f"{contender.label.replace(' ', '-')}.zarr")
    return run_child(replace(spec, target=target), contender.name, contender.settings, folder)


def _row(
    spec: Spec,
    contender: Contender,
    measured: list[Watched],
    reference: str,
    untiled: Figures,
    peak: Figures,
) -> Figures:
    """Medians of one contender."""
    last = measured[-1].figures
    seconds = median([one.figures["seconds"] for one in measured])
    voxels = spec.planes * spec.source.shape[1] * spec.source.shape[2]
    computed = last["computed_voxels"]
    reached = computed * untiled["flops_per_voxel"] / seconds
    return {
        "contender": contender.label,
        "precision": contender.precision,
        "seconds": round(seconds, 3),
        "Mvoxel/s": round(voxels / seconds / 1e6, 3),
        "start s": round(median([one.seconds - one.figures["seconds"] for one in measured]), 2),
        "CPU s": round(median([one.cpu_seconds for one in measured]), 2),
        "worker MiB": round(median([one.figures["peak_bytes"] for one in measured]) / MEBIBYTE),
        "others MiB": round(median([one.other_bytes for one in measured]) / MEBIBYTE),
        "read MiB": round(last["read_bytes"] / MEBIBYTE, 1),
        "written MiB": round(last["written_bytes"] / MEBIBYTE, 1),
        "amplification": round(computed / voxels, 3),
        "peak share": round(reached / peak.get(contender.precision, peak[FLOAT32]), 3),
        "agreement": round(agreement(last["mask"], reference), 5),
        "best setting": contender.searched,
    }


if __name__ == "__main__":
    main()
