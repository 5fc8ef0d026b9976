"""The whole report in a browser: nothing is asked for, nothing overflows, dark is dark."""

from __future__ import annotations

import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.report.html import render_report
from tests.test_flows.results import full_options, full_result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 90
NARROW = [360, 660, 940]  # pixels: a telephone, a small tablet, the narrowest page with real tables
LISTEN = """
onmessage = event => {
  for (let i = 0; i < frames.length; i++)
    if (frames[i] === event.source) document.body.setAttribute("data-frame" + i, event.data);
}
"""

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


def browse(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser with a profile of its own."""
    profile = path.parent / "profile"
    always = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    always += ["--disable-dev-shm-usage", "--virtual-time-budget=2000"]
    command = [str(CHROMIUM), *always, f"--user-data-dir={profile}", *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)


def complaints(path: Path) -> list[str]:
    """What the page writes to the console, refused requests among it."""
    done = browse(path, "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert "</html>" in done.stdout
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(path: Path, height: int, *flags: str) -> np.ndarray:
    target = path.parent / "shot.png"
    target.unlink(missing_ok=True)
    browse(path, f"--window-size=1200,{height}", f"--screenshot={target}", *flags)
    with Image.open(target) as image:
        return np.asarray(image.convert("RGB"))


def test_page_complains_of_nothing_and_asks_for_nothing(report: Path) -> None:
    assert complaints(report) == []
    page = report.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", page)
    bad = report.with_name("bad.html")
    bad.write_text(page.replace("<main>", '<main><img src="https://example.org/a.png">'))
    assert any("Content Security Policy" in line for line in complaints(bad))


def test_page_is_drawn_in_light_and_in_dark(report: Path) -> None:
    light = screenshot(report, 2500)
    dark = screenshot(report, 2500, "--blink-settings=preferredColorScheme=0")
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


def inner_widths(page: str, folder: Path) -> list[int]:
    """Width of what there is to scroll, in frames of the widths in `NARROW`, all tables open.

    A script can only be run in a copy of the page whose policy allows it.
    """
    told = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    copy = copy.replace("<details>", "<details open>").replace("</body>", f"{told}</body>")
    (folder / "copy.html").write_text(copy, encoding="utf-8")
    frames = "".join(
        f'<iframe src="copy.html" style="width:{width}px;height:800px;border:0"></iframe>'
        for width in NARROW
    )
    outer = folder / "outer.html"
    outer.write_text(f"<body><script>{LISTEN}</script>{frames}</body>")
    found = dict(re.findall(r'data-frame(\d)="(\d+)"', browse(outer, "--dump-dom").stdout))
    return [int(found[str(place)]) for place in range(len(NARROW))]


def test_page_can_be_printed(report: Path) -> None:
    target = report.with_name("report.pdf")
    browse(report, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    pdf = target.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 40
