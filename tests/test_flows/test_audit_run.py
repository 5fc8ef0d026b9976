"""The audit of a run: what it says of scores, records, tiles, intensities and the mask itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from flows.audit_run import run_findings
from flows.errors import RequestError
from flows.executors import SerialExecutor
from flows.prepare import prepare
from flows.run import open_run
from segmentation.audit.thresholds import Thresholds
from segmentation.bundle import save_bundle
from segmentation.tiling import TileSpec
from tests.test_flows.images import (
    SegmentJob,
    finish,
    make_card,
    make_image,
    make_label,
    maskmill,
    segment,
    write_thresholds,
)
from tests.test_segmentation.audits import by_code
from tests.test_segmentation.networks import keras

REACH = 3
SIZE = 96


def found(run):
    return by_code(run_findings(SimpleNamespace(target=getattr(run, "url", run)), Thresholds()))


def tissue(seed=0):
    """Smooth blobs of 8 bits around 100."""
    draws = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(draws.standard_normal((6, SIZE, SIZE)), (1, 3, 3))
    return (100 + 30 * blobs / blobs.std()).clip(1, 200).astype(np.uint8)


def classes(voxels):
    """What the threshold network of the bundle says."""
    return np.digitize(voxels, [50, 150]).astype(np.uint8)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """An image with its truth, and a network that finds all of it."""
    folder = tmp_path_factory.mktemp("audit")
    image = make_image(folder, tissue())
    make_label(image, classes(tissue()))
    bundle = write_thresholds(folder / "bundle", voxel_size=None, unit=None)
    run, result = segment(image, bundle, truth="truth")
    return image, bundle, run, result


def changed(run, folder, **changes):
    """A copy of a run with other fields in its run.json."""
    copy = Path(folder) / "run"
    shutil.copytree(run.url, copy)
    document = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(document | changes))
    return copy


def test_a_good_run_of_one_specimen_has_one_warning(stack):
    _, _, run, result = stack
    assert list(found(run)) == ["EVAL-SMALL-N"]
    assert [entry["code"] for entry in result["findings"]] == ["EVAL-SMALL-N"]


def test_findings_stand_in_result_json_and_are_the_same_bytes_again(stack, tmp_path):
    image, bundle, run, _ = stack
    written = Path(run.url, "result.json").read_bytes()
    again, _ = segment(image, bundle, truth="truth", force=True, memory=2**31)
    findings = [json.loads(text)["findings"] for text in (
        written, Path(again.url, "result.json").read_bytes())]  # fmt: skip
    assert findings[0] == findings[1]
    assert findings[0][0]["evidence"][0]["kind"] == "table"


def test_wrong_truth_is_an_error_in_the_result_and_in_the_audit(stack):
    image, bundle, _, _ = stack
    swapped = np.array([0, 2, 1], np.uint8)[classes(tissue())]
    make_label(image, swapped, name="swapped")
    run, result = segment(image, bundle, truth="swapped", name="wrong")
    codes = [entry["code"] for entry in result["findings"]]
    assert codes[0] == "EVAL-CLASS-MISSED"
    assert "EVAL-CLASS-CONFUSION" in codes
    assert set(codes) == set(found(run))


def test_a_run_without_truth_is_looked_at(stack):
    image, bundle, _, _ = stack
    run, result = segment(image, bundle, name="plain")
    assert result["findings"] == []
    assert found(run) == {}


def test_missing_pieces_of_the_mask_are_counted(stack, tmp_path):
    image, bundle, _, _ = stack
    run, _ = segment(image, bundle, name="torn")
    pieces = sorted(Path(run.target, "0", "c").rglob("*"))
    next(path for path in pieces if path.is_file()).unlink()
    finding = found(run)["INFER-COVERAGE"]
    assert finding.severity == "error"
    assert "1 of" in finding.statement


def test_missing_records_are_counted(stack):
    image, bundle, _, _ = stack
    run, _ = segment(image, bundle, name="unrecorded")
    for path in Path(run.url, "records", "infer").iterdir():
        path.unlink()
    assert "1 of 1 shards have no record" in found(run)["INFER-COVERAGE"].statement


def test_other_intensities_than_the_bundle_s_are_found(stack, tmp_path):
    _, _, run, _ = stack
    other = {"low": [0.0], "high": [100.0], "rule": "the bundle's own"}
    finding = found(changed(run, tmp_path, intensity=other))["INFER-NORM-MISMATCH"]
    assert "0 to 100" in finding.statement
    assert "0 to 200" in finding.statement


def test_an_image_of_16_bits_does_not_fit_a_network_of_8(stack, tmp_path):
    _, bundle, _, _ = stack
    image = make_image(tmp_path, tissue().astype(np.uint16) * 300)
    run, _ = segment(image, bundle)
    assert found(run)["INFER-DTYPE-RANGE"].severity == "error"


def test_scores_are_judged_where_image_mask_and_bundle_are_gone(tmp_path):
    image = make_image(tmp_path, tissue())
    make_label(image, np.zeros_like(tissue()) + (np.arange(SIZE) < 30).astype(np.uint8))
    bundle = write_thresholds(tmp_path / "bundle", voxel_size=None, unit=None)
    run, result = segment(image, bundle, truth="truth")
    shutil.rmtree(image)
    shutil.rmtree(bundle)
    scores = {entry["code"] for entry in result["findings"]}
    findings = run_findings(SimpleNamespace(target=run.url), Thresholds())
    assert {f.code for f in findings} == scores | {"INFER-COVERAGE"}
    gone = [f for f in findings if f.code == "INFER-COVERAGE"]
    assert [f.severity for f in gone] == ["info"] * 3


def test_an_evaluation_is_audited(stack, tmp_path):
    image = stack[0]
    answer = maskmill(
        *("evaluate", image, "--labels", "mask", "--truth", "truth", "--executor", "serial"),
        *("--runs", tmp_path / "runs", "--json"),
    )
    assert answer.code == 0, answer.err
    codes = [entry["code"] for entry in answer.document["findings"]]
    assert codes == ["EVAL-SMALL-N"]
    assert list(found(answer.document["run"])) == codes


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"holds no run\.json; give the folder of a run"):
        found(str(tmp_path))
    (tmp_path / "run.json").write_text("not JSON")
    with pytest.raises(RequestError, match="is not JSON"):
        found(str(tmp_path))


def test_a_folder_of_classifications_is_judged(tmp_path):
    names = (
        {"name": "no", "support": 6, "recall": 0.0, "precision": None, "f1": 0.0},
        {"name": "yes", "support": 21, "recall": 1.0, "precision": 0.78, "f1": 0.88},
    )
    result = {"task": "classification", "classes": names, "confusion": [[0, 6], [0, 21]]}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert "MODEL-OUTPUT-COLLAPSE" in found(str(tmp_path))


# --- tiles laid wrongly on purpose


def window_bundle(folder, **changes):
    """A network that takes the mean of 7 × 7 voxels, zeros beyond the border, and cuts it."""
    source = keras.Input((None, None, 1))
    mean = keras.layers.Conv2D(1, 2 * REACH + 1, padding="same", name="mean")
    head = keras.layers.Conv2D(3, 1, activation="softmax", name="head")
    model = keras.Model(source, head(mean(source)))
    mean.set_weights([np.full((7, 7, 1, 1), 1 / 49, np.float32), np.zeros(1, np.float32)])
    weights = np.array([0.0, 40.0, -40.0], np.float32).reshape(1, 1, 1, 3)
    head.set_weights([weights, np.array([0.0, -20.0, -20.0], np.float32)])
    fields = {"intensity": {"rule": "fixed", "low": [0.0], "high": [200.0]}, "stride": (1, 1)}
    fields |= {"halo": (REACH, REACH), "voxel_size": None, "unit": None}
    save_bundle(folder, model, make_card(**(fields | changes)))
    return folder


def tiled(image, bundle, halo, tile=24):
    """A run whose tiles and halo are other than the plan's."""
    job = SegmentJob(image=image, model=str(bundle), name=f"halo{halo}", executor="serial")
    prepared = prepare(job)
    spec = TileSpec((1, tile, tile), (0, halo, halo), (1, 1, 1))
    prepared = replace(prepared, plan=replace(prepared.plan, spec=spec))
    run = open_run(job, prepared, SerialExecutor(), "20260101T000000-00000000")
    finish(run)
    return run


@pytest.mark.slow
def test_f8_a_run_without_halo_shows_its_seams_and_an_exact_one_does_not(tmp_path):
    image = make_image(tmp_path, tissue(1))
    bundle = window_bundle(tmp_path / "bundle")
    assert found(tiled(image, bundle, REACH)) == {}
    findings = found(tiled(image, bundle, 0))
    assert list(findings) == ["INFER-HALO-SHORT", "INFER-SEAMS"]
    # A card that does not know what the network sees: the mask itself tells.
    wrong = window_bundle(tmp_path / "wrong", halo=(0, 0))
    assert list(found(tiled(image, wrong, 0, tile=20))) == ["INFER-SEAMS"]


def test_tiles_off_the_network_s_grid_are_found(tmp_path):
    image = make_image(tmp_path, tissue(1))
    bundle = window_bundle(tmp_path / "bundle", stride=(4, 4), halo=(4, 4))
    finding = found(tiled(image, bundle, 4, tile=26))["INFER-GRID-MISALIGNED"]
    assert "multiples of 1 × 1 voxels" in finding.statement
