"""Every section of the report: there, not there, undefined, and with names that mean something."""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from flows.report.definitions import DEFINITIONS, definitions
from flows.report.html import render_report
from flows.report.markdown import render_markdown
from flows.report.sections_comparison import verdicts
from segmentation.metrics.comparison import compare_groups
from segmentation.metrics.summary import VolumeCounts, shard_map, summarise
from tests.test_flows.report_outline import NASTY, page
from tests.test_flows.results import COLORS, UNSCORED, full_options, full_result, pictures, scored

FULL = full_result()
PLAIN = scored([[80, 1, 0], [1, 10, 0], [0, 1, 7]])
SECTIONS = {
    "comparison": "Comparison",
    "images": "Images and specimens",
    "slices": "Scores along z",
    "map": "Scores on the grid of shards",
    "instances": "Objects",
    "components": "Components",
    "surface": "Surfaces",
    "probability": "Probabilities",
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """Return the whole result with one thing changed."""
    result = deepcopy(FULL)
    inner: Any = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return result


# --- all sections


def test_full_page_is_well_formed_and_can_be_walked_through() -> None:
    outline = page(FULL, **full_options())
    levels = [int(tag[1]) for tag in outline.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all("scope" in found for tag, found in outline.attributes if tag == "th")
    names = [found["id"] for _, found in outline.attributes if "id" in found]
    assert len(set(names)) == len(names)
    links = [address[1:] for address in outline.addresses if address.startswith("#")]
    assert links == names
    assert all(a.startswith(("#", "data:image/")) for a in outline.addresses)
    assert len(outline.drawings) > 20
    for drawing in outline.drawings:
        assert drawing.attrib["role"] == "img"
        assert len(drawing.attrib["aria-label"]) > 20
        assert all(text.attrib["fill"] == "currentColor" for text in drawing.iter("text"))


@pytest.mark.parametrize(("key", "heading"), SECTIONS.items())
def test_section_is_shown_where_its_key_is_there_and_not_null(key: str, heading: str) -> None:
    assert heading in page(FULL).headings
    assert heading not in page(changed(key, to=None)).headings
    assert heading not in page({k: v for k, v in FULL.items() if k != key}).headings
    assert f"## {heading}\n" not in render_markdown(changed(key, to=None))


def test_page_of_a_run_with_nothing_but_counts_is_short() -> None:
    outline = page(PLAIN)
    assert outline.headings == [
        "Scores per class",
        "What was taken for what",
        "What was left out",
        "What the scores mean",
    ]
    assert "nav" not in outline.tags
    assert page(UNSCORED).headings == ["Shares per class"]


def poisoned(value: Any, key: str = "") -> Any:
    """Return a result in which every text from outside is nasty."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    fixed = key in ("score", "axes", "severity")
    return f"{value} {NASTY}\x00\x1b\ud800" if isinstance(value, str) and not fixed else value


def test_names_from_outside_are_text_everywhere() -> None:
    result = poisoned(FULL)
    outline = page(result, **{**full_options(), "title": NASTY})
    assert "script" not in outline.tags
    assert outline.text.count(NASTY) > 100
    assert len(outline.drawings) == len(page(FULL, **full_options()).drawings)
    outline.page.encode()
    text = render_markdown(result)
    assert "<script>" not in text
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in blocks:
        rows = block.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


KEPT = ("thresholds", "tolerances", "cap", "level", "threshold", "truth_area", "mask_area")


def hollow(value: Any, key: str = "") -> Any:
    """Return a result in which every score is undefined."""
    if isinstance(value, dict):
        bounds = ("low", "high") if "mean_probability" in value else ()
        return {n: v if n in (*KEPT, *bounds) else hollow(v, n) for n, v in value.items()}
    if isinstance(value, list):
        return [hollow(inner, key) for inner in value]
    return None if isinstance(value, float) else value


def test_undefined_scores_are_shown_as_such_everywhere() -> None:
    result = hollow(FULL)
    for text in (page(result, colors=COLORS).text, render_markdown(result)):
        assert not re.search(r"\b(None|nan|inf)\b", text)
    outline = page(result)
    assert set(SECTIONS.values()) <= set(outline.headings)
    assert "No foreground class could be scored." in outline.text
    assert "Undefined on all 384 planes" in outline.text
    assert "Reliability diagram" in outline.text


def test_definitions_are_of_what_is_shown() -> None:
    def terms(result: Any) -> set[str]:
        return set(re.findall(r"<dt>([^<]*)</dt><dd>", page(result).page.split("mean</h2>")[1]))

    plain, full = terms(PLAIN), terms(FULL)
    assert "Dice" in plain
    assert not {"AUROC", "NSD", "VOI", "Holm p", "Median"} & plain
    assert {"AUROC", "NSD", "VOI", "Holm p", "Median", "Interval (t)"} <= full
    assert "Interval (bootstrap)" not in full
    assert "Undefined" not in plain
    assert len(DEFINITIONS) == len({term for term, _ in DEFINITIONS.values()})
    with pytest.raises(KeyError, match="terms without a definition"):
        definitions(["dice", "f2"])


# --- findings, scores


def test_findings_have_weight_code_and_advice_or_there_is_none() -> None:
    text = page(FULL).text
    assert "✖ Error. Synapse is in the truth" in text
    assert "▲ Warning. The pooled Dice is 0.24 above" in text
    assert "● Note. Twelve specimens" in text
    assert "EVAL-POOLED" in text
    assert "Judge by the macro-foreground Dice." in text
    assert "No finding." in page({**PLAIN, "findings": []}).text
    flattered = {**scored([[90, 0, 0], [2, 3, 0], [1, 4, 0]]), "findings": []}
    assert "▲ Warning. The pooled score flatters" in page(flattered).text
    stopped = {**FULL, "shards": {"planned": 9, "failed": 1}}
    assert page(stopped).text.index("1 of 9 shards failed") < page(stopped).text.index("✖ Error")


def test_intervals_stand_beside_dice_with_their_estimate_where_it_differs() -> None:
    entry = FULL["intervals"]["scores"][1]
    low_high = f"{entry['low']:.3f}–{entry['high']:.3f}"
    assert low_high in page(FULL).text
    moved = changed("intervals", "scores", 1, "estimate", to=0.5)
    assert f"{low_high} about 0.500" in page(moved).text
    assert "synapse: no interval: defined in only 2 specimens." in page(FULL).text
    assert "Mean and 95 % t interval of the scores of 12 specimens" in page(FULL).text
    none = changed("intervals", to=None)
    assert "no interval: none was computed." in page(none).text


def test_many_classes_are_cut_to_the_worst() -> None:
    size = 60
    counts = np.diag(np.arange(1, size + 1) * 100)
    counts[:, 0] += np.arange(size)[::-1]
    names = ("background", *[f"class {value}" for value in range(1, size)])
    outline = page(scored(counts, names))
    assert "The worst 50 of 60 rows are shown, worst first." in outline.text
    assert "Left out are 44 classes, absent or of a higher Dice" in outline.text
    assert outline.page.count("<td") < 60 * 60


# --- comparison


def test_comparison_says_in_words_what_it_means() -> None:
    sentences = verdicts(FULL["comparison"])
    assert sentences[0] == "Macro-foreground Dice: unet-3d is better by 0.031 (p 0.002)."
    assert sentences[1] == (
        "membrane: no difference was shown (Holm p 0.420); a difference below 0.008 could not have "
        "been seen reliably."
    )
    worse = changed("comparison", "scores", 2, "difference", to=-0.022)["comparison"]
    assert verdicts(worse)[2] == "mitochondrion: unet-2d is better by 0.022 (Holm p 0.033)."


def test_comparison_without_a_test_says_why_once() -> None:
    result = deepcopy(FULL)
    for entry in result["comparison"]["scores"]:
        entry |= {"p": None, "p_holm": None, "low": None, "high": None, "test": None}
        entry |= {"minimum_detectable_difference": None}
    result["comparison"] |= {"objects": None, "note": "2 specimens are too few for a test."}
    assert verdicts(result["comparison"]) == [
        "Macro-foreground Dice, membrane, mitochondrion, vesicle and synapse: no test was possible "
        "(2 specimens are too few for a test)."
    ]
    text = page(result).text
    assert "no interval" in text
    assert "undefined (too few pairs)" in text
    assert "McNemar" not in text


# --- images, numbers of everything


def test_worst_images_are_named_with_what_their_choice_does() -> None:
    text = page(FULL).text
    assert "The 5 lowest of 24 images" in text
    assert text.index("fly3-b.zarr") < text.index("fly8-b.zarr")
    assert "the worst of 24 is expected to lie well below the middle" in text
    assert "The independent unit is the specimen: 12 specimens." in text


def test_images_of_a_stack_are_told_by_their_number() -> None:
    result = deepcopy(FULL)
    for place, row in enumerate(result["images"]):
        row |= {"image": "stack.zarr", "index": place}
    assert "stack.zarr [5]" in page(result).text


def test_one_image_has_no_spread() -> None:
    result = {**FULL, "images": FULL["images"][:1], "groups": FULL["groups"][:1]}
    text = page(result).text
    assert "There is one image: no spread to show." in text
    assert "1 image (▲ fewer than 5), 1 specimen (▲ fewer than 5)" in text


def test_many_images_are_drawn_as_quantiles() -> None:
    rows = [FULL["images"][i % 24] | {"image": f"{i}.zarr"} for i in range(1000)]
    outline = page({**FULL, "images": rows})
    assert "Of 1,000 images 240 evenly spread quantiles are drawn" in outline.text
    assert "The 5 lowest of 1,000 images" in outline.text


def test_small_numbers_say_so_in_words() -> None:
    result = deepcopy(FULL)
    for row in result["images"][3:]:
        row["support"][4] = 0
    for row in result["groups"][1:]:
        row["support"][4] = 0
    cells = page(result).page.split("How much the scores rest on</h2>")[1]
    assert cells.count("▲ fewer than 5") == 2  # images, specimens
    assert "Scores that rest on fewer than 5 can change with a single image." in cells
    assert "fewer than" not in page(FULL).text


# --- places


def test_slices_of_several_volumes_are_limited_and_named() -> None:
    text = page(FULL).text
    assert "Of 24 volumes the 6 lowest are drawn." in text
    assert "fly3-b.zarr, z 6" in text
    assert "The 5 lowest of 384 planes" in text


def test_ten_thousand_slices_are_thinned_out_with_a_sentence() -> None:
    row = FULL["slices"]["rows"][0]
    rows = [row | {"index": z, "dice": [1, 0.9, None, z / 1e4, 0.5]} for z in range(10_000)]
    result = {**FULL, "images": FULL["images"][:1], "slices": {"axis": "z", "rows": rows}}
    outline = page(result)
    assert "Each point stands for 84 neighbouring planes along z" in outline.text
    labels = [d.attrib["aria-label"] for d in outline.drawings]
    assert "Dice along z: 3 vesicle from 0.000 to >0.999" in labels
    assert "Dice along z: 2 mitochondrion, undefined" in labels
    assert len(outline.page) < 700_000


def test_planes_that_are_images_are_not_joined_by_a_line() -> None:
    outline = page({**FULL, "axes": "zyx", "image_axes": "yx"})
    assert "Scores along z" not in outline.text
    assert "Images and specimens" in outline.text
    assert "Length, truth (nm)" in outline.text
    assert "Area (nm²), truth" in outline.text
    assert "Scores along z" in page({**FULL, "axes": "tzyx", "image_axes": "zyx"}).text


def test_single_planes_make_no_line() -> None:
    rows = [row for row in FULL["slices"]["rows"] if row["index"] == 0]
    text = page(changed("slices", "rows", to=rows)).text
    assert "Every volume is a single plane: no line to draw." in text


def test_volumes_without_names_of_their_own_are_numbered() -> None:
    result = changed("images", to=[row | {"image": "same.zarr"} for row in FULL["images"]])
    assert "volume 5, z 6" in page(result).text


def test_map_of_one_place_is_a_sentence() -> None:
    one = {"axes": "yx", "shape": [1, 1], "rows": FULL["map"]["rows"][:1]}
    outline = page(changed("map", to=one))
    assert "One shard covers the plane: there is no map to draw." in outline.text
    assert not any("Map of the Dice" in d.attrib["aria-label"] for d in outline.drawings)


def test_large_map_shows_the_lowest_of_several_places() -> None:
    row = FULL["map"]["rows"][0]
    rows = [row | {"place": [y, x]} for y in range(70) for x in range(3)]
    rows[100] = rows[100] | {"macro_foreground_dice": 0.125}
    outline = page(changed("map", to={"axes": "yx", "shape": [70, 3], "rows": rows}))
    assert "Each cell stands for 3 × 3 places and shows the lowest of them." in outline.text
    maps = [d for d in outline.drawings if "Map of the Dice" in d.attrib["aria-label"]]
    assert {len(list(drawing.iter("rect"))) for drawing in maps} == {24}
    assert "from 0.125 at y 33, x 1" in maps[0].attrib["aria-label"]
    assert "y 33, x 1" in outline.text


def test_map_without_foreground_says_so() -> None:
    row = FULL["map"]["rows"][-1]
    rows = [row | {"place": [0, x]} for x in range(2)]
    text = page(changed("map", to={"axes": "yx", "shape": [1, 2], "rows": rows})).text
    assert "Undefined on all 2 places: no foreground there." in text


def test_worst_planes_stand_under_their_class_with_a_sentence() -> None:
    outline = page(FULL, worst={4: pictures(2), 2: pictures(1), 1: []}, colors=COLORS)
    assert "Worst planes" in outline.headings
    assert re.findall(r"<h3>(.*?)</h3>", outline.page) == ["synapse", "mitochondrion"]
    assert "The worst of 384 planes is expected to be low" in outline.text
    assert outline.tags.count("img") == 12
    assert "Worst planes" not in page(FULL, worst={1: []}).headings


# --- objects, surfaces, probabilities, what was left out


def test_objects_have_intervals_errors_and_every_threshold() -> None:
    outline = page(FULL)
    assert "Objects of 24 images counted together" in outline.text
    assert any(
        d.attrib["aria-label"].startswith(
            "AP over the IoU threshold: 2 mitochondrion from 0.579 at 0.5 to"
        )
        for d in outline.drawings
    )
    assert "AP at every threshold" in outline.text
    for word in ("Missed", "Invented", "Splits", "Merges", "VOI, split (bits)", "Rand recall"):
        assert word in outline.text


def test_objects_without_classes_and_without_matches_can_be_shown() -> None:
    result = deepcopy(FULL)
    entry = result["instances"]["classes"][0]
    entry |= {"value": None, "name": "object", "recall_interval": None, "pq": None}
    entry["undefined"] = {"pq": "neither truth nor mask has an object of this class"}
    result["instances"]["classes"] = [entry]
    text = page(result, **full_options()).text
    assert "undefined (neither truth nor mask has an object of this class)" in text
    remark = "The colours of objects tell them apart and mean nothing else."
    assert text.count(remark) == 2  # worst planes, pictures
    assert remark not in page(FULL, **full_options()).text


def test_one_class_cannot_be_confused_in_the_pictures() -> None:
    one = scored([[80, 1], [1, 10]], ("background", "membrane"))
    assert "confused: one foreground class" not in page(one, pictures=pictures()).text
    assert "confused: one foreground class" in page(PLAIN, pictures=pictures()).text


@pytest.mark.parametrize(
    ("axes", "unit", "heads"),
    [
        ("zyx", "nanometer", ("Volume (nm³), truth", "Area, truth (nm²)", "HD95 (nm)")),
        ("yx", "micrometer", ("Area (µm²), truth", "Length, truth (µm)", "HD95 (µm)")),
        ("yx", None, ("Area, truth", "Length, truth", "HD95")),
    ],
)
def test_measures_have_the_unit_of_the_image(
    axes: str, unit: str | None, heads: tuple[str, ...]
) -> None:
    result = {**FULL, "axes": axes, "unit": unit, "surface": {**FULL["surface"], "unit": unit}}
    found = page(result).page
    assert all(f'<th scope="col">{head}</th>' in found for head in heads)


def test_distances_beyond_the_cap_are_undefined_and_counted() -> None:
    text = page(FULL).text
    assert "undefined (more than the cap of 500 nanometer away)" in text
    assert "measured up to 500 nm" in text
    assert "Distances of synapse11.0 % of the areafarther away than the cap" in text
    assert "Surface of membrane1,204 surfelsthey touch ignored voxels" in text


def test_reliability_is_drawn_and_listed() -> None:
    outline = page(FULL)
    labels = [d.attrib["aria-label"] for d in outline.drawings]
    assert sum(label.startswith("Reliability diagram of") for label in labels) == 4
    assert "Reliability of synapse in numbers" in outline.text
    assert "AUROC 0.940, expected calibration error 0.087" in outline.text


def test_what_was_left_out_is_counted() -> None:
    text = page(FULL).text
    assert "Ignored voxels120,345 (0.5 %)the truth has the value 255" in text
    assert "Voxels out of range17 (<0.1 %)" in text
    lost = scored([[9, 0, 0], [0, 5, 0], [0, 0, 0]])
    text = page(lost).text
    assert "Scores of synapse4 undefined" in text
    assert "Macro-foreground mean1 class" in text
    assert "Ignored voxels0 (0.0 %)–" in text


def test_same_result_same_page() -> None:
    assert render_report(FULL, **full_options()) == render_report(deepcopy(FULL), **full_options())


def test_summary_comparison_and_map_of_real_counts_can_be_shown() -> None:
    counts = np.random.default_rng(0).integers(0, 90, (3, 8, 11))
    volumes = [VolumeCounts(f"{i}.zarr", f"fly{i}", c, "z", first=4) for i, c in enumerate(counts)]
    names = ("background", "membrane", "synapse")
    result = summarise(volumes, names)
    result["map"] = shard_map("yx", [((y, 0), plane) for y, plane in enumerate(counts[0, :5])])
    matrices = counts[..., :9].sum(axis=1).reshape(3, 3, 3)
    result["comparison"] = compare_groups(
        matrices, matrices[::-1].copy(), names, names=("a", "b"), unit="specimen"
    )
    for text in (page(result).page, render_markdown(result)):
        assert re.search(r"[012]\.zarr, z ([4-9]|1[01])\b", text)
        assert "y 4, x 0" in text
        assert "3 specimens" in text
        assert "membrane: no difference was shown" in text
        assert not re.search(r"\b(None|nan)\b", text)
