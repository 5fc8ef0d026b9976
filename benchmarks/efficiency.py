"""What the pipeline adds to the network's own time.

Run ``python -m benchmarks.efficiency [--planes 16] [--side 2048] [--rounds 5] [--quick] [--json]``.
Wanted voxels a second of `segment` (Zarr in, masks out, one worker) over voxels a second of the
bare compiled network on whole untiled planes in memory, for a network of about 1 Mpixel/s a core
and one about ten times faster; a ladder of widths and depths finds the two. Planning, opening,
compiling, pyramid and verification are listed apart, and so is the whole command with Prefect.

A machine that others use too changes its speed within minutes by more than a pipeline costs. So
one process computes half of the planes with the bare network, segments, and computes the other
half. ::

    bare, first half | segment | bare, second half

What a truth adds is the ratio of two such efficiencies, from processes that take turns; a ratio is
the median of the rounds. The share of peak is that of the bare network in a large matrix product's
operations a second, in float32. With ``KERAS_BACKEND=jax`` all of it runs on that backend's device.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arithmetic import flops_per_voxel, peak_flops
from benchmarks.bench import Watched, machine, median, print_figures, ratio, rounds, tell, watch
from benchmarks.specimen import COMMAND, make_image, seeded_bundle, trained_bundle
from segmentation.bundle import load_model
from segmentation.networks.runtime import configure

# Width and depth of U-Nets, from slow to fast.
LADDER = (
    (32, 4),
    (24, 4),
    (16, 4),
    (16, 3),
    (12, 3),
    (8, 3),
    (6, 3),
    (8, 2),
    (4, 3),
    (4, 2),
    (2, 2),
    (4, 1),
    (2, 1),
    (4, 0),
    (2, 0),
)
# Voxels a second and core, and times the planes: runs of a fast network would be over at once.
WANTED = {"1 Mpixel/s/core": (1e6, 1), "10 Mpixel/s/core": (1e7, 4)}
BARE, SEGMENT, TRUTH = "bare network", "segment", "segment with truth"
PEAK = "peak of the device"
STEPS = 240
PACKAGES = ("tensorflow-cpu", "keras", "zarr", "numpy")
MEGA = 1e6
Figures = dict[str, Any]


def main() -> None:
    """Measure and print; with ``--child`` do one contender's work."""
    options = _options()
    if options.child:
        sys.stdout.write("\n" + json.dumps(_child(options)) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="efficiency-") as folder:
        ladder = _ladder(options, Path(folder))
        peak = _spawn(options, Path(folder), ladder[0]["bundle"], PEAK).figures
        rows = [
            _measure(_times(options, times), Path(folder), label, _nearest(ladder, rate), peak)
            for label, (rate, times) in WANTED.items()
            if label.startswith(options.only)
        ]
    figures = {
        "machine": machine(PACKAGES),
        "rounds": options.rounds,
        "ladder": ladder,
        "peak_flops": peak,
        "networks": rows,
    }
    shown = [{name: value for name, value in row.items() if name in SHOWN} for row in rows]
    print_figures(figures, shown, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.efficiency", description=__doc__)
    parser.add_argument("--planes", type=int, default=16)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="network whose name begins so")
    parser.add_argument("--quick", action="store_true", help="tiny, one round, two networks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=(BARE, PEAK, SEGMENT, TRUTH), help=argparse.SUPPRESS)
    parser.add_argument("--image", help=argparse.SUPPRESS)
    parser.add_argument("--bundle", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.planes, options.side, options.rounds = 2, 320, 1
    return options


def _ladder(options: argparse.Namespace, folder: Path) -> list[Figures]:
    """Voxels a second and core of networks of many sizes, on one plane."""
    found, planes = [], argparse.Namespace(**{**vars(options), "planes": 1})
    _image(planes, folder)
    for width, depth in LADDER[-2:] if options.quick else LADDER:
        bundle = seeded_bundle(folder / f"unet-{width}-{depth}", width, depth)
        figures = _spawn(planes, folder, bundle, BARE).figures
        rate = _rate(figures) / (os.cpu_count() or 1)
        tell(f"width {width}, depth {depth}: {rate / MEGA:.2f} Mpixel/s/core")
        found.append({"width": width, "depth": depth, "rate": rate, "bundle": bundle})
        found[-1]["flops_per_voxel"] = figures["flops_per_voxel"]
    return found


def _times(options: argparse.Namespace, times: int) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "planes": options.planes * times})


def _image(options: argparse.Namespace, folder: Path) -> Path:
    """The image of so many planes; made where it is not there yet."""
    place = folder / f"planes-{options.planes}"
    if not place.exists():
        tell(f"making an image of {options.planes} planes")
        make_image(place, options.planes, options.side)
    return place / "image.zarr"


def _nearest(ladder: list[Figures], rate: float) -> Figures:
    """The network whose speed is nearest, as a ratio."""
    return min(ladder, key=lambda one: abs(math.log(one["rate"] / rate)))


def _spawn(options: argparse.Namespace, folder: Path, bundle: str, child: str) -> Watched:
    command = [sys.executable, "-m", "benchmarks.efficiency", "--child", child]
    sizes = ["--planes", str(options.planes), "--side", str(options.side)]
    image = str(_image(options, folder))
    return watch([*command, *sizes, "--image", image, "--bundle", bundle])


