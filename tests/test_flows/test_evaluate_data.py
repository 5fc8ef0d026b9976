"""Real labelled data: small shards against whole images, independent scores, the report's page.

The data lies in ``../shared/data`` beside the project and is no part of it; without it nothing
here is tested, and each test says so.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import surface_distance
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.metrics import adapted_rand_error, variation_of_information

from benchmarks import screenshots
from benchmarks.screenshots import DATA, NUCLEI, otsu_objects
from flows.errors import IncompleteRunError
from flows.evaluation import open_evaluation, prepare_evaluation
from flows.executors import SerialExecutor
from flows.jobs import EvaluateJob
from flows.join_work import JoinWork
from segmentation.evaluation import Measures
from segmentation.plan import trivial_plan
from tests.test_flows.browser import CHROMIUM, DARK, NARROW, complaints, inner_widths, screenshot
from tests.test_flows.images import make_image, make_label, maskmill
from tests.test_flows.runs import small_cells
from tests.test_flows.test_evaluate import finished

EVERY = 6  # of the 334 nuclei images every sixth is enough
NUCLEUS = ("background", "nucleus")
PLANT_VOXEL = (0.284, 0.127, 0.127)  # micrometers
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the report was NOT looked at: no chromium or chromium-browser on the PATH",
)
THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]


def data(path: Path) -> Path:
    """A file of the data folder, or no test."""
    if not path.is_file():
        pytest.skip(f"NOT TESTED: {path} is not there; put the data folder beside the project")
    return path


def evaluate(image: str, labels: str, *flags: str) -> dict[str, Any]:
    """The command in this process; its document."""
    named = ("--labels", labels, "--truth", "truth", "--executor", "serial", "--instances")
    answer = maskmill("evaluate", image, *named, *flags, "--json")
    assert answer.code == 0, answer.err
    return dict(answer.document)


def evaluated(
    image: str, folder: Path, shard: tuple[int, ...] | None = None, **fields: Any
) -> dict[str, Any]:
    """Evaluate in shards of any shape, whatever the chunks are; the whole volume without one."""
    job = EvaluateJob(
        image=image, truth="truth", labels="mask", executor="serial", instances=True, **fields
    )
    evaluation = prepare_evaluation(job, "attempt-1")
    (case,) = evaluation.cases
    wanted = shard or case.plan.shape
    plan = trivial_plan(case.plan.shape, case.plan.region, wanted, wanted)
    evaluation = replace(evaluation, cases=(replace(case, plan=plan),), url=str(folder))
    open_evaluation(evaluation)
    return dict(json.loads(finished(evaluation, SerialExecutor())))


def without_places(result: dict[str, Any]) -> dict[str, Any]:
    """All of a result but what tells of shards, folders and the attempt."""
    other = ("map", "shards", "run", "report", "requests")
    return {k: v for k, v in result.items() if k not in other}


# --- an independent computation on whole images


def naive_scores(truths: list[Any], masks: list[Any]) -> dict[str, Any]:
    """Objects of whole images, matched one by one; every sum over all images."""
    hits = [iou for pair in zip(truths, masks, strict=True) for iou in overlaps(*pair)]
    objects = [sum(len(np.unique(i[i > 0])) for i in images) for images in (truths, masks)]
    found = {}
    for threshold in THRESHOLDS:
        positives = sum(iou > threshold for iou in hits)
        found[threshold] = positives / (sum(objects) - positives)
    matched = [iou for iou in hits if iou > 0.5]
    return {"objects": objects, "ap": found, "pq": 2 * sum(matched) / sum(objects)}


def overlaps(truth: Any, mask: Any) -> Iterator[float]:
    """IoU of every two objects that overlap."""
    for value in np.unique(truth[truth > 0]):
        here = truth == value
        for other in np.unique(mask[here & (mask > 0)]):
            there = mask == other
            yield np.count_nonzero(here & there) / np.count_nonzero(here | there)


def partition_oracle(truths: list[Any], masks: list[Any]) -> dict[str, float]:
    """VOI and Rand error of scikit-image; no object is in two images, nor is any background."""
    truth, mask = (apart(images) for images in (truths, masks))
    truth[np.stack(truths) == 0] = 0
    split, merge = variation_of_information(truth, mask, ignore_labels=(0,))
    # scikit-image 0.26 names recall precision and precision recall (its issue 6485).
    error, recall, precision = adapted_rand_error(truth, mask, ignore_labels=(0,))
    return {
        "voi_split": split,
        "voi_merge": merge,
        "adapted_rand_error": error,
        "rand_precision": precision,
        "rand_recall": recall,
    }


def apart(images: list[Any]) -> Any:
    """Labels of several images, those of each under numbers of their own, from 1 on."""
    highest = int(max(image.max() for image in images)) + 1
    return np.stack([image.astype(np.int64) + 1 + n * highest for n, image in enumerate(images)])


def assert_independent(result: dict[str, Any], truths: list[Any], masks: list[Any]) -> None:
    found = result["instances"]
    (entry,) = found["classes"]
    expected = naive_scores(truths, masks)
    assert [entry["truth_objects"], entry["mask_objects"]] == expected["objects"]
    assert entry["pq"] == pytest.approx(expected["pq"], abs=1e-12)
    precisions = {m["threshold"]: m["average_precision"] for m in entry["matches"]}
    assert precisions == expected["ap"]
    for name, value in partition_oracle(truths, masks).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


# --- nuclei: many separate images


def nuclei() -> tuple[Any, Any, Any]:
    """Every sixth image with its truth and the objects above its Otsu threshold."""
    with np.load(data(NUCLEI)) as stored:
        images = stored["fluor256_images"][::EVERY]
        truth = stored["fluor256_instances"][::EVERY]
    return images, truth, otsu_objects(images)


def import_nuclei(folder: Path) -> str:
    """A stack with the Otsu objects as ids and as a class. The true voxel size is unknown."""
    images, truth, objects = nuclei()
    image = make_image(folder, images, axes="zyx", voxel_size=(1, 1, 1))
    ids: dict[str, Any] = {"classes": None, "instances": True}
    make_label(image, truth, **ids)
    make_label(image, objects, name="objects", **ids)
    make_label(image, (objects > 0).astype(np.uint8), name="mask", classes=NUCLEUS)
    return image


@pytest.fixture(scope="module")
def nuclei_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    return import_nuclei(tmp_path_factory.mktemp("nuclei"))


@pytest.fixture(scope="module")
def nuclei_result(nuclei_image: str) -> dict[str, Any]:
    return evaluate(nuclei_image, "mask", "--images-along", "z", "--surface")


@pytest.mark.slow
def test_shards_that_cut_through_images_change_no_digit(
    nuclei_result: dict[str, Any], tmp_path: Path
) -> None:
    """Once through the command, on a write grid of cells of 48 voxels a side."""
    with small_cells(chunk=48):
        image = import_nuclei(tmp_path)
        cut = evaluate(image, "mask", "--images-along", "z", "--surface")
        assert evaluate(image, "objects", "--images-along", "z")["shards"]["done"] == 72
    assert cut["shards"]["done"] == 72
    assert nuclei_result["shards"]["done"] == 1
    assert cut["instances"] == nuclei_result["instances"]
    assert cut["surface"] == nuclei_result["surface"]
    kept = without_places(nuclei_result)
    kept.pop("digest")
    kept.pop("truth")  # digests of what is stored
    assert {key: cut[key] for key in kept} == kept


@pytest.mark.slow
@pytest.mark.parametrize("shard", [(1, 256, 256), (7, 93, 50), (60, 256, 31)])
def test_shards_of_any_shape_change_no_digit(
    nuclei_image: str, nuclei_result: dict[str, Any], shard: tuple[int, ...], tmp_path: Path
) -> None:
    cut = evaluated(nuclei_image, tmp_path / "run", shard, images_along="z", surface=True)
    assert cut["shards"]["done"] > 5
    assert without_places(cut) == without_places(nuclei_result)


def test_components_of_the_mask_are_its_objects(
    nuclei_image: str, nuclei_result: dict[str, Any]
) -> None:
    """Ids of scipy's labelling of whole images, and components joined over shards, are the same."""
    ids = evaluate(nuclei_image, "objects", "--images-along", "z")["instances"]
    assert ids["classes"][0].pop("name") == "object"
    components = json.loads(json.dumps(nuclei_result["instances"]))
    assert components["classes"][0].pop("name") == "nucleus"
    assert ids == components


