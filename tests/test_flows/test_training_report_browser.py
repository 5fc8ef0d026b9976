"""The report of a training in a browser: nothing is asked for, nothing overflows, dark is dark."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.training_report import write_training_report
from tests.test_flows.browser import (
    CHROMIUM,
    DARK,
    NARROW,
    complaints,
    inner_widths,
    screenshot,
)
from tests.test_flows.training_results import (
    fold_trainings,
    one_training,
    without_test,
    write_arrays,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="the report was NOT looked at: no chromium or chromium-browser on the PATH",
    ),
]


def made(folder: Path, result: Any) -> Path:
    write_arrays(folder / ("fold-0/training" if "folds" in result else ""), ignored=True)
    return Path(write_training_report(str(folder), result, name="flies"))


def test_page_complains_of_nothing_and_asks_for_nothing(tmp_path: Path) -> None:
    path = made(tmp_path, one_training())
    assert complaints(path) == []
    page = path.read_text(encoding="utf-8")
    bad = path.with_name("bad.html")
    bad.write_text(page.replace("<main>", '<main><img src="https://example.org/a.png">'))
    assert any("Content Security Policy" in line for line in complaints(bad))


@pytest.mark.parametrize("make", [one_training, fold_trainings])
def test_page_is_drawn_in_light_and_in_dark(make: Any, tmp_path: Path) -> None:
    path = made(tmp_path, make())
    light, dark = screenshot(path, 6000), screenshot(path, 6000, DARK)
    for shot, ground in ((light, (251, 251, 250)), (dark, (20, 23, 27))):
        assert tuple(shot[2, 2]) == ground
        different = (shot != np.array(ground)).any(axis=-1)
        assert 0.05 < different.mean() < 0.9
        assert all(part.mean() > 0.02 for part in np.array_split(different, 6))
    assert light.mean() > 180
    assert dark.mean() < 80


def crowded(result: dict[str, Any]) -> dict[str, Any]:
    """The same training with names that cannot be broken anywhere."""
    long = "averylongnamewithoutanyplacetobreakit" * 3
    result = deepcopy(result)
    for entry in result["classes"]:
        entry["name"] += long
    for scores in (result["validation"], result["test"]):
        for entry in scores["classes"] if scores else ():
            entry["name"] += long
    result["split"]["classes"] = [name + long for name in result["split"]["classes"]]
    for item in result["split"]["items"]:
        item["image"] += long
        item["group"] += long
        item["label"] += long
    result["monitor"]["name"] = long
    result["network"]["frozen"] = [long, long]
    result["settings"][long] = long
    return result


@pytest.mark.parametrize(
    "result",
    [one_training(), without_test(), fold_trainings(), crowded(one_training())],
    ids=["test", "no test", "folds", "crowded"],
)
def test_page_fits_narrow_screens_without_scrolling_sideways(result: Any, tmp_path: Path) -> None:
    page = made(tmp_path, result).read_text(encoding="utf-8")
    assert inner_widths(page, tmp_path) == NARROW
