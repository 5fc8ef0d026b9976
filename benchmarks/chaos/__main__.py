"""Chaos: segment a small volume again and again, each time with one process killed at random.

Run ``python -m benchmarks.chaos --runs 20 --seed 1 --out FOLDER [--store local|s3]``. In every
run the command, one Ray worker, Ray's local scheduler or the Prefect server gets signal 9 at a
random moment; then the same command is given until it is done. The mask, its metadata, the list
of labels and the scores have to be byte for byte those of an undisturbed run. FOLDER/runs.jsonl
gets a line for each run; the same command goes on from there. Exit code 1 if a run differs or a
command hung and had to be killed.

``--store s3`` takes the store that ``--url`` and the usual variables name, or starts a Ceph
gateway of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import tell
from benchmarks.chaos.draws import MIXED, VICTIMS, Draw, draw
from benchmarks.chaos.evidence import differences
from benchmarks.chaos.runs import HOMES, LOGS, Bench, Usual, disturbed, hung, undisturbed
from benchmarks.chaos.specimen import Place, make_source
from benchmarks.chaos.table import markdown
from storage.stores import join_url

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

RUNS, REFERENCE = "runs.jsonl", "reference.json"


def main() -> int:
    """Run what is left of the runs; print the tables."""
    options = _options()
    folder = Path(options.out).absolute()
    for name in (HOMES, LOGS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (
        _root(options, folder) as root,
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as scratch,
    ):
        place = Place(root, make_source(folder / "source"))
        bench = Bench(folder, place, options.model, Path(scratch))
        reference = _reference(bench, options)
        lines = _run_all(bench, options, reference)
    sys.stdout.write(markdown(lines))
    return int(any(line["differing"] or hung(line) for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("local", "s3"), default="local")
    parser.add_argument("--url", help="s3://bucket/prefix of a store that is there")
    parser.add_argument("--out", required=True, help="folder for the lines, logs and copies")
    parser.add_argument("--executor", choices=(*VICTIMS, MIXED), default=MIXED)
    parser.add_argument("--model", default="identity", help="bundle, or identity")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    return parser.parse_args()


@contextmanager
def _root(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """URL below which the copies lie."""
    if options.store == "local":
        yield str(folder / "copies")
    elif options.url:
        yield options.url
    else:
        from tests.services.ceph import ceph_gateway

        with ceph_gateway() as ceph:
            os.environ.update(ceph.endpoint.environment)
            yield join_url(ceph.endpoint.make_bucket("chaos"), "copies")


def _reference(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Bytes and times of undisturbed runs, measured once for a folder."""
    path = bench.folder / REFERENCE
    asked = {name: getattr(options, name) for name in ("seed", "store", "executor", "model")}
    if path.is_file():
        reference: dict[str, Any] = json.loads(path.read_text())
        if reference["asked"] != asked:
            sys.exit(f"{bench.folder} holds runs of {reference['asked']}; choose another --out")
        return reference
    usual, found = {}, {}
    for executor in VICTIMS if options.executor == MIXED else (options.executor,):
        found[executor], times = undisturbed(bench, executor)
        usual[executor] = [times.first, times.total]
        tell(f"undisturbed, {executor}: {times.total} s, {times.first} s to the first record")
    first, *others = found.values()
    if any(differences(first, other) for other in others):
        sys.exit("the executors do not give the same bytes")
    reference = {"asked": asked, "usual": usual, "objects": first}
    path.write_text(json.dumps(reference, indent=1))
    return reference


def _run_all(
    bench: Bench, options: argparse.Namespace, reference: dict[str, Any]
) -> list[dict[str, Any]]:
    """The lines of all runs, those of earlier times too."""
    path = bench.folder / RUNS
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {line["number"] for line in lines}
    todo = [n for n in range(options.runs) if n not in done]
    draws = [draw(options.seed, number, options.executor) for number in todo]

    def one(drawn: Draw) -> dict[str, Any]:
        usual = Usual(*reference["usual"][drawn.executor])
        return disturbed(bench, drawn, usual, reference["objects"])

    with ThreadPoolExecutor(options.parallel) as pool, _stopping(bench.stop, pool):
        for future in as_completed([pool.submit(one, drawn) for drawn in draws]):
            line = future.result()
            lines.append(line)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            tell(_said(line))
    return [line for line in lines if line["number"] < options.runs]


@contextmanager
def _stopping(stop: threading.Event, pool: ThreadPoolExecutor) -> Iterator[None]:
    """On the way out of an error or Ctrl-C end what runs; begin nothing more."""
    try:
        yield
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise


def _said(line: dict[str, Any]) -> str:
    outcome = "same bytes" if not line["differing"] else f"DIFFERS: {line['differing'][:3]}"
    return (
        f"run {line['number']} ({line['executor']}): {line['victim']} killed after "
        f"{line['second']} s, exit codes {line['codes']}, {outcome}, {line['seconds']} s"
    )


if __name__ == "__main__":
    sys.exit(main())