def test_scores_of_all_images_are_those_of_an_independent_computation(
    nuclei_result: dict[str, Any],
) -> None:
    _, truth, objects = nuclei()
    assert nuclei_result["instances"]["images"] == len(truth) == 56
    assert_independent(nuclei_result, list(truth), list(objects))


@pytest.mark.parametrize("number", [0, 22, 41])
def test_scores_of_one_image_are_those_of_an_independent_computation(
    nuclei_image: str, number: int
) -> None:
    region = ("--region", f"z={number}:{number + 1}")
    result = evaluate(nuclei_image, "objects", "--images-along", "z", *region)
    _, truth, objects = nuclei()
    assert_independent(result, [truth[number]], [objects[number]])


def test_components_that_are_not_joined_change_the_scores(
    nuclei_image: str,
    nuclei_result: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(JoinWork, "join", lambda _self, _item: [])
    cut = evaluated(nuclei_image, tmp_path / "run", (56, 93, 64), images_along="z")
    found, whole = (r["instances"]["classes"][0] for r in (cut, nuclei_result))
    assert found["mask_objects"] > whole["mask_objects"]
    assert found["pq"] < whole["pq"]


def test_shards_that_read_no_halo_are_refused(
    nuclei_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measures, "halo", property(lambda self: (0,) * self.image_axes))
    with pytest.raises(IncompleteRunError, match="does not reach the halo"):
        evaluated(nuclei_image, tmp_path, (56, 93, 64), images_along="z", surface=True)


# --- cells and nuclei of plants: true volumes


def plant(name: str) -> tuple[Any, Any]:
    with np.load(data(DATA / "plantseg_confocal" / "volumes.npz")) as stored:
        return stored[f"{name}_raw"], stored[f"{name}_label"]


def thresholded(raw: Any) -> Any:
    """Connected components above the Otsu threshold of the smoothed volume."""
    smooth = ndimage.gaussian_filter(raw.astype(np.float32), (1, 2, 2))
    return ndimage.label(smooth > threshold_otsu(smooth))[0].astype(np.uint16)


def split_and_merged(truth: Any) -> Any:
    """Every fifth object in two pieces along x, every seventh under the number of another."""
    mask = np.where((truth % 7 == 3) & (truth > 0), truth - 1, truth)
    half = mask.shape[2] // 2
    right = mask[:, :, half:]
    right[(right % 5 == 1) & (right > 0)] += 1000
    return mask


def import_plant(folder: Path, raw: Any, truth: Any, mask: Any, *, is_class: bool) -> str:
    image = make_image(folder, raw, axes="zyx", voxel_size=PLANT_VOXEL)
    make_label(image, truth, classes=None, instances=True)
    if is_class:
        make_label(image, (mask > 0).astype(np.uint8), name="mask", classes=NUCLEUS)
    else:
        make_label(image, mask, name="mask", classes=None, instances=True)
    return image


@pytest.mark.parametrize("is_class", [True, False])
def test_nuclei_in_a_volume_are_the_same_over_shards(is_class: bool, tmp_path: Path) -> None:
    raw, truth = (volume[10:70] for volume in plant("1135_mini"))
    mask = thresholded(raw)
    image = import_plant(tmp_path, raw, truth, mask, is_class=is_class)
    fields: dict[str, Any] = {"surface": True, "tolerances": (0.3, 0.6), "cap": 0.9}
    whole = evaluated(image, tmp_path / "whole", **fields)
    cut = evaluated(image, tmp_path / "cut", (23, 37, 41), **fields)
    assert (whole["shards"]["done"], cut["shards"]["done"]) == (1, 27)
    assert without_places(cut) == without_places(whole)
    assert_independent(cut, [truth], [mask])
    assert_surfaces(cut["surface"], truth > 0, mask > 0)


def assert_surfaces(found: dict[str, Any], truth: Any, mask: Any) -> None:
    """Surfaces of the only class, against DeepMind's library on the whole volume."""
    with warnings.catch_warnings():  # it imports names that scipy is about to drop
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = surface_distance.compute_surface_distances(truth, mask, PLANT_VOXEL)
    (entry,) = found["classes"]
    assert entry["nsd"] == pytest.approx(
        [
            surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)
            for tolerance in found["tolerances"]
        ]
    )
    hd95 = surface_distance.compute_robust_hausdorff(distances, 95)
    assert entry["hd95"] == pytest.approx(hd95)
    assert hd95 < found["cap"]
    assert entry["truth_area"] == pytest.approx(distances["surfel_areas_gt"].sum())
    assert entry["mask_area"] == pytest.approx(distances["surfel_areas_pred"].sum())