def _child(options: argparse.Namespace) -> Figures:
    if options.child == PEAK:
        configure(os.cpu_count())
        return peak_flops()
    if options.child == BARE:
        work = flops_per_voxel(load_model(options.bundle))
        return _bare(options, 0, options.planes) | {"flops_per_voxel": work}
    from benchmarks.segmenting import begin

    fields = {"truth": "truth"} if options.child == TRUTH else {}
    threads = os.cpu_count() or 1
    name = f"bench{os.getpid()}"
    segmentation = begin(threads, image=options.image, model=options.bundle, name=name, **fields)
    half = -(-options.planes // 2)
    bare = [_bare(options, 0, half)]
    figures = segmentation.infer()
    bare.append(_bare(options, half, options.planes))
    return figures | {"bare": bare, "stages": segmentation.seconds | segmentation.finish()}


def _bare(options: argparse.Namespace, first: int, last: int) -> Figures:
    """The compiled network on whole planes, one after the other, normalised beforehand."""
    from segmentation.normalize import IntensityTransform
    from segmentation.predictor import KerasPredictor
    from storage.volume import open_image

    predictor = KerasPredictor(options.bundle, threads=os.cpu_count())
    voxels = open_image(options.image).volumes[0][first:last]
    transform = IntensityTransform((0.0,), (255.0,))
    planes = [transform(plane[np.newaxis, ..., np.newaxis]) for plane in voxels]
    predictor.predict_classes(planes[0])
    busy, started = time.process_time(), time.perf_counter()
    for plane in planes:
        predictor.predict_classes(plane)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - busy,
        "wanted_voxels": voxels.size,
    }


def _rate(figures: Figures) -> float:
    return float(figures["wanted_voxels"] / figures["seconds"])


def _bare_rate(child: Watched) -> float:
    """Voxels a second of both halves."""
    halves = child.figures["bare"]
    return float(sum(h["wanted_voxels"] for h in halves) / sum(h["seconds"] for h in halves))


def _measure(
    options: argparse.Namespace, folder: Path, label: str, network: Figures, peak: Figures
) -> Figures:
    """All rounds of one network; trained, as what it takes to count depends on the masks."""
    bundle = network["bundle"] if options.quick else _trained(folder, network)
    spawn = partial(_spawn, options, folder, bundle)
    contenders = {name: partial(spawn, name) for name in (SEGMENT, TRUTH)}
    found = rounds(contenders, options.rounds, lambda text: tell(f"{label}: {text}"))
    rates = {name: [_rate(child.figures) for child in children] for name, children in found.items()}
    bare = {name: [_bare_rate(child) for child in children] for name, children in found.items()}
    shares = {name: [a / b for a, b in zip(rates[name], bare[name], strict=True)] for name in found}
    last = found[SEGMENT][-1].figures
    busy = [
        one.figures["shard_seconds"]["device"] / one.figures["seconds"] for one in found[SEGMENT]
    ]
    return {
        "network": label,
        "volume": [options.planes, options.side, options.side],
        "width": network["width"],
        "depth": network["depth"],
        "bare Mvoxel/s": round(median(bare[SEGMENT]) / MEGA, 3),
        "segment Mvoxel/s": round(median(rates[SEGMENT]) / MEGA, 3),
        "efficiency": ratio(rates[SEGMENT], bare[SEGMENT])["median"],
        "efficiency with truth": ratio(rates[TRUTH], bare[TRUTH])["median"],
        "with truth": ratio(shares[TRUTH], shares[SEGMENT])["median"],
        "device busy": round(median(busy), 3),
        "share of peak": round(
            median(bare[SEGMENT]) * network["flops_per_voxel"] / peak["float32"], 3
        ),
        "amplification": round(last["amplification"], 4),
        "efficiency of each round": ratio(rates[SEGMENT], bare[SEGMENT]),
        "evaluation of each round": ratio(shares[TRUTH], shares[SEGMENT]),
        "segment": last,
        "command": _command(_image(options, folder), bundle),
    }


def _trained(folder: Path, network: Figures) -> str:
    width, depth = network["width"], network["depth"]
    tell(f"training width {width}, depth {depth}")
    return trained_bundle(folder / f"trained-{width}-{depth}", width, depth, STEPS)


def _command(image: Path, bundle: str) -> Figures:
    """The whole command, once: seconds of its stages."""
    name = f"whole{Path(bundle).name}"
    options = ["--model", bundle, "--name", name, "--executor", "serial", "--json"]
    whole = watch([*COMMAND, "segment", str(image), *options])
    timings = json.loads(Path(whole.figures["run"], "timings.json").read_text())
    attempt = timings["attempts"][-1]
    stages = attempt["seconds"]
    rest = whole.seconds - sum(stages.values())
    return {"seconds": whole.seconds, "stages": stages, "start_and_report": round(rest, 3)}


SHOWN = (
    "network",
    "volume",
    "width",
    "depth",
    "bare Mvoxel/s",
    "segment Mvoxel/s",
    "efficiency",
    "efficiency with truth",
    "with truth",
    "device busy",
    "share of peak",
    "amplification",
)


if __name__ == "__main__":
    main()
