from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.report.html import render_report
from flows.report.png import (
    ERRORS,
    Picture,
    data_uri,
    draw_picture,
    error_map,
    overlay,
    to_png,
    to_webp,
)
from flows.report.words import top_confusions, trust, warnings
from tests.test_flows.report_outline import NASTY, page
from tests.test_flows.results import UNSCORED, scored

COLORS = {1: (86, 180, 233), 2: (230, 159, 0)}


GOOD = scored([[80, 1, 0], [1, 10, 0], [0, 1, 7]])
FLATTERED = scored([[90, 0, 0], [2, 3, 0], [1, 4, 0]])

# --- words


def test_warns_when_the_pooled_score_flatters() -> None:
    # membrane: 2*3/(5+7) = 0.5, synapse: 0 -> macro 0.25; pooled 93/100
    (sentence,) = warnings(FLATTERED)
    assert "0.930 while the foreground classes reach 0.250" in sentence
    assert "90.0 % of the voxels" in sentence
    assert warnings(GOOD) == []


def test_warns_of_unfinished_runs_and_of_unknown_values() -> None:
    result = {**GOOD, "shards": {"planned": 1200, "failed": 3}, "out_of_range": 1}
    unfinished, unknown = warnings(result)
    assert "3 of 1,200 shards failed" in unknown + unfinished
    assert unknown.startswith("1 voxel hold")


def test_confusions_are_told_by_their_share_of_the_true_class() -> None:
    assert top_confusions(FLATTERED, limit=2) == [
        "80.0 % of synapse was predicted as membrane (4 of 5 voxels).",
        "40.0 % of membrane was predicted as background (2 of 5 voxels).",
    ]


def test_trust_names_best_and_worst_class_and_why_there_is_no_interval() -> None:
    assert trust(FLATTERED) == (
        "The masks are best for membrane: Dice 0.500, and worst for synapse: Dice 0.000, 5 voxels "
        "in the truth; no interval: none was computed."
    )
    one = scored([[9, 1], [0, 5]], ("background", "cell"))  # 2*5 / (5+6)
    assert trust(one).startswith("The one class scored is cell: Dice 0.909, 5 voxels in the truth;")
    none = scored([[9, 0], [0, 0]], ("background", "cell"))
    assert trust(none) == "No foreground class could be scored."


# --- pictures


def test_overlay_colours_labels_and_leaves_background_grey() -> None:
    image = np.array([[0, 100], [200, 200]], np.uint16)
    labels = np.array([[0, 1], [2, 0]], np.uint8)
    solid = overlay(image, labels, COLORS, alpha=1)
    assert solid[0, 1].tolist() == [86, 180, 233]
    assert solid[1, 0].tolist() == [230, 159, 0]
    assert solid[0, 0].tolist() == [0, 0, 0]
    assert len(set(solid[1, 1].tolist())) == 1
    # 0.5 and 99.5 percentiles of 0, 100, 200, 200: 1.5 and 200; 255 * 98.5 / 198.5 = 126.5
    assert overlay(image, labels, COLORS, alpha=0)[..., 0].tolist() == [[0, 127], [255, 255]]


def test_overlay_gives_colours_to_instances_without_one() -> None:
    labels = np.array([[0, 1, 2, 70_000]], np.uint32)
    picture = overlay(np.zeros((1, 4)), labels, {}, alpha=1)
    assert len({tuple(pixel) for pixel in picture[0].tolist()}) == 4


def test_overlay_takes_constant_multichannel_and_non_finite_planes() -> None:
    none = np.zeros((2, 2), np.uint8)
    assert overlay(np.full((2, 2), 7), none, {}).tolist() == np.zeros((2, 2, 3)).tolist()
    assert overlay(np.array([[np.nan, 0.0], [1, np.inf]]), none, {}).shape == (2, 2, 3)
    assert overlay(np.ones((2, 2, 4)), none, {}).shape == (2, 2, 3)


def test_error_map_tells_missed_invented_and_confused() -> None:
    truth = np.array([[1, 0, 1, 1, 0, 9]], np.uint8)
    mask = np.array([[0, 2, 2, 1, 0, 1]], np.uint8)
    picture = error_map(np.zeros((1, 6)), truth, mask, ignore_label=9)
    assert [tuple(pixel) for pixel in picture[0, :3].tolist()] == [color for color, _ in ERRORS]
    assert picture[0, 3:].std() == 0


def test_png_and_data_uri_hold_the_array() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    png = to_png(array)
    assert png == to_png(array.copy())
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), array)
    head, body = data_uri(png).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == png


