"""How the pipeline grows: shards for the driver, workers, nodes, and what that means for more.

Run ``python -m benchmarks.scale driver [--shards 10000,100000,1000000] [--store disk|s3]``,
``… workers [--shards 24] [--rounds 5]``, ``… nodes`` or ``… model FIGURES.json``; each with
``--json``. `driver` runs every stage of a run with workers that answer at once; with ``--store
s3`` the run's folder is on a Ceph gateway that is started for it. `model` reads what the others
printed, predicts what they measured, and goes on to 10¹² voxels.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTS = "10000,100000,1000000"
REMOTE_SHARDS = "100000"
BUCKET = "scale"
PACKAGES = ("maskmill", "ray", "zarr", "numpy", "tensorflow-cpu", "keras")


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder:
        found = options.measure(options, Path(folder))
    found |= {"part": options.part, "machine": machine(PACKAGES)}
    sys.stdout.write(json.dumps(found) + "\n" if options.json else _text(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true")
    common.add_argument("--folder", help="where scenes are made; the temporary folder without")
    common.add_argument("--rounds", type=int, default=5)
    parts = parser.add_subparsers(dest="part", required=True)
    driver = parts.add_parser("driver", parents=[common])
    driver.add_argument("--shards")
    driver.add_argument("--store", choices=("disk", "s3"), default="disk")
    driver.set_defaults(measure=_driver)
    workers = parts.add_parser("workers", parents=[common])
    workers.add_argument("--shards", type=int, default=24)
    workers.add_argument("--extent", type=int, default=512)
    workers.set_defaults(measure=_workers)
    nodes = parts.add_parser("nodes", parents=[common])
    nodes.add_argument("--shards", type=int, default=400)
    nodes.add_argument("--seconds", type=float, default=0.1)
    nodes.set_defaults(measure=_nodes)
    model = parts.add_parser("model", parents=[common])
    model.add_argument("figures", nargs="+", help="files with what the other parts printed")
    model.set_defaults(measure=_model)
    return parser.parse_args()


# What a part needs is imported by it: the driver's processes measure their own memory.


def _driver(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from benchmarks.scale.driver import measure_driver, remove

    counts = options.shards or (COUNTS if options.store == "disk" else REMOTE_SHARDS)
    found = []
    with _store(options.store) as url:
        for count in map(int, counts.split(",")):
            place = folder / str(count)
            place.mkdir()
            store = f"{url}/{count}" if url else None
            found.append(measure_driver(place, count, store))
            remove(place)
    return {"store": options.store, "runs": found}


@contextmanager
def _store(kind: str) -> Iterator[str | None]:
    """A bucket on a Ceph gateway, or nothing."""
    if kind == "disk":
        yield None
        return
    from tests.services.ceph import ceph_gateway

    with ceph_gateway() as ceph:
        os.environ |= ceph.endpoint.environment
        yield ceph.endpoint.make_bucket(BUCKET)


def _workers(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from benchmarks.scale.workers import measure_workers

    return measure_workers(folder, options.shards, options.rounds, options.extent)


def _nodes(options: argparse.Namespace, _folder: Path) -> dict[str, Any]:
    from benchmarks.scale.nodes import measure_nodes

    return measure_nodes(options.shards, options.seconds, options.rounds)


def _model(options: argparse.Namespace, _folder: Path) -> dict[str, Any]:
    from benchmarks.scale.extrapolate import check_and_extrapolate

    figures = [json.loads(Path(name).read_text()) for name in options.figures]
    return check_and_extrapolate({one["part"]: one for one in figures})


def _text(found: dict[str, Any], indent: str = "") -> str:
    """One line for each figure, parts of a part further in."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{name}:\n{_text(value, indent + '  ')}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{name}:\n", *(_text(one, indent + "  ") + "\n" for one in value)]
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"{indent}{name}: {shown}\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