def test_cells_that_fill_a_volume_are_the_same_over_shards(tmp_path: Path) -> None:
    """Every voxel of the ovule is in a cell: there is no background to be left out."""
    raw, truth = (volume[:16, :80, :80] for volume in plant("sample_ovule"))
    assert truth.all()
    mask = split_and_merged(truth)
    image = import_plant(tmp_path, raw, truth, mask, is_class=False)
    whole = evaluated(image, tmp_path / "whole")
    cut = evaluated(image, tmp_path / "cut", (5, 19, 27))
    assert cut["shards"]["done"] == 60
    assert without_places(cut) == without_places(whole)
    assert_independent(cut, [truth], [mask])


def test_cells_that_are_all_right_score_one(tmp_path: Path) -> None:
    """Without background a count of objects that takes one off is wrong."""
    raw, truth = (volume[:16, :80, :80] for volume in plant("sample_ovule"))
    image = import_plant(tmp_path, raw, truth, truth, is_class=False)
    found = evaluated(image, tmp_path / "run", (5, 19, 27))["instances"]
    (entry,) = found["classes"]
    assert entry["truth_objects"] == entry["mask_objects"] == len(np.unique(truth))
    assert entry["pq"] == entry["matches"][-1]["average_precision"] == 1.0
    assert (found["voi"], found["adapted_rand_error"]) == (0.0, 0.0)


