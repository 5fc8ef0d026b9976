"""What would make an evaluation meaningless is refused; nothing is started, nothing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from flows.jobs import SegmentJob
from storage.labels import publish
from storage.volume import open_label
from tests.test_flows.conftest import CLASSES
from tests.test_flows.images import VOXEL_SIZE, make_image, make_label, maskmill, refused
from tests.test_flows.runs import segment, start

LABELS = np.indices((3, 24, 20)).sum(axis=0).astype(np.uint8) // 9 % 3
PAIR = ("--labels", "cells", "--truth", "truth", "--executor", "serial")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image with a truth and a mask."""
    image = make_image(tmp_path, LABELS + np.uint8(1), voxel_size=VOXEL_SIZE)
    for name in ("truth", "cells"):
        make_label(image, LABELS, name=name, classes=CLASSES)
    return tmp_path


def evaluation_refused(folder: Path, *flags: Any, match: str) -> None:
    refused(folder, "evaluate", folder / "stack.zarr", *PAIR, *flags, match=match)


def foreign(folder: Path, name: str, voxels: Any, **changes: Any) -> None:
    """Change a label as some other program would: its voxels, and parts of its metadata."""
    path = folder / "stack.zarr" / "labels" / name
    group = zarr.open_group(path, mode="r+")
    ome: Any = dict(group.attrs["ome"])  # type: ignore[call-overload]
    for level in ome["multiscales"][0]["datasets"]:
        for transform in level["coordinateTransformations"]:
            if transform["type"] in changes:
                transform[transform["type"]] = list(changes[transform["type"]])
    if "image-label" in ome and "classes" in changes:
        ome["image-label"]["properties"] = [
            {"label-value": value, "class": text} for value, text in enumerate(changes["classes"])
        ]
    if changes.get("unit", "") is None:
        for axis in ome["multiscales"][0]["axes"]:
            axis.pop("unit", None)
    group.attrs["ome"] = ome
    if voxels is not None:
        group.create_array("0", data=voxels, overwrite=True, chunks=voxels.shape)


def test_distances_need_a_length(tmp_path: Path) -> None:
    image = make_image(tmp_path, LABELS + np.uint8(1), unit=None)
    for name in ("truth", "cells"):
        make_label(image, LABELS, name=name, classes=CLASSES)
    message = "has no voxel size, so distances .* import the image with --voxel-size and --unit"
    evaluation_refused(tmp_path, "--surface", match=message)
    # Without distances the same labels can be compared, and so can sizes in an unknown unit.
    assert maskmill("evaluate", image, *PAIR).code == 0
    (tmp_path / "sized").mkdir()
    sized = make_image(tmp_path / "sized", LABELS, unit=None, voxel_size=(2.0, 1.0, 1.0))
    for name in ("truth", "cells"):
        make_label(sized, LABELS, name=name, classes=CLASSES)
    answer = maskmill("evaluate", sized, *PAIR, "--surface")
    assert answer.code == 0, answer.err
    assert "surface: NSD within 2: membrane 1.000; synapse 1.000" in answer.out


def test_labels_of_another_shape(folder: Path) -> None:
    foreign(folder, "truth", LABELS[:2])
    message = r"truth 'truth' has the shape \(2, 24, 20\) and the mask \(3, 24, 20\)"
    evaluation_refused(folder, match=message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": (0.05, 0.02, 0.01)}, r"voxel size \(0.05, 0.02, 0.01\) and the mask \(0.05, 0"),
        ({"scale": (0.1, 0.02, 0.02)}, "they do not lie on the same voxels"),
        ({"unit": None}, "has the unit None and the mask micrometer"),
    ],
)
def test_labels_of_another_transform(folder: Path, change: Any, message: str) -> None:
    foreign(folder, "truth", None, **change)
    evaluation_refused(folder, match=message)


def test_another_mask_of_another_transform(folder: Path) -> None:
    make_label(str(folder / "stack.zarr"), LABELS, name="other", classes=CLASSES)
    foreign(folder, "other", None, scale=(0.05, 0.01, 0.02))
    evaluation_refused(folder, "--against", "other", match="the other mask .* has the voxel size")


