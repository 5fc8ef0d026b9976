"""Images, bundles and runs that several tests of the flows share; small, real and quick."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from flows import cli, publishing, stages
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.prepare import prepare
from flows.progress import Progress
from flows.run import open_run
from flows.scoring import aggregate
from segmentation.bundle import CARD_FILE, MODEL_FILE, Card, ClassInfo
from storage.convert import import_image, import_labels
from tests.test_flows.hostile_models import archive, members

VOXEL_SIZE = (0.05, 0.01, 0.01)
CLASSES = ("background", "membrane", "synapse")
COLORS = ((0, 0, 0, 0), (200, 0, 0, 255), (0, 200, 0, 255))
CLOCK = "2026-01-01T00:00:00+00:00"
COMMAND = Path(sys.executable).with_name("maskmill")


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON object on stdout."""
        return json.loads(self.out)


def maskmill(*arguments):
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["maskmill", *map(str, arguments)])
        for key in cli.QUIET:
            patch.setenv(key, cli.QUIET[key])
        with pytest.raises(SystemExit) as left:
            cli.main()
    return Answer(int(left.value.code or 0), out.getvalue(), err.getvalue())


def maskmill_process(*arguments, timeout=240, **options):
    """Run the command in a process of its own."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def listing(folder):
    """Everything below a folder: digest of every file, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): None
        if path.is_dir()
        else hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
    }


@contextmanager
def unchanged(*folders):
    """The block must leave the folders, down to the last byte, as they were."""
    before = [listing(folder) for folder in folders]
    yield
    assert [listing(folder) for folder in folders] == before


def refused(folder, *arguments, match, code=2):
    """The command fails with one message and changes nothing."""
    with unchanged(folder):
        answer = maskmill(*arguments)
    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.startswith("maskmill: ")
    assert answer.err.count("maskmill: ") == 1
    assert "Traceback" not in answer.err
    assert re.search(match, answer.err), answer.err


def voxels_like(shape, seed=0, dtype="uint8", largest=200):
    """Seeded whole numbers from 1 on: a lost chunk would show as 0."""
    return np.random.default_rng(seed).integers(1, largest, shape).astype(dtype)


def make_image(folder, voxels, *, name="stack", **options):
    """An imported image; its URL."""
    np.save(folder / f"{name}.npy", voxels)
    url = str(folder / f"{name}.zarr")
    options = {"unit": "micrometer"} | options
    import_image([str(folder / f"{name}.npy")], url, **options)
    return url


def make_label(image, labels, *, name="truth", classes=CLASSES, **options):
    """An imported label of an image."""
    source = Path(f"{image}.{name}.npy")
    np.save(source, labels)
    import_labels([str(source)], image, name=name, classes=classes, **options)
    source.unlink()


def make_card(**changes):
    """Card of a small 2D network."""
    fields = {
        "classes": tuple(map(ClassInfo, range(len(CLASSES)), CLASSES, COLORS)),
        "axes": "yx",
        "channels": 1,
        "head": "softmax",
        "intensity": {"rule": "percentiles", "low": 1.0, "high": 99.0},
        "stride": (4, 4),
        "halo": (8, 8),
        "exact": True,
        "activation_bytes": 64,
        "voxel_size": VOXEL_SIZE[1:],
        "unit": "micrometer",
    }
    return Card(**(fields | changes))


def write_card(folder, **changes):
    """A bundle that can be planned with, whose model Keras cannot load; its path."""
    return add_card(folder, members(), **changes)


def add_card(folder, content, **changes):
    """A bundle whose model file has these members, and whose card is true; its path."""
    folder.mkdir()
    model = archive(folder / MODEL_FILE, content)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    card = make_card(model_sha256=digest, **changes)
    (folder / CARD_FILE).write_text(json.dumps(card.to_dict()))
    return folder


def thresholds(low, high):
    """A network of one convolution: class 1 from `low` on, class 2 from `high` on, for 0 < i < 1.

    Of the straight lines 0, 4 (i - low) and 12 (i - m) the highest changes at `low` and `high`
    if m = (2 high + low) / 3.
    """
    import keras

    source = keras.Input((None, None, 1))
    layer = keras.layers.Conv2D(3, 1, activation="softmax")
    model = keras.Model(source, layer(source))
    middle = (2 * high + low) / 3
    weights = np.array([0.0, 4.0, 12.0], np.float32).reshape(1, 1, 1, 3)
    layer.set_weights([weights, np.array([0.0, -4 * low, -12 * middle], np.float32)])
    return model


def write_thresholds(folder, low=0.25, high=0.75, **changes):
    """A real bundle with an obvious answer: intensities over 200, cut at `low` and `high`."""
    from segmentation.bundle import save_bundle

    fields = {
        "intensity": {"rule": "fixed", "low": [0.0], "high": [200.0]},
        "stride": (1, 1),
        "halo": (0, 0),
    }
    save_bundle(folder, thresholds(low, high), make_card(**(fields | changes)))
    return folder


def show_progress(label, total, done):
    """The progress of a stage, on stderr."""
    return Progress(label, total, done)


def opened_run(job, attempt="20260101T000000-00000000"):
    """A run with its folder and its staged label; no Prefect."""
    return open_run(job, prepare(job), SerialExecutor(), attempt)


def infer(run, executor=None):
    """Segment what has no record."""
    stages.infer(run, executor or SerialExecutor(), threading.Event(), show_progress)


def finish(run, *, publish=True):
    """All stages after the plan; the content of result.json."""
    executor, stop = SerialExecutor(), threading.Event()
    infer(run, executor)
    stages.build_pyramid(run, executor)
    assert stages.verify(run, executor, stop, show_progress) == 0
    result = aggregate(run, executor, stop, show_progress)
    if publish:
        publishing.publish_run(run, CLOCK)
    return result


def segment(image, model="identity", name="mask", **fields):
    """The whole pipeline in this process; the run and its result."""
    job = SegmentJob(image=image, model=str(model), name=name, executor="serial", **fields)
    run = opened_run(job)
    return run, finish(run)


@contextmanager
def small_disk(folder, size):
    """A file system of its own in memory, mounted on a folder."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: no file system can be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder):
    """Remount a small disk so that nobody, not even root, can write."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def repair(run):
    """Verify, redo what disagrees; the number of shards that were redone."""
    return stages.verify(run, SerialExecutor(), threading.Event(), show_progress)
