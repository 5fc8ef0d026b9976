"""The whole report in a browser: nothing is asked for, nothing overflows, dark is dark."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.report.html import render_report
from tests.test_flows.browser import (
    CHROMIUM,
    DARK,
    NARROW,
    browse,
    complaints,
    inner_widths,
    screenshot,
)
from tests.test_flows.results import full_options, full_result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="the report was NOT looked at: no chromium or chromium-browser on the PATH",
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(full_result(), **full_options()), encoding="utf-8")
    return path


def test_page_complains_of_nothing_and_asks_for_nothing(report: Path) -> None:
    assert complaints(report) == []
    page = report.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", page)
    bad = report.with_name("bad.html")
    bad.write_text(page.replace("<main>", '<main><img src="https://example.org/a.png">'))
    assert any("Content Security Policy" in line for line in complaints(bad))


def test_page_is_drawn_in_light_and_in_dark(report: Path) -> None:
    light = screenshot(report, 2500)
    dark = screenshot(report, 2500, DARK)
    for shot, ground in ((light, (251, 251, 250)), (dark, (20, 23, 27))):
        assert shot.shape == (2500, 1200, 3)
        assert tuple(shot[2, 2]) == ground
        assert len(np.unique(shot @ np.array([65536, 256, 1]))) > 200
        different = (shot != np.array(ground)).any(axis=-1)
        assert 0.05 < different.mean() < 0.9
        thirds = np.array_split(different, 3)
        assert all(part.mean() > 0.02 for part in thirds)
    assert light.mean() > 200
    assert dark.mean() < 60


def crowded() -> dict[str, Any]:
    """A result with names that cannot be broken anywhere."""
    result = deepcopy(full_result())
    long = "averylongnamewithoutanyplacetobreakit" * 3
    for part in ("classes", "components"):
        for entry in result[part]:
            entry["name"] += long
    for part in ("probability", "instances", "surface"):
        for entry in result[part]["classes"]:
            entry["name"] += long
    for row in result["images"]:
        row["image"] += long
        row["group"] += long
    result["findings"][0] |= {"code": long, "statement": long}
    return result


@pytest.mark.parametrize("make", [full_result, crowded])
def test_page_fits_narrow_screens_without_scrolling_sideways(make: Any, tmp_path: Path) -> None:
    page = render_report(make(), **full_options())
    assert inner_widths(page, tmp_path) == NARROW
    wide = page.replace("<main>", '<main><div style="width:2000px">wide</div>')
    assert min(inner_widths(wide, tmp_path)) >= 2000


def test_page_can_be_printed(report: Path) -> None:
    target = report.with_name("report.pdf")
    browse(report, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    pdf = target.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 40
