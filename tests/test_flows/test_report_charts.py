"""The drawings of the report: what they hold, and that anyone can tell their parts apart."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.report.binning import bin_width, coarsen, quantiles, thin
from flows.report.charts import DASHES, MARKS, Frame, mark, px, score_span, spread, svg, ticks
from flows.report.heat_map import color_scale, heat_map, is_dark, linear_rgb, shade
from flows.report.lines import Point, Series, line_chart
from flows.report.reliability import reliability_diagram
from flows.report.strips import Lane, strip_plot
from tests.test_flows.report_outline import NASTY, drawings

finite = st.floats(-1e6, 1e6)
shares = st.floats(0, 1)


# --- parts


def test_drawing_says_what_it_shows_whatever_the_words() -> None:
    (root,) = drawings(svg(10, 20, f"{NASTY}\x00\ud800", []))
    assert root.attrib["role"] == "img"
    assert root.attrib["viewBox"] == "0 0 10 20"
    assert root.findtext("title") == f"{NASTY}  "
    assert root.attrib["aria-label"].startswith("glia|<script>")


def test_frame_maps_values_to_pixels_upwards() -> None:
    frame = Frame(10, 110, 20, 220, (0, 4), (0.5, 1))
    assert (frame.across(0), frame.across(1), frame.across(4)) == (10, 35, 110)
    assert (frame.up(0.5), frame.up(0.75), frame.up(1)) == (220, 120, 20)


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (3.04, "3"), (3.25, "3.2"), (-0.01, "0"), (-2.5, "-2.5")]
)
def test_pixels_are_short(value: float, text: str) -> None:
    assert px(value) == text


def test_ticks_are_round_and_whole_where_they_count() -> None:
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0.5, 0.95, 9) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert ticks(3, 5, 9, least=1) == [3, 4, 5]
    assert ticks(0, 9999, 5, least=1) == [0, 2000, 4000, 6000, 8000]


@given(finite, st.floats(1e-3, 1e6), st.integers(1, 12))
def test_ticks_lie_in_the_range_and_are_not_many(low: float, extent: float, count: int) -> None:
    found = ticks(low, low + extent, count)
    assert len(found) <= count + 2
    assert all(low - 1e-3 * extent <= tick <= low + 1.001 * extent for tick in found)


@given(st.lists(shares, max_size=8))
def test_score_span_holds_the_scores_in_whole_tenths(values: list[float]) -> None:
    low, high = score_span(values)
    assert 0 <= low < high <= 1
    assert high - low > 0.29
    assert all(low <= value <= high for value in values)
    assert all(math.isclose(10 * end, round(10 * end)) for end in (low, high))


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
def test_names_are_spread_apart_in_their_order(places: list[float]) -> None:
    moved = spread(places, 16, 0, 200)
    assert all(-1e-9 <= place <= 200 + 1e-9 for place in moved)
    ordered = [moved[i] for i in sorted(range(len(places)), key=lambda i: places[i])]
    assert all(second - first > 16 - 1e-9 for first, second in pairwise(ordered))


def test_names_that_are_apart_stay_where_they_are() -> None:
    assert spread([100, 20, 60], 16, 0, 200) == [100, 20, 60]


def test_classes_are_told_apart_by_dash_and_mark() -> None:
    assert len(set(DASHES)) == len(DASHES) == MARKS
    assert len({mark(number, 0, 0) for number in range(MARKS)}) == MARKS


# --- thinning


planes = st.dictionaries(st.integers(-5, 400), st.none() | shares, min_size=1, max_size=60)


@given(planes, st.integers(1, 40))
def test_thinning_keeps_the_extremes_and_the_gaps(
    values: dict[int, float | None], limit: int
) -> None:
    width = bin_width(list(values), limit)
    points = thin(values, width)
    known = [value for value in values.values() if value is not None]
    assert len(points) <= limit
    assert len(points) == -(-(max(values) - min(values) + 1) // width)
    lows = [p.y if p.low is None else p.low for p in points if p.y is not None]
    highs = [p.y if p.high is None else p.high for p in points if p.y is not None]
    assert min(lows, default=None) == min(known, default=None)
    assert max(highs, default=None) == max(known, default=None)
    assert all(p.low <= p.y + 1e-12 <= p.high + 2e-12 for p in points if p.low is not None)  # type: ignore[operator]


def test_points_that_are_not_there_are_gaps() -> None:
    assert thin({3: 0.5, 5: None, 7: 0.25}, 1) == (
        Point(3, 0.5),
        Point(4, None),
        Point(5, None),
        Point(6, None),
        Point(7, 0.25),
    )
    assert thin({0: 0.2, 1: 0.4, 2: None, 4: 1.0}, 2) == (
        Point(0.5, pytest.approx(0.3), 0.2, 0.4),  # type: ignore[arg-type]
        Point(2.5, None),
        Point(4, 1.0, 1.0, 1.0),
    )
    assert thin({}, 1) == ()
    assert bin_width([], 10) == 1
    assert bin_width(list(range(10_000)), 120) == 84


def test_coarse_maps_show_the_lowest_of_the_places() -> None:
    grid = [[0.9, 0.2, None], [0.8, None, None], [0.7, 0.6, 1.0]]
    assert coarsen(grid, 3) == (grid, 1)
    assert coarsen(grid, 2) == ([[0.2, None], [0.6, 1.0]], 2)


def test_quantiles_keep_both_ends() -> None:
    assert quantiles([3, 1, 2], 5) == [1, 2, 3]
    few = quantiles([i / 1000 for i in range(1001)], 11)
    assert few == pytest.approx([i / 10 for i in range(11)])


# --- drawings


def series(name: str, number: int, *scores: float | None) -> Series:
    return Series(name, tuple(Point(i, y) for i, y in enumerate(scores)), number, (240, 228, 66))


def test_lines_have_gaps_and_names_at_their_ends() -> None:
    lines = [
        series("1 membrane", 0, 0.9, 0.8, None, 0.7, None, 0.6, 0.5),
        series("2 " + "m" * 40, 1, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4),
        series("3 never", 2, None, None, None, None, None, None, None),
    ]
    (root,) = drawings(line_chart(lines, "says", ("z", "Dice"), 900, whole=True))
    paths = [e for e in root.iter("path") if e.get("class") == "line"]
    assert [path.attrib["d"].count("M") for path in paths] == [2, 1]  # the point alone is a mark
    assert [path.attrib["stroke-dasharray"] for path in paths] == ["none", "7 3"]
    names = [e for e in root.iter("text") if e.text and e.text[:2] in ("1 ", "2 ", "3 ")]
    assert [e.text for e in names] == ["1 membrane", "2 " + "m" * 21 + "…"]
    assert all(e.attrib["fill"] == "currentColor" for e in root.iter("text"))
    assert all(float(e.attrib["x"]) + 7.4 * len(e.text or "") <= 900 for e in names)


def test_lines_of_nothing_and_of_one_point_can_be_drawn() -> None:
    for lines in ([], [series("1 a", 0, 0.5)], [series("1 a", 0, None)]):
        drawings(line_chart(lines, "says", ("z", "Dice"), 330, whole=True))


def test_points_of_many_have_their_range() -> None:
    line = Series("1 a", (Point(0, 0.5, 0.25, 0.75), Point(9, 0.5, 0.5, 0.5)), 0)
    (root,) = drawings(line_chart([line], "says", ("z", "Dice"), 330, whole=True))
    (band,) = [e for e in root.iter("path") if e.get("class") == "band"]
    assert band.attrib["d"].count("V") == 2


def test_map_writes_values_where_there_is_room_and_strikes_out_the_undefined() -> None:
    (root,) = drawings(heat_map([[0.25, None], [1.0, 0.5]], (0, 1), "says", 1))
    assert [e.text for e in root.iter("text")] == ["0", "1", "0", "1", "0.25", "–", "1.00", "0.50"]
    assert len(list(root.iter("rect"))) == 3
    assert [e.get("class") for e in root.iter("path")] == ["void"]
    (large,) = drawings(heat_map([[0.5] * 32] * 20, (0, 1), "says", 3))
    assert len(list(large.iter("rect"))) == 640
    assert {e.text for e in large.iter("text")} <= {str(3 * i) for i in range(32)}
    drawings(color_scale((0.2, 0.9)))


def test_colours_of_a_map_darken_evenly_and_can_be_read_on() -> None:
    steps = [i / 100 for i in range(101)]
    luminance = []
    for step in steps:
        parts = linear_rgb(step)
        assert all(0 <= part <= 1 for part in parts)
        luminance.append(sum(f * p for f, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True)))
        ink = 1.0 if is_dark(step) else 0.0
        light, dark = sorted((ink + 0.05, luminance[-1] + 0.05), reverse=True)
        assert light / dark >= 4.5  # WCAG 2.2, 1.4.3
    assert all(second < first for first, second in pairwise(luminance))
    cubes = [light ** (1 / 3) for light in luminance]  # near to how light it looks
    falls = [first - second for first, second in pairwise(cubes)]
    assert max(falls) < 1.5 * min(falls)
    assert shade(-1) == shade(0)
    assert re.fullmatch(r"#[0-9a-f]{6}", shade(2))


def test_strips_show_marks_median_and_interval() -> None:
    lanes = [
        Lane("1 a", (0.5, 0.75, 0.9), 0, (0.6, 0.8)),
        Lane("2 b", tuple(i / 1000 for i in range(1000)), 1),
        Lane("3 never", (), 2),
    ]
    (root,) = drawings(strip_plot(lanes, "says", "Dice", 900))
    kinds = [e.get("class") for e in root.iter("path")]
    assert kinds.count("median") == 2
    assert kinds.count("bracket") == 1
    assert kinds.count(None) == 3 + 240
    texts = [e.text for e in root.iter("text")]
    assert "1 a: median 0.750" in texts
    assert "3 never: defined in no image" in texts


def test_reliability_leaves_out_empty_bins_and_grows_marks_with_voxels() -> None:
    bins = [
        {"mean_probability": 0.25, "observed": 0.1, "count": 400},
        {"mean_probability": None, "observed": None, "count": 0},
        {"mean_probability": 0.75, "observed": 0.7, "count": 100},
    ]
    (root,) = drawings(reliability_diagram(bins, "says", number=1))
    assert sum(e.get("class") == "line" for e in root.iter("path")) == 1
    squares = [e.attrib["d"] for e in root.iter("path") if not e.get("class")]
    widths = [float(re.search(r"h([\d.]+)v", d)[1]) for d in squares]  # type: ignore[index]
    assert widths == [13.0, 6.5]  # a quarter of the voxels: a quarter of the area
    drawings(reliability_diagram([], "says", number=0))
