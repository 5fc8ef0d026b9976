"""One contender in a process of its own: ``python -m benchmarks.peers.contender NAME FILE JSON``.

Prints one line of JSON: seconds from the first voxel read to the last one written, bytes moved
and voxels computed in that time, peak memory.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import flops_per_voxel, peak_flops
from benchmarks.bench import bytes_moved, process_peak
from benchmarks.peers.spec import Spec, compiled_classes
from segmentation.networks.runtime import configure

# Module and the function in it that makes a contender ready.
CONTENDERS = {
    "maskmill": ("own", "prepare"),
    "keras predict, half overlap": ("keras_loops", "prepare_overlap"),
    "keras compiled": ("keras_loops", "prepare_compiled"),
    "dask map_overlap": ("dask_overlap", "prepare"),
    "ray data": ("ray_data", "prepare"),
    "monai": ("monai_window", "prepare"),
}
UNTILED = "untiled"
PEAK = "peak"


def main() -> None:
    """Run what the arguments name."""
    name, path, text = sys.argv[1:]
    spec, settings = Spec.load(Path(path)), json.loads(text)
    if name == UNTILED:
        figures = write_untiled(spec)
    elif name == PEAK:
        configure(spec.threads)
        figures = peak_flops()
    else:
        module, function = CONTENDERS[name]
        prepare = getattr(import_module(f"benchmarks.peers.{module}"), function)
        figures = contend(spec, prepare(spec, settings))
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def contend(spec: Spec, run: Any) -> dict[str, Any]:
    """Time a contender that is ready; what it says of itself counts more."""
    source, target = spec.source, spec.make_target()
    before, started = bytes_moved(), time.perf_counter()
    own = run(source, target)
    seconds = time.perf_counter() - started
    moved = [b - a for a, b in zip(before, bytes_moved(), strict=True)]
    figures = {"seconds": seconds, "read_bytes": moved[0], "written_bytes": moved[1]}
    return figures | {"peak_bytes": process_peak(), "mask": spec.target} | own


def write_untiled(spec: Spec) -> dict[str, Any]:
    """What the network says about whole planes: the reference; its voxels a second too."""
    source, target = spec.source, spec.make_target()
    call = compiled_classes(spec.model())
    planes = [spec.normalised(source[z])[None] for z in range(spec.planes)]
    call(planes[0])
    started = time.perf_counter()
    found = [call(plane) for plane in planes]
    seconds = time.perf_counter() - started
    for z, classes in enumerate(found):
        target[z] = classes[0]
    return {
        "seconds": seconds,
        "flops_per_voxel": flops_per_voxel(spec.model()),
        "mask": spec.target,
    }


if __name__ == "__main__":
    main()
