"""Precision of a run: who chooses it, what it is part of, how its agreement is counted."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from flows import precision as precision_module
from flows.errors import RequestError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from flows.precision import is_compared, precision_result, tell_if_slow
from flows.prepare import prepare
from flows.report.markdown import render_markdown
from flows.report.terminal import plain_text
from flows.sizing import _needs
from segmentation.bundle import CARD_FILE, BundleError, bundle_digest, load_card
from segmentation.networks.memory import LOW_PRECISION_SHARE
from tests.test_flows.runs import make_image, segment, stored


class Backwards(SerialExecutor):
    """The last shard first."""

    def map(self, work, items, stop):
        return super().map(work, sorted(items, reverse=True), stop)


@pytest.fixture
def image(tmp_path, many_cells):
    """An image of several cells along z, where shards gain nothing from being joined."""
    voxels = np.random.default_rng(5).integers(0, 200, (40, 44, 30), np.uint8)
    return make_image(tmp_path, voxels, "zyx")


def cells(run):
    """Bytes of every stored cell of the mask."""
    return {key: data for key, data in stored(run.target).items() if "/c/" in key}


def job(image, model, **fields):
    return SegmentJob(image=image, model=model, name="mask", **fields)


def altered(bundle, folder, **fields):
    """The bundle with other fields in its card."""
    for name in ("model.keras", CARD_FILE):
        data = (Path(bundle) / name).read_bytes()
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    card = json.loads((folder / CARD_FILE).read_text()) | fields
    (folder / CARD_FILE).write_text(json.dumps(card))
    return str(folder)


def test_the_job_decides_then_the_bundle(image, tiny_bundle, tmp_path):
    low = altered(tiny_bundle, tmp_path / "low", precision="bfloat16")
    assert load_card(tiny_bundle).precision == "float32"
    assert load_card(low).precision == "bfloat16"
    assert bundle_digest(low) == bundle_digest(tiny_bundle)
    found = {
        (model, wanted): prepare(job(image, model, precision=wanted))
        for model in (tiny_bundle, low)
        for wanted in (None, "float32", "bfloat16", "float16")
    }
    policies = {asked: one.precision for asked, one in found.items()}
    assert policies == {
        (model, wanted): wanted or ("bfloat16" if model == low else "float32")
        for model, wanted in policies
    }
    # One key for one arithmetic, whoever has chosen it.
    keys = {(one.precision, one.key) for one in found.values()}
    assert len(keys) == len({key for _, key in keys}) == 3
    assert all(one.identity["batch_norm"] == "folded" for one in found.values())


def test_a_card_without_precision_is_float32_and_an_unknown_one_is_refused(tiny_bundle, tmp_path):
    card = json.loads((Path(tiny_bundle) / CARD_FILE).read_text())
    card.pop("precision")
    older = tmp_path / "older"
    altered(tiny_bundle, older)
    (older / CARD_FILE).write_text(json.dumps(card))
    assert load_card(older).precision == "float32"
    with pytest.raises(BundleError, match="has the precision 'int8'; expected float32, bfloat16"):
        load_card(altered(tiny_bundle, tmp_path / "odd", precision="int8"))


def test_the_identity_model_has_no_precision(image):
    with pytest.raises(RequestError, match="computes nothing; leave --precision out"):
        prepare(job(image, "identity", precision="bfloat16"))
    assert "batch_norm" not in prepare(job(image, "identity")).identity


def test_lower_precision_needs_as_large_a_tile_and_room_for_more_of_them(image, tiny_bundle):
    full, low = (
        _needs(asked, found.image, found.model, 1, "uint8", None)
        for asked in (job(image, tiny_bundle, precision=kind) for kind in ("float32", "bfloat16"))
        for found in [prepare(asked)]
    )
    activations = load_card(tiny_bundle).activation_bytes
    assert (full.lone_voxel, low.lone_voxel) == (0, full.tile_voxel)
    assert full.tile_voxel - low.tile_voxel == activations - math.ceil(
        activations * LOW_PRECISION_SHARE
    )
    assert low.projected(0, 0, 0, 10, 1) == full.projected(0, 0, 0, 10, 1)
    assert low.projected(0, 0, 0, 10, 4) < full.projected(0, 0, 0, 10, 4)


@pytest.mark.parametrize(
    ("planned", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (12, [2, 6, 10])]
)
def test_a_few_shards_are_compared(planned, expected):
    assert [index for index in range(planned) if is_compared(index, planned)] == expected


def test_the_same_result_in_any_order_and_after_a_break(image, tiny_bundle):
    first, result = segment(image=image, model=tiny_bundle, precision="bfloat16")
    known = result["precision"]
    assert known["policy"] == "bfloat16"
    assert 0 < known["voxels"] < result["voxels"]
    assert 0.8 < known["agreement"] <= 1
    assert (known["agreement"] * known["voxels"]).is_integer()
    records = list(first.manifest.records("infer", len(first.plan)))
    with_record = sorted((r for r in records if "agreement" in r), key=lambda r: r["item"])
    compared = [index for index in range(len(records)) if is_compared(index, len(records))]
    assert len(compared) == 3
    assert [r["item"] for r in with_record] == compared
    assert "Computed in bfloat16: " in plain_text(result)
    assert "compared voxels have the class of float32" in render_markdown(result)
    fields = {"image": image, "model": tiny_bundle, "precision": "bfloat16", "force": True}
    again, _ = segment(Backwards(), **fields)
    assert again.blobs.read("result.json") == first.blobs.read("result.json")
    assert cells(again) == cells(first)


def test_float32_says_nothing(image, tiny_bundle):
    run, result = segment(image=image, model=tiny_bundle)
    assert "precision" not in result
    assert not any("agreement" in r for r in run.manifest.records("infer", len(run.plan)))


def test_an_agreement_of_nothing_is_undefined():
    assert precision_result("float16", 0, 0) == {
        "policy": "float16",
        "agreement": None,
        "voxels": 0,
    }


@pytest.mark.parametrize(
    ("fields", "native", "said"),
    [
        ({}, False, 1),
        ({}, True, 0),
        ({"address": "ray://elsewhere:10001"}, False, 0),
        ({"gpus_per_worker": 1.0}, False, 0),
    ],
)
def test_a_cpu_without_the_instructions_is_told_once(monkeypatch, caplog, fields, native, said):
    monkeypatch.setattr(precision_module, "is_native", lambda _precision: native)
    with caplog.at_level(logging.WARNING):
        tell_if_slow(job("image.zarr", "bundle", **fields), "bfloat16")
    assert [r.message for r in caplog.records] == [
        "this CPU has no instructions for bfloat16: the masks will be right, and slower than in "
        "float32"
    ] * said