# --- the report's page


def sections_mask(images: Any) -> Any:
    """Five classes of nerve tissue by grey values smoothed in plane; a poor mask is enough."""
    fine, broad = (smoothed(images, sigma) for sigma in (2, 8))
    mask = np.zeros(images.shape, np.uint8)
    mask[fine < np.percentile(fine, 18)] = 1
    mask[broad > np.percentile(broad, 97)] = 2
    mask[broad < np.percentile(broad, 6)] = 3
    mask[fine < np.percentile(fine, 1)] = 4
    return mask


def membrane_mask(images: Any) -> Any:
    fine = smoothed(images, 2)
    return (fine < np.percentile(fine, 22)).astype(np.uint8)


def smoothed(images: Any, sigma: float) -> Any:
    return ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma))


@dataclass(frozen=True)
class Stack:
    """A stack of sections: where it lies, what it holds, and a rule that makes a mask of it."""

    folder: str
    voxel_size: tuple[float, float, float]  # nanometers
    classes: tuple[str, ...]
    rule: Callable[[Any], Any]


STACKS = {
    "vnc": Stack(
        "vnc_sstem",
        (45, 4.6, 4.6),
        ("intracellular", "membrane", "glia", "mitochondria", "synapse"),
        sections_mask,
    ),
    "isbi": Stack("isbi2012_membrane", (50, 4, 4), ("interior", "membrane"), membrane_mask),
}
MIDDLE = "y=128:512,x=128:512"


def evaluate_sections(folder: Path, stack: Stack) -> dict[str, Any]:
    """Import a stack with truth and mask, evaluate the middle of every section."""
    paths = [data(DATA / stack.folder / name) for name in ("images.tif", "labels.tif")]
    images, labels = map(tifffile.imread, paths)
    unit = "nanometer"
    image = make_image(folder, images, axes="zyx", voxel_size=stack.voxel_size, unit=unit)
    make_label(image, labels, classes=stack.classes)
    make_label(image, stack.rule(images), name="mask", classes=stack.classes)
    return evaluate(image, "mask", "--surface", "--tolerances", "15,50", "--region", MIDDLE)


