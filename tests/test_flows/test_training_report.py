"""The report of a training: what it says first, its curves, its split, its pictures, its folds."""

from __future__ import annotations

import io
import math
import re
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flows.report.curves import CurvePlot, curve_legend, curve_plot, span_from_zero
from flows.report.lines import Point, Series
from flows.report.numbers import named
from flows.report.sample_sheet import Version, prediction_picture, sample_sheet
from flows.report.training import render_training
from flows.training_pictures import prediction_pictures, sample_sheets
from flows.training_report import write_training_report
from segmentation.metrics.summary import VolumeCounts, summarise
from tests.test_flows.report_outline import NASTY, Outline, drawings
from tests.test_flows.results import COLORS, NAMES
from tests.test_flows.training_results import (
    EPOCHS,
    LEAK,
    epoch,
    fold_trainings,
    one_training,
    without_test,
    write_arrays,
)

ONE, PLAIN, FOLDS = one_training(), without_test(), fold_trainings()
PICTURES = ("Predictions over the epochs", "Augmented samples")


def page(result: Any, **options: Any) -> Outline:
    return Outline(render_training(result, **{"title": "flies", **options}))


def changed(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return deepcopy(result) | more


def written(folder: Path, result: Any) -> Outline:
    path = write_training_report(str(folder), result, name="flies")
    return Outline(Path(path).read_text(encoding="utf-8"))


def row_of(outline: Outline, first: str) -> list[str]:
    """Return the first row of a table that begins with a name, as words without marks."""
    rows = re.findall(r"<tr>(.*?)</tr>", outline.page, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    found = [[" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in row] for row in cells]
    return next(row for row in found if row and row[0] == first)


# --- what is said first


def test_verdict_is_of_the_test_part_and_comes_before_everything() -> None:
    outline = page(ONE)
    score = f"{ONE['test']['macro_foreground_dice']:.3f}"
    assert f"Macro-foreground Dice, test\n{score}" in outline.text.replace("</dt>", "")
    order = [score, "Findings", "What was tuned on what", "Scores per class (test)"]
    places = [outline.text.index(part) for part in order]
    assert places == sorted(places)
    assert f"Validation (epoch chosen on it){ONE['validation']['macro_foreground_dice']:.3f}" in (
        outline.text.replace("\n", "")
    )
    assert "There is no test part" not in outline.text
    assert "Scores per class (validation)" in outline.headings
    assert "no choice was made on this part" in outline.text


def test_interval_of_the_test_part_stands_under_its_score() -> None:
    result = changed(ONE, test=FOLDS["out_of_fold"])
    entry = FOLDS["out_of_fold"]["intervals"]["scores"][0]
    assert f"95 % interval {entry['low']:.3f}–{entry['high']:.3f}" in page(result).text
    assert "no interval: an interval cannot be estimated from 2 specimens" in page(ONE).text


def test_without_a_test_part_the_page_says_what_the_score_was_chosen_on() -> None:
    outline = page(PLAIN)
    assert "Macro-foreground Dice, validation" in outline.text
    assert "▲ There is no test part. The epoch was chosen on the part that is scored" in (
        outline.text
    )
    assert row_of(outline, "Validation")[1] == "the choice of the epoch, and the final score"
    assert row_of(outline, "Test")[1] == "there is none"
    assert row_of(outline, "Final score")[1] == "validation"
    assert not any("test" in heading for heading in outline.headings)


def test_errors_among_the_findings_are_shouted_and_come_first() -> None:
    outline = page(changed(ONE, findings=[*ONE["findings"], LEAK]))
    assert "✖ 1 of 3 findings below is an error: read it first." in outline.text
    assert outline.text.index("✖ Error. The same image") < outline.text.index("▲ Warning.")
    both = page(changed(ONE, findings=[LEAK, LEAK])).text
    assert "✖ 2 of 2 findings below are errors: read them first." in both
    assert "✖" not in page(ONE).text


def test_flattering_scores_are_warned_of_unless_a_finding_does() -> None:
    assert "The pooled score flatters" in page(ONE).text
    said = LEAK | {"code": "EVAL-POOLED", "severity": "warning"}
    assert "The pooled score flatters" not in page(changed(ONE, findings=[said])).text
    calm = deepcopy(ONE["test"]) | {"pooled_dice": ONE["test"]["macro_foreground_dice"]}
    assert "No finding." in page(changed(ONE, test=calm, findings=[])).text


def test_choices_name_the_part_they_were_made_on() -> None:
    outline = page(ONE)
    best = ONE["best_epoch"]
    assert ONE["tuned_on"] in outline.text
    assert row_of(outline, "Weights")[1:] == [
        "training",
        "1,500 of 1,500 steps; all steps were taken",
    ]
    assert row_of(outline, "Epoch kept")[1:] == [
        "validation",
        f"{best} of 10: the highest macro-foreground Dice",
    ]
    assert row_of(outline, "Batch normalisation")[2] == (
        "counted anew, macro-foreground Dice 0.744 → 0.752: in a bundle of its own, recalibrated; "
        "the scores here are without"
    )
    monitor = {"name": "val_dice_synapse", "direction": "max", "patience": 6}
    network = ONE["network"] | {"pretrained": "models/old", "frozen": ["down0a", "down0b"]}
    text = page(changed(ONE, monitor=monitor, network=network)).text
    assert "the highest Dice of synapse" in text
    assert "after 6 epochs without a better one" in text
    assert "First weightsanother trainingmodels/old" in text
    assert "Layers kept as they wereanother trainingdown0a, down0b" in text
    poor = {"helped": False, "before": None, "after": 0.5, "bundle": None}
    text = page(changed(ONE, recalibration=poor)).text
    assert "macro-foreground Dice undefined → 0.500: left as they were" in text
    taken = poor | {"helped": True}
    assert "→ 0.500: taken" in page(changed(ONE, recalibration=taken)).text
    assert "Batch normalisation" not in page(PLAIN).text
    folds = deepcopy(FOLDS["folds"])
    folds[2]["recalibration"] = taken
    assert row_of(page(changed(FOLDS, folds=folds)), "Batch normalisation, fold 2")


# --- curves


@pytest.mark.parametrize(("steps", "lag"), [(2, "1.5 steps, 0.75"), (10, "5.5 steps, 0.55")])
def test_lag_of_the_running_average_is_told_in_numbers(steps: int, lag: str) -> None:
    # ½ + 1 / (2n) of an epoch: 0.75 for two steps, 0.55 for ten
    text = page(changed(ONE, steps_per_epoch=steps)).text
    assert f"with n = {steps} steps an epoch it lags by (n + 1) / 2 = {lag} of an epoch" in text


def test_four_curves_are_drawn_as_a_whole_and_for_every_class() -> None:
    outline = page(ONE)
    by_label = {d.attrib["aria-label"]: d for d in outline.drawings}
    starts = ("Macro-foreground Dice over", "Dice of membrane over", "Cross-entropy (nats) over")
    for start in starts:
        drawing = next(d for label, d in by_label.items() if label.startswith(start))
        assert sum(e.get("class") == "line" for e in drawing.iter("path")) == 4
        assert f"kept: {ONE['best_epoch']}" in [e.text for e in drawing.iter("text")]
    per_class = [label for label in by_label if re.match("Dice of .* over the epochs", label)]
    assert len(per_class) == 4
    label = next(label for label in by_label if label.startswith("Learning rate over"))
    assert label == "Learning rate over the epochs: learning rate from 0.002927 to 0"
    gap = [
        ONE["epochs"][ONE["best_epoch"] - 1]["curves"][key]["macro_foreground_dice"]
        for key in ("train_eval", "val")
    ]
    assert f"which were kept, training minus validation is {gap[0] - gap[1]:+.3f}" in outline.text


def test_curves_that_were_not_logged_are_neither_drawn_nor_defined() -> None:
    outline = page(PLAIN)
    drawing = next(
        d for d in outline.drawings if d.attrib["aria-label"].startswith("Macro-foreground Dice o")
    )
    assert sum(e.get("class") == "line" for e in drawing.iter("path")) == 3
    assert "batch stats" not in outline.text
    assert "Validation, batch stats" in page(ONE).text


def test_epochs_stand_in_a_table_and_of_many_every_nth() -> None:
    outline = page(ONE)
    first = ONE["epochs"][0]
    val = first["curves"]["val"]["macro_foreground_dice"]
    assert row_of(outline, "1")[1:6] == ["150", "224", "0.002927", "1.287", f"{val:.3f}"]
    many = [epoch(number, 0) for number in range(1, 501)]
    outline = page(changed(ONE, epochs=many, best_epoch=488))
    assert "Epochs in numbers, every 13 of 500" in outline.text
    assert row_of(outline, "488 kept")
    assert row_of(outline, "500")
    assert "Each point stands for 5 neighbouring epochs" in outline.text
    assert len(outline.page) < 2 * len(page(ONE).page)


def test_a_training_that_never_logged_has_no_curves() -> None:
    outline = page(changed(ONE, epochs=[], best_epoch=None))
    assert "Learning curves" not in outline.headings
    assert "Trained:" not in outline.text


def series(name: str, number: int, *values: float | None) -> Series:
    return Series(name, tuple(Point(i + 1, y) for i, y in enumerate(values)), number)


@pytest.mark.parametrize("width", [330, 820])
@pytest.mark.parametrize("best", [None, 1, 3, 9])
def test_everything_in_a_plot_of_curves_is_inside_it(width: float, best: int | None) -> None:
    lines = (series("validation, batch stats", 0, 0.1, None, 0.3), series("none", 1, None))
    plot = CurvePlot(lines, "Macro-foreground Dice", (0, 0.0005), best)
    for drawn in (False, True):
        (root,) = drawings(curve_plot(plot, "says", width, named=drawn))
        for text in root.iter("text"):
            length, x = 6.8 * len(text.text or ""), float(text.attrib["x"])
            back = {"start": 0.0, "middle": length / 2, "end": length}[text.attrib["text-anchor"]]
            assert x - back >= -1, text.text
            assert x - back + length <= width + 1, text.text
        kept = [e for e in root.iter("text") if (e.text or "").startswith("kept")]
        assert len(kept) == (best in (1, 3))
        assert ("none" in [e.text for e in root.iter("text")]) is False


def test_a_legend_breaks_its_line_where_the_page_ends() -> None:
    lines = [series("n" * 20, number, 1.0) for number in range(4)]
    heights = [float(drawings(curve_legend(lines, w))[0].attrib["height"]) for w in (330, 820)]
    assert heights == [88, 44]


@given(st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=5))
def test_losses_are_drawn_from_zero_to_a_round_number(values: list[float]) -> None:
    low, high = span_from_zero(values)
    assert low == 0
    assert max(values) <= high <= 1.6 * max(values)


@pytest.mark.parametrize("values", [[], [0.0], [-1.0], [math.inf]])
def test_losses_of_nothing_have_a_span(values: list[float]) -> None:
    assert span_from_zero(values) == (0, 1)


# --- split and crops


def small_split(test: list[int], *, rule: str = "grouped, stratified") -> dict[str, Any]:
    counts, groups = [[60, 40], [100, 0], [75, 25], [90, 10]], ["a", "a", "b", "c"]
    region = {"start": [0, 4], "stop": [10, 14]}
    item = {"label": "truth", "region": region, "ignored": 3}
    items = [
        {**item, "image": f"i{n}.zarr", "group": group, "counts": count}
        for n, (group, count) in enumerate(zip(groups, counts, strict=True))
    ]
    train = [n for n in range(4) if n not in test and n != 2]
    return {
        "rule": rule,
        "seed": 7,
        "classes": ["background", "cell"],
        "items": items,
        "linked": [],
        "folds": [{"train": train, "validation": [2], "test": test}],
        "digest": "abcdef0123456789",
    }


def test_split_is_told_by_part_and_class() -> None:
    outline = page(changed(ONE, split=small_split([3])))
    assert row_of(outline, "Training")[2:] == ["1: a", "2", "200", "6"]
    assert row_of(outline, "Test")[2:] == ["1: c", "1", "100", "3"]
    # training: 40 of 200 voxels, in group a alone
    assert row_of(outline, "cell")[1:] == [
        "20.0 % in 1 of 1 group",
        "25.0 % in 1 of 1 group",
        "10.0 % in 1 of 1 group",
    ]
    assert row_of(outline, "i3.zarr 0:10, 4:14")[1:] == ["truth", "c", "Test", "100"]
    assert "dealt out with seed 7" in outline.text
    assert "its digest begins with abcdef012345." in outline.text
    assert "▲ in no group" not in outline.text
    assert "in more than one part" not in outline.text


def test_groups_in_two_parts_and_absent_classes_are_marked() -> None:
    outline = page(changed(ONE, split=small_split([1], rule="fixed by the catalog")))
    assert "The catalog says which part each item belongs to." in outline.text
    assert "▲ 1 group in more than one part: a." in outline.text
    assert row_of(outline, "cell")[3] == "0.0 % ▲ in no group"


def test_linked_groups_are_named() -> None:
    assert "the same or nearly so: fly1 and fly2." in page(ONE).text
    assert "nearly so" not in page(changed(ONE, split=small_split([3]))).text


def test_crops_show_rare_classes_more_often() -> None:
    sampling = {"class_share": 0.25, "voxel_share": [0.9, 0.02, 0.08, 0.0, None]}
    sampling["crop_share"] = [0.8, 0.1, 0.1, 0.0, None]
    outline = page(changed(ONE, sampling=sampling, split=None))
    assert "25.0 % of the crops are laid around a voxel" in outline.text
    rows = outline.page.split("What the crops show</h2>")[1].split("</table>")[0]
    assert "× 5<" in rows  # 0.1 / 0.02
    assert "× 0.89" in rows  # 0.8 / 0.9
    assert "× 1.2<" in rows  # 0.1 / 0.08, two digits
    assert rows.count("<span>–</span>") == 4  # absent, and unknown three times
    assert "How the data were split" not in outline.headings


# --- pictures


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float64)


def test_samples_are_drawn_alike_so_that_brightness_shows() -> None:
    image = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    label = np.zeros((64, 64), np.uint8)
    versions = [Version("as it is", image, label), Version("brightness", image / 2, label)]
    sheet = sample_sheet("sample 1", versions, NAMES, COLORS)
    first, second = (pixels(png).mean() for _, png in sheet.picture.panels)
    assert first == pytest.approx(127, abs=4)
    assert second == pytest.approx(first / 2, abs=4)


def test_voxels_of_every_class_are_counted_before_and_after() -> None:
    label = np.array([[0, 0, 1, 1], [0, 2, 2, 2], [0, 0, 0, 255]], np.uint8)
    after = np.array([[0, 0, 0, 1], [0, 2, 2, 2], [2, 0, 0, 0]], np.uint8)
    image = np.zeros((3, 4), np.float32)
    versions = [Version("as it is", image, label), Version("warp", image, after)]
    table = sample_sheet("s", versions, ("background", "a", "b", "c"), {}).counts
    cells = [[(cell.text, cell.note) for cell in row] for row in table.rows]
    assert cells == [
        [("background", ""), ("6", ""), ("7", "+16.7 %")],
        [("a", ""), ("2", ""), ("1", "−50.0 %")],
        [("b", ""), ("3", ""), ("4", "+33.3 %")],
        [("c", ""), ("0", ""), ("0", "the same")],
        [("ignored", ""), ("1", ""), ("0", "−100.0 %")],
    ]
    assert table.heads == ("Class", "as it is", "warp")
    gained = sample_sheet("s", [versions[1], versions[0]], ("background", "a", "b"), {}).counts
    assert [cell.note for cell in gained.rows[-1]] == ["", "", ""]  # from none


def test_predictions_have_the_dice_of_their_slice_and_errors_of_the_kept_epoch() -> None:
    truth = np.array([[1, 1, 0, 0, 255]], np.uint8)
    early, late = np.array([[0, 0, 0, 0, 1]], np.uint8), np.array([[1, 1, 1, 0, 1]], np.uint8)
    picture = prediction_picture(
        Version("z 3", np.zeros((1, 5)), truth),
        [("epoch 1", early), ("epoch 2", late)],
        num_classes=2,
        colors=COLORS,
        judged=0,
    )
    # epoch 2: 2 · 2 / (2 + 3), the ignored voxel left out
    assert [name for name, _ in picture.panels] == [
        "image",
        "truth",
        "epoch 1: Dice 0.000",
        "epoch 2: Dice 0.800",
        "errors, epoch 1",
    ]
    errors = pixels(picture.panels[-1][1])
    red = (errors == (213, 94, 0)).all(axis=-1)
    assert red.tolist() == [[True, True, False, False, False]]
    none = prediction_picture(Version("z", np.zeros((1, 5)), truth), [], num_classes=2, colors={})
    assert [name for name, _ in none.panels] == ["image", "truth"]


def test_large_planes_are_thinned_out() -> None:
    plane = np.zeros((300, 1100), np.uint8)
    sheet = sample_sheet("s", [Version("as it is", plane / 1.0, plane)], NAMES, COLORS)
    assert pixels(sheet.picture.panels[0][1]).shape == (100, 367, 3)
    assert sheet.counts.rows[0][1].text == "330,000"


def test_ignored_voxels_are_grey_and_said_to_be(tmp_path: Path) -> None:
    write_arrays(tmp_path, ignored=True)
    assert "</span>ignored</li>" in written(tmp_path, PLAIN).page
    write_arrays(tmp_path)
    assert "</span>ignored</li>" not in written(tmp_path, PLAIN).page


def test_epochs_shown_are_the_first_the_last_and_the_kept(tmp_path: Path) -> None:
    write_arrays(tmp_path, size=16)
    for best in range(1, EPOCHS + 1):
        picture = prediction_pictures(tmp_path, best, NAMES, COLORS)[0]
        names = [name for name, _ in picture.panels]
        shown = [int(re.findall(r"\d+", name)[0]) for name in names if name.startswith("epoch")]
        assert len(shown) == 5
        assert shown == sorted(set(shown))
        assert {1, best, EPOCHS} <= set(shown)
        assert names[-1] == f"errors, epoch {best} (kept)"
    last = prediction_pictures(tmp_path, None, NAMES, COLORS)[0].panels[-1][0]
    assert last == f"errors, epoch {EPOCHS}"


@pytest.mark.parametrize("missing", ["samples.npz", "slices.npz"])
def test_what_is_not_there_is_not_shown(tmp_path: Path, missing: str) -> None:
    write_arrays(tmp_path, size=16)
    assert set(PICTURES) <= set(written(tmp_path, ONE).headings)
    (tmp_path / missing).unlink()
    outline = written(tmp_path, ONE)
    there = [heading for heading in PICTURES if heading in outline.headings]
    assert there == [PICTURES[missing == "slices.npz"]]
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    assert written(tmp_path, ONE).tags.count("img") == 0


def test_slices_without_predictions_are_shown_alone(tmp_path: Path) -> None:
    write_arrays(tmp_path, size=16)
    for path in tmp_path.glob("predictions-*.npz"):
        path.unlink()
    outline = written(tmp_path, ONE)
    assert "epoch 1: Dice" not in outline.text
    assert "missed: foreground" not in outline.text
    assert PICTURES[0] in outline.headings


def test_arrays_that_do_not_fit_are_refused_by_file(tmp_path: Path) -> None:
    write_arrays(tmp_path, size=16)
    np.savez(tmp_path / "predictions-0004.npz", masks=np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(ValueError, match=r"predictions-0004.npz .* \(2, 5, 5\) and \(2, 32, 32\)"):
        prediction_pictures(tmp_path, 4, NAMES, COLORS)
    np.savez(tmp_path / "samples.npz", image=np.zeros((1, 4, 4)), label=np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match=r"samples.npz holds no augmented_image, .*; expected"):
        sample_sheets(tmp_path, NAMES, COLORS)


# --- folds


def test_folds_are_told_one_by_one_with_mean_spread_and_interval() -> None:
    outline = page(FOLDS)
    scores = FOLDS["spread"]["per_fold"]
    mean = sum(scores) / 5
    sd = math.sqrt(sum((score - mean) ** 2 for score in scores) / 4)
    assert f"{mean:.3f} ± {sd:.3f}" in outline.text
    pooled = FOLDS["out_of_fold"]["macro_foreground_dice"]
    assert f"Macro-foreground Dice, out of fold\n{pooled:.3f}" in outline.text
    found = row_of(outline, "fold 3")
    fold = FOLDS["folds"][3]
    assert found[1] == f"{fold['best_epoch']} of 10"
    assert found[3] == f"{fold['test']['macro_foreground_dice']:.3f}"
    assert found[4] == f"{fold['test']['classes'][1]['dice']:.3f}"
    assert "so their spread is no interval" in outline.text
    assert "Every fold made its choices by the same rules" in outline.text
    assert ONE["tuned_on"] not in outline.text
    assert "over 10 specimens" in outline.text
    assert "Trained: 5 networks, 50 epochs, 3.1 hours." in outline.text
    labels = [d.attrib["aria-label"] for d in outline.drawings]
    assert sum(bool(re.match(r"Macro-foreground Dice of fold \d over", s)) for s in labels) == 5
    assert any(
        label.startswith("Test Dice of 5 folds by class: 1 membrane from") for label in labels
    )


def test_split_of_folds_tells_every_fold() -> None:
    outline = page(FOLDS)
    rows = outline.page.split("How the data were split</h2>")[1].split("</table>")
    assert rows[0].count("6 groups") == 5
    assert rows[1].count('<th scope="col">Fold ') == 5


@pytest.mark.parametrize("place", ["", "training"])
def test_pictures_of_folds_are_those_of_the_first(tmp_path: Path, place: str) -> None:
    write_arrays(tmp_path / "fold-0" / "training", size=16)
    (tmp_path / place).mkdir(exist_ok=True)
    outline = written(tmp_path / place, FOLDS)
    assert set(PICTURES) <= set(outline.headings)
    best = FOLDS["folds"][0]["best_epoch"]
    assert f"epoch {best} (kept): Dice" in outline.text


# --- the page as a whole


@pytest.mark.parametrize("result", [ONE, PLAIN, FOLDS], ids=["test", "no test", "folds"])
def test_page_is_well_formed_and_needs_nothing(result: Any, tmp_path: Path) -> None:
    write_arrays(tmp_path / ("fold-0/training" if "folds" in result else ""), size=16)
    outline = written(tmp_path, result)
    levels = [int(tag[1]) for tag in outline.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all("scope" in found for tag, found in outline.attributes if tag == "th")
    names = [found["id"] for _, found in outline.attributes if "id" in found]
    links = [address[1:] for address in outline.addresses if address.startswith("#")]
    assert len(set(names)) == len(names)
    assert links == names
    assert all(a.startswith(("#", "data:image/")) for a in outline.addresses)
    assert {"script", "link", "iframe"}.isdisjoint(outline.tags)
    assert not re.search(r"https?:|url\(|@import", outline.page)
    assert not re.search(r"\b(None|nan|True|False)\b", outline.text)
    for drawing in outline.drawings:
        assert len(drawing.attrib["aria-label"]) > 20


def poisoned(value: Any, key: str = "") -> Any:
    """Return a document in which every text from outside is nasty."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    fixed = key in ("score", "severity", "direction", "axis")
    return f"{value} {NASTY}\x00\x1b" if isinstance(value, str) and not fixed else value


@pytest.mark.parametrize("result", [ONE, FOLDS], ids=["one", "folds"])
def test_names_from_outside_are_text_everywhere(result: Any, tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "fold-0/training", size=16)
    with np.load(folder / "slices.npz") as arrays:
        names = np.array([NASTY] * 2)
        np.savez(folder / "slices.npz", image=arrays["image"], truth=arrays["truth"], names=names)
    bad = poisoned(result)
    place = tmp_path if "folds" in result else folder
    path = write_training_report(str(place), bad, name=NASTY)
    outline = Outline(Path(path).read_text(encoding="utf-8"))
    assert "script" not in outline.tags
    assert outline.text.count(NASTY) > 60
    assert len(outline.drawings) == len(page(result).drawings)


def hollow(value: Any, key: str = "") -> Any:
    """Return a document in which every score is undefined."""
    if isinstance(value, dict):
        return {name: hollow(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [hollow(inner, key) for inner in value]
    kept = key in ("level", "class_share", "seconds", "train", "rotate", "scale", "learning_rate")
    return None if isinstance(value, float) and not kept else value


@pytest.mark.parametrize("result", [ONE, PLAIN, FOLDS], ids=["test", "no test", "folds"])
def test_undefined_scores_are_shown_as_such(result: Any) -> None:
    outline = page(hollow(result))
    assert not re.search(r"\b(None|nan|inf)\b", outline.text)
    assert "No foreground class could be scored." in outline.text


def test_settings_network_and_digests_are_told() -> None:
    text = page(ONE).text
    for words_ in ("Parameters1,946,821", "Tiles equal the wholeyes", "Halo (voxels)92, 92"):
        assert words_ in text
    for words_ in ("Pretrained–", "losscross-entropy+dice", "scale0.9, 1.1", "5c1f" * 16):
        assert words_ in text
    folds = page(FOLDS).text
    assert "fold 4, bundlemodels/fly-unet/fold-4" in folds
    assert "Parameters1,946,821" in folds


def test_only_what_is_shown_is_defined() -> None:
    def terms(result: Any) -> set[str]:
        return set(re.findall(r"<dt>([^<]*)</dt><dd>", page(result).page.split("mean</h2>")[1]))

    assert {"Training, running", "Training", "Validation", "Share in crops"} <= terms(ONE)
    assert {"Cross-entropy", "Dice", "Macro-foreground"} <= terms(ONE)
    assert "Out of fold" not in terms(ONE)
    assert {"Out of fold", "Interval (t)"} <= terms(FOLDS)


def test_same_training_same_page(tmp_path: Path) -> None:
    pages = []
    for name in "ab":
        folder = write_arrays(tmp_path / name, size=16)
        path = write_training_report(str(folder), deepcopy(ONE), name="flies")
        assert path == str(folder / "report.html")
        pages.append(Path(path).read_bytes())
    assert pages[0] == pages[1]


def test_a_single_foreground_class_cannot_be_confused(tmp_path: Path) -> None:
    counts = np.zeros((2, 6), np.int64)
    counts[:, :4] = [90, 5, 2, 3]
    scores = summarise(
        [VolumeCounts(f"{i}.zarr", f"{i}", counts[i:, :]) for i in (0, 1)], NAMES[:2]
    )
    epochs = deepcopy(ONE["epochs"])
    for found in epochs:
        for row in found["curves"].values():
            row["dice"] = row["dice"][:2]
    result = changed(
        ONE, classes=ONE["classes"][:2], validation=scores, test=scores, epochs=epochs, split=None
    )
    result["sampling"] = {"class_share": 0.5, "voxel_share": [0.9, 0.1], "crop_share": [0.5, 0.5]}
    write_arrays(tmp_path, size=16)
    outline = written(tmp_path, result)
    assert "invented: background predicted as foreground" in outline.text
    assert "confused: one foreground class" not in outline.text
    assert "mean of 1 foreground class" in outline.text


def test_one_other_is_one_other() -> None:
    assert named(["a", "b", "c"], 2) == "a, b and 1 other"
    assert named(["a", "b", "c", "d"], 2) == "a, b and 2 others"
