"""Peak memory of an evaluation: that of a shard, whatever the size of the volume."""

import re
import subprocess
import sys

import pytest

from storage.blobs import Blobs
from storage.label_names import label_url
from storage.labels import group_document
from storage.ome import ImageMetadata, Level, image_attributes, make_axes
from storage.ome_labels import LabelClass, label_attributes, label_metadata
from storage.write_grid import choose_chunks, create_array

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLASSES = tuple(LabelClass(v, n, (0, 90, 160, 255)) for v, n in enumerate(("background", "cell")))
DRIVER = """
import re, sys
from pathlib import Path
from flows import cli
sys.argv = ["maskmill", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as left:
    print(left.code, re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def void(folder, shape):
    """An image with two labels that have never been written: they read as background."""
    image = str(folder / "image.zarr")
    axes = make_axes("zyx", "micrometer")
    metadata = ImageMetadata("0.5", "void", axes, (Level("0", (0.05, 0.01, 0.01), (0.0,) * 3),))
    documents = {image: image_attributes(metadata)}
    for name in ("truth", "cells"):
        own = label_metadata(metadata, name)
        documents[label_url(image, name)] = label_attributes(own, CLASSES)
    chunks, cell = choose_chunks(shape, "zyx", 1)
    for url, attributes in documents.items():
        create_array(url, "0", shape=shape, dtype="uint8", chunks=chunks, shards=cell, axes="zyx")
        Blobs(url).write("zarr.json", group_document(attributes))
    return image


def peak(folder, shape, *flags):
    """Peak resident MiB of a process that evaluates a void of this shape."""
    folder.mkdir()
    arguments = ("evaluate", void(folder, shape), "--labels", "cells", "--truth", "truth")
    options = ("--executor", "serial", "--missing-is-background", *flags)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments, *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    code, kibibytes = re.findall(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)[-1]
    assert code == "0", done.stderr
    return int(kibibytes) / 1024


@pytest.mark.parametrize(
    ("planes", "factor", "flags"),
    [(128, 10, ()), (128, 4, ("--surface", "--instances"))],
    ids=["voxels", "everything"],
)
def test_more_voxels_take_no_more_memory(tmp_path, planes, factor, flags):
    small = peak(tmp_path / "small", (planes, 1024, 1024), *flags)
    large = peak(tmp_path / "large", (factor * planes, 1024, 1024), *flags)
    print(f"\n{factor} times the voxels: {small:.0f} MiB and {large:.0f} MiB")
    assert large < 1.25 * small