@pytest.fixture(scope="module", params=["vnc", "isbi", "nuclei"])
def result(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    if request.param == "nuclei":
        return dict(request.getfixturevalue("nuclei_result"))
    return evaluate_sections(tmp_path_factory.mktemp(request.param), STACKS[request.param])


@pytest.fixture(scope="module")
def report(result: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page, in a folder where a browser may keep its own files."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(Path(result["report"]).read_bytes())
    return path


@pytest.mark.slow
def test_numbers_of_one_result_agree(result: dict[str, Any]) -> None:
    voxels = result["voxels"]
    assert voxels == np.sum(result["confusion"])
    assert voxels == sum(row["voxels"] for row in result["images"])
    for entry in result["surface"]["classes"]:
        assert 0 <= entry["nsd"][0] <= entry["nsd"][1] <= 1
        assert entry["hd95"] is None or entry["hd50"] <= entry["hd95"] <= result["surface"]["cap"]
    for entry in result["instances"]["classes"]:
        found = [match["true_positives"] for match in entry["matches"]]
        assert found == sorted(found, reverse=True)
        assert all(
            match["true_positives"] + match["false_negatives"] == entry["truth_objects"]
            for match in entry["matches"]
        )
    whole = np.prod(result["voxel_size"])
    for row, entry in zip(result.get("components", ()), result["classes"][1:], strict=False):
        assert (row["truth_voxels"], row["mask_voxels"]) == (entry["support"], entry["predicted"])
        assert row["truth_volume"] == pytest.approx(row["truth_voxels"] * whole)


@pytest.mark.slow
def test_measures_of_images_have_the_unit_of_their_axes(result: dict[str, Any]) -> None:
    page = Path(result["report"]).read_text(encoding="utf-8")
    is_plane = result["image_axes"] == "yx"
    assert ("Length, truth (µm)" in page) == is_plane
    assert ("Area, truth (nm²)" in page) == (not is_plane)
    assert ("Scores along z</h2>" in page) == (not is_plane)


@pytest.mark.slow
def test_pictures_show_something(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    stored = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    assert len(stored) >= 16
    assert len(stored) % 4 == 0  # image, truth, mask, errors
    for text in stored:
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            assert min(picture.size) >= 256
            assert np.asarray(picture.convert("L")).std() > 3


@pytest.mark.slow
@needs_browser
def test_page_complains_of_nothing_and_asks_for_nothing(report: Path) -> None:
    assert complaints(report) == []
    assert not re.search(r"https?:|url\(|@import", report.read_text(encoding="utf-8"))


@pytest.mark.slow
@needs_browser
def test_page_is_drawn_in_light_and_in_dark(report: Path) -> None:
    for shot, ground in (
        (screenshot(report, 3000), (251, 251, 250)),
        (screenshot(report, 3000, DARK), (20, 23, 27)),
    ):
        assert tuple(shot[2, 2]) == ground
        different = (shot != np.array(ground)).any(axis=-1)
        assert all(part.mean() > 0.02 for part in np.array_split(different, 3))


@pytest.mark.slow
@needs_browser
def test_page_fits_narrow_screens(report: Path, tmp_path: Path) -> None:
    assert inner_widths(report.read_text(encoding="utf-8"), tmp_path) == NARROW


# --- the README's screenshots


@pytest.mark.parametrize(
    ("missing", "value", "match"),
    [
        ("CHROMIUM", None, "no chromium or chromium-browser on the PATH; install Chromium"),
        ("NUCLEI", Path("nowhere.npz"), "nowhere.npz is not there; put shared/ beside"),
    ],
)
def test_screenshots_say_what_is_missing(
    missing: str, value: Any, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshots, "CHROMIUM", "chromium")
    monkeypatch.setattr(screenshots, missing, value)
    monkeypatch.setattr(sys, "argv", ["screenshots", str(tmp_path)])
    with pytest.raises(SystemExit, match=match):
        screenshots.main()
    assert not list(tmp_path.iterdir())


def test_a_large_screenshot_keeps_the_colours_of_its_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8).repeat(3, axis=2)
    shot[:4, :4] = (223, 63, 223)
    monkeypatch.setattr(screenshots, "screenshot", lambda _page, _height: shot)
    monkeypatch.setattr(screenshots, "MOST_BYTES", 5000)
    report, target = tmp_path / "report.html", tmp_path / "shot.png"
    report.touch()
    screenshots.picture(report, target, tmp_path)
    with Image.open(target) as picture:
        assert picture.mode == "P"
        red, green, blue = np.asarray(picture.convert("RGB"))[1, 1].tolist()
    assert min(red, blue) > green + 100


@pytest.mark.slow
@needs_browser
def test_screenshots_are_small_enough_for_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data(NUCLEI)
    monkeypatch.setattr(sys, "argv", ["screenshots", str(tmp_path)])
    screenshots.main()
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["audit-log.png", "report-nuclei.png", "report-stack.png"]
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.size == (1200, 1600)
        assert path.stat().st_size < 400_000