def test_an_image_that_was_changed_since(tmp_path: Path) -> None:
    image = make_image(tmp_path, LABELS, voxel_size=VOXEL_SIZE)
    make_label(image, LABELS, classes=CLASSES)
    segment(image=image, name="cells")
    assert maskmill("evaluate", image, *PAIR).code == 0
    chunk = next(path for path in Path(image, "0", "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes())
    message = "was changed after .*cells-.* may belong to different versions of the image; segment"
    evaluation_refused(tmp_path, match=message)
    assert maskmill("evaluate", image, *PAIR, "--any-image-version").code == 0


def test_negative_labels(folder: Path) -> None:
    negative = LABELS.astype(np.int16)
    negative[0, :2] = -1
    foreign(folder, "truth", negative)
    message = r"truth has negative values outside the classes 0 to 2: -1 \(40 voxels\)"
    evaluation_refused(folder, match=message)
    foreign(folder, "truth", LABELS)
    foreign(folder, "cells", negative)
    evaluation_refused(folder, match="the mask has negative values outside the classes 0 to 2: -1")


def test_labels_without_a_class_in_common(folder: Path) -> None:
    foreign(folder, "truth", None, classes=("background", "nucleus", "vessel"))
    message = "the classes membrane, synapse and the truth nucleus, vessel: no class in common"
    evaluation_refused(folder, match=message)


def test_a_value_with_two_names(folder: Path) -> None:
    foreign(folder, "truth", None, classes=("background", "synapse", "membrane"))
    evaluation_refused(folder, match="the value 1 is 'synapse' in one label and 'membrane' in")


def test_object_ids_are_no_classes(folder: Path) -> None:
    image = str(folder / "stack.zarr")
    make_label(image, LABELS, name="ids", classes=None, instances=True)
    arguments = ("evaluate", image, "--labels", "ids", "--truth", "ids", "--executor", "serial")
    message = "neither mask nor truth names its classes; .* compare object ids with --instances"
    refused(folder, *arguments, match=message)
    assert maskmill(*arguments, "--instances").code == 0


def test_a_mask_with_missing_chunks(folder: Path) -> None:
    label = open_label(str(folder / "stack.zarr"), "cells")
    next(p for p in Path(label.url, "0", "c").rglob("*") if p.is_file()).unlink()
    message = "cells is not fully covered: 1 stored chunks are missing, 0/c/0/0/0 first, and would"
    evaluation_refused(folder, match=message)
    answer = maskmill("evaluate", folder / "stack.zarr", *PAIR, "--missing-is-background")
    assert answer.code == 0


def test_a_mask_of_a_part(tmp_path: Path, many_cells: None) -> None:
    image = make_image(tmp_path, LABELS, voxel_size=VOXEL_SIZE)
    make_label(image, LABELS, classes=CLASSES)
    run, _ = segment(image=image, name="cells", region="z=0:2")
    arguments = ("evaluate", image, "--labels", run.directory, *PAIR[2:])
    message = r"covers the region from \(0, 0, 0\) to \(2, 24, 20\) only; evaluate it with that"
    refused(tmp_path, *arguments, match=message)
    assert maskmill(*arguments, "--region", "z=0:2").code == 0


def test_a_mask_whose_run_is_not_finished(tmp_path: Path, many_cells: None) -> None:
    image = make_image(tmp_path, LABELS, voxel_size=VOXEL_SIZE)
    make_label(image, LABELS, classes=CLASSES)
    run = start(SegmentJob(image=image, model="identity", name="cells"))
    publish(image, run.directory, "cells", lock_url=f"{image}.runs", owner="a")
    message = r"cells-.* is not finished: \d+ of \d+ shards have no record"
    evaluation_refused(tmp_path, match=message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--surface", "--tolerances", "0.1,-1"), "expected lengths above 0"),
        (("--surface", "--tolerances", "0.5", "--cap", "0.2"), "--cap 0.2 is below the tolerance"),
        (("--cap", "0"), "--cap '0': input should be greater than 0"),
        (("--images-along", "t"), "--images-along t: the mask has the axes zyx; choose one"),
        (("--images-along", "y"), "--images-along 'y': input should be 't' or 'z'"),
        (("--probabilities",), "kept no probabilities; segment with --probabilities"),
        (("--split", "test"), "--split chooses volumes of a catalog; this is one image"),
        (("--against", "none"), "label 'none' is not in"),
        (("--region", "z=2:9"), "leaves the volume; that axis ends at 3"),
    ],
)
def test_flags_that_do_not_fit(folder: Path, flags: Any, message: str) -> None:
    evaluation_refused(folder, *flags, match=message)


def test_an_image_needs_a_truth(folder: Path) -> None:
    arguments = ("evaluate", folder / "stack.zarr", "--labels", "cells", "--executor", "serial")
    refused(folder, *arguments, match="--truth is missing; give label to evaluate against")


def test_catalogs_that_cannot_be_used(folder: Path) -> None:
    path = folder / "all.yaml"
    entry = {"image": "stack.zarr", "label": "truth", "split": "train"}
    path.write_text(yaml.safe_dump({"volumes": [entry]}))
    arguments = ("evaluate", path, "--labels", "cells", "--executor", "serial")
    refused(folder, *arguments, "--split", "test", match="no volume with split: test")
    refused(folder, *arguments, "--region", "z=0:1", match="a catalog gives each volume its own")


def test_a_report_of_what_is_no_run(folder: Path) -> None:
    refused(folder, "report", folder, match="holds no run; give the folder that holds run.json")
    result = maskmill("evaluate", folder / "stack.zarr", *PAIR, "--json").document
    make_label_again = Path(folder, "stack.zarr", "labels", "truth", "0")
    chunk = next(path for path in make_label_again.rglob("c/*/*/*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes())
    refused(folder, "report", result["run"], match="are not what they were when .* was made")
    run_json = Path(result["run"], "run.json")
    run_json.write_text(json.dumps({"kind": "classify"}))
    refused(folder, "report", result["run"], match="a run of the kind 'classify'; expected")
