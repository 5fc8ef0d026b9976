"""Packing: an existing model becomes a bundle that segments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flows.jobs import PackJob, make_job
from flows.pack import pack_model
from segmentation.bundle import load_card
from segmentation.networks.model_file import write_model
from storage.volume import open_label
from tests.test_flows.images import (
    VOXEL_SIZE,
    listing,
    make_image,
    maskmill,
    segment,
    thresholds,
    voxels_like,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network as a user has it: in a file."""
    path = tmp_path_factory.mktemp("model") / "thresholds.keras"
    write_model(thresholds(0.25, 0.75), path)
    return path


def pack(model, bundle, **fields):
    options = {"classes": "background,dim,bright", "intensity_range": "0,200"}
    return pack_model(
        make_job(PackJob, {"model": str(model), "bundle": str(bundle), **options} | fields)
    )


def test_a_packed_model_segments(model, tmp_path):
    """Between 0 and 200 the classes change at 50 and 150."""
    result = pack(model, tmp_path / "bundle")
    assert result["stride"] == [1, 1]
    assert result["halo"] == [0, 0]
    assert (result["exact"], result["axes"], result["head"]) == (True, "yx", "softmax")
    voxels = voxels_like((2, 40, 36))
    image = make_image(tmp_path, voxels, voxel_size=VOXEL_SIZE)
    _, scores = segment(image, tmp_path / "bundle")
    expected = (voxels > 50).astype("uint8") + (voxels > 150)
    clear = (voxels != 50) & (voxels != 150)
    mask = open_label(image, "mask").volumes[0][:]
    np.testing.assert_array_equal(mask[clear], expected[clear])
    shares = {entry["name"]: entry["voxels"] for entry in scores["shares"]}
    assert shares == {
        name: int((mask == value).sum())
        for value, name in enumerate(("background", "dim", "bright"))
    }


def test_the_card_says_what_was_given(model, tmp_path):
    fields = {"voxel_size": "4,4", "unit": "nm", "intensity_range": None}
    result = pack(model, tmp_path / "bundle", **fields, intensity_percentiles="1,99")
    card = load_card(tmp_path / "bundle")
    assert [(c.value, c.name) for c in card.classes] == [
        (0, "background"),
        (1, "dim"),
        (2, "bright"),
    ]
    assert (card.voxel_size, card.unit) == ((4.0, 4.0), "nanometer")
    assert card.intensity == {"rule": "percentiles", "low": 1.0, "high": 99.0}
    assert card.training == {"packed": "thresholds.keras"}
    info = maskmill("info", tmp_path / "bundle", "--json").document
    assert info["digest"] == result["digest"]
    assert info["classes"][1]["name"] == "dim"
    assert "halo: 0 × 0\n" in maskmill("info", tmp_path / "bundle").out


def test_the_same_model_packs_to_the_same_bytes(model, tmp_path):
    first, second = (pack(model, tmp_path / name) for name in "ab")
    assert first["digest"] == second["digest"]
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


def test_names_and_colours_do_not_change_the_digest_but_intensities_do(model, tmp_path):
    digest = pack(model, tmp_path / "a")["digest"]
    assert pack(model, tmp_path / "b", classes="x,y,z")["digest"] == digest
    assert pack(model, tmp_path / "c", intensity_range="0,100")["digest"] != digest


def test_what_an_interrupted_attempt_left_is_replaced(model, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.keras").write_bytes(b"half")
    pack(model, tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle" / "card.json").read_text())["schema"] == 1
    assert load_card(tmp_path / "bundle").channels == 1