def test_panels_are_small_and_nearly_what_was_drawn() -> None:
    noise = np.random.default_rng(0).normal(120, 20, (200, 200, 1)).clip(0, 255)
    array = np.repeat(noise, 3, axis=2).astype(np.uint8)
    webp = to_webp(array)
    assert data_uri(webp).startswith("data:image/webp;base64,")
    assert len(webp) < len(to_png(array)) / 2
    back = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"), np.int16)
    assert np.abs(back - array).mean() < 6


def test_errors_one_voxel_wide_keep_their_colour() -> None:
    image = np.random.default_rng(0).normal(120, 20, (200, 200))
    truth = np.zeros((200, 200), np.uint8)
    truth[10:190:9] = 1
    picture = draw_picture("", image, np.zeros_like(truth), truth, colors=COLORS)
    drawn = dict(picture.panels)["errors"]
    errors = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"))
    assert {tuple(pixel) for pixel in errors[truth == 1].tolist()} == {ERRORS[0][0]}
    np.testing.assert_array_equal(errors, error_map(image, truth, np.zeros_like(truth)))
    # A loss would halve the resolution of colour.
    lossy = np.asarray(Image.open(io.BytesIO(to_webp(errors))).convert("RGB"), np.int16)
    assert np.abs(lossy - errors)[truth == 1].mean() > 20
    assert len(drawn) < len(to_png(errors))


def test_picture_has_truth_and_errors_only_with_truth_and_is_thinned() -> None:
    image, mask = np.zeros((10, 1600)), np.ones((10, 1600), np.uint8)
    small = draw_picture("z = 0", image[:, :20], mask[:, :20], colors=COLORS)
    assert [name for name, _ in small.panels] == ["image", "mask"]
    assert small.caption == "z = 0"
    large = draw_picture("z = 0", image, mask, mask, colors=COLORS)
    assert [name for name, _ in large.panels] == ["image", "truth", "mask", "errors"]
    assert "one voxel in 3 shown" in large.caption
    assert Image.open(io.BytesIO(large.panels[0][1])).size == (534, 4)


def test_pictures_of_different_planes_are_refused() -> None:
    plane, other = np.zeros((2, 2)), np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels have shape \(2, 3\) and the image \(2, 2\)"):
        overlay(plane, other, {})
    with pytest.raises(ValueError, match="expected one plane of each"):
        error_map(plane, other, other)
    with pytest.raises(ValueError, match=r"expected \(y, x\)"):
        overlay(np.zeros(3), np.zeros(3, np.uint8), {})


# --- page


def test_page_puts_the_verdict_before_everything_else() -> None:
    text = page(FLATTERED, seconds={"infer": 12.34}).text
    order = ["0.250", "0.930", "The pooled score flatters", "Scores per class", "What was taken"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "undefined (no voxel was predicted as this class)" in text
    assert "Seconds, infer12.3" in text


def test_page_needs_no_network_and_no_script() -> None:
    picture = draw_picture("z", np.zeros((4, 4)), np.eye(4, dtype=np.uint8), colors=COLORS)
    outline = page(GOOD, pictures=[picture], colors=COLORS)
    assert all(address.startswith("data:image/") for address in outline.addresses)
    assert len(outline.addresses) == 2
    assert {"script", "link", "iframe"}.isdisjoint(outline.tags)
    assert not re.search(r"https?:|url\(|@import", outline.page)


@pytest.mark.parametrize(
    "result", [UNSCORED, scored([[5, 0], [1, 3]], ("background", NASTY))], ids=["shares", "scores"]
)
def test_page_escapes_every_string_from_outside(result: Any) -> None:
    picture = Picture(NASTY, ((NASTY, b"png"),))
    outline = page(
        result,
        title=NASTY,
        provenance={NASTY: {NASTY: [NASTY, 1]}, "seed": None},
        pictures=[picture],
        colors=COLORS,
        seconds={NASTY: 1.0},
    )
    assert "script" not in outline.tags
    assert outline.text.count(NASTY) >= 6
    assert "seed" in outline.text


def test_page_without_truth_shows_shares_and_no_scores() -> None:
    result = {
        **UNSCORED,
        "shards": {"planned": 4, "done": 3, "skipped": 0, "failed": 1},
        "amplification": 1.5,
    }
    text = page(result).text
    assert "No truth was given" in text
    assert "25.0 %" in text
    assert "1 of 4 shards failed" in text
    assert "1.50 voxels computed for each voxel wanted" in text
    assert "Dice" not in text


def test_page_of_nothing_counted_says_so() -> None:
    text = page(scored([[0, 0], [0, 0]], ("background", "cell"))).text
    assert "undefined (no voxel was counted)" in text


def test_same_result_same_page() -> None:
    options: dict[str, Any] = {"title": "run", "provenance": {"seed": 1}, "colors": COLORS}
    assert render_report(GOOD, **options) == render_report(GOOD, **options)
