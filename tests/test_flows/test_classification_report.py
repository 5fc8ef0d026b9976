"""What page and terminal say of a classification."""

import numpy as np
import pytest

from flows.report.classification import render_classification
from flows.report.classification_text import class_rows, headline, plain_text, remarks
from flows.report.roc import roc_curve
from segmentation.classification.predictions import UNKNOWN, Predictions
from segmentation.classification.scores import classification_scores

NAMES = ("healthy", "ill")


def result(samples=30, groups=1, **changes):
    """A scored result: every third sample of either class is wrong."""
    labels = np.arange(samples) % 2
    positive = np.where(np.arange(samples) % 3 == 0, 1 - labels, labels) * 0.8 + 0.1
    given = Predictions(
        tuple(f"s{n:02d}" for n in range(samples)),
        np.stack([1 - positive, positive], axis=1),
        labels.astype(np.int64),
        tuple(f"g{n // groups:02d}" for n in range(samples)),
    )
    resize = {"image_size": [64, 48], "rule": "antialiased linear", "samples": 0}
    fields = {"samples": samples, "without_truth": 0, "unreadable": [], "resize": resize}
    return {**fields, **classification_scores(given, NAMES), "findings": [], **changes}


def without_truth():
    found = result()
    classes = [{"value": v, "name": name, "predicted": 15} for v, name in enumerate(NAMES)]
    kept = {key: found[key] for key in ("samples", "unreadable", "resize", "findings")}
    return kept | {"classes": classes, "without_truth": None}


def page(found, **options):
    return render_classification(found, title="lungs", provenance={"model": "m"}, **options)


def test_the_headline_gives_score_interval_and_number():
    # 20 of 30 are right, 10 of 15 in either class.
    found = result()
    low, high = (found["balanced_accuracy"][end] for end in ("low", "high"))
    assert headline(found) == (
        f"Balanced accuracy 0.667 (95 % interval {low:.3f}–{high:.3f}) of 30 samples."
    )
    assert headline(without_truth()) == "30 samples classified; no truth was given."
    assert headline(result(groups=3)) == "Balanced accuracy 0.667 of 30 samples in 10 groups."


def test_the_table_of_the_terminal():
    text = plain_text(result())
    lines = text.splitlines()
    assert lines[0].split() == ["class", "precision", "recall", "f1", "samples", "predicted"]
    assert lines[1].split() == ["healthy", "0.667", "0.667", "0.667", "15", "15"]
    assert (
        "66.7 % of the samples are right; always answering healthy would be right for 50.0 %"
        in (text)
    )
    assert "Positive is ill" in text
    assert plain_text(without_truth()).splitlines()[:2] == [
        "class    predicted",
        "healthy         15",
    ]
    assert class_rows(without_truth())[0] == ["class", "predicted"]


SENTENCES = {
    "resized": (
        {"resize": {"image_size": [64, 48], "rule": "antialiased linear", "samples": 7}},
        "7 images had another size and were brought to 64 × 48 (antialiased linear).",
    ),
    "unknown": ({"without_truth": 4}, "4 samples without truth count for no score."),
    "unreadable": (
        {"unreadable": [{"id": "x.png", "reason": "x.png is not a PNG file"}]},
        "No row for 1 image that could not be read.",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_else_must_be_known_is_said_where_it_is_so(case):
    changes, sentence = SENTENCES[case]
    assert sentence in list(remarks(result(**changes)))
    assert sentence not in list(remarks(result()))
    assert sentence in page(result(**changes))


def test_few_groups_are_said():
    notes = " ".join(remarks(result(groups=3)))
    assert "10 groups are fewer than the 20 that a cluster bootstrap needs" in notes


def test_the_page_has_a_section_for_each_thing():
    found = result()
    whole = page(found, roc=[(0.0, 0.0), (0.3, 0.7), (1.0, 1.0)])
    for heading in ("Scores", "Classes", "What was taken for what", "Probabilities", "Mistakes"):
        assert f">{heading}</h2>" in whole
    assert "10 of 30 samples are wrong" in whole
    assert "ROC curve of ill" in whole
    assert "ROC curve" not in page(found)
    bare = page(without_truth())
    assert "No truth was given" in bare
    for heading in ("Scores", "What was taken for what", "Mistakes", "Not read"):
        assert f">{heading}</h2>" not in bare


def test_findings_stand_on_the_page():
    finding = {
        "code": "EVAL-SMALL-N",
        "severity": "warning",
        "statement": "Too few samples.",
        "rule": "fewer than 20",
        "evidence": [],
        "proves_not": "nothing",
        "advice": "Get more.",
    }
    assert "Too few samples." in page(result(findings=[finding]))
    assert "EVAL-SMALL-N" in plain_text(result(findings=[finding]))


def test_samples_without_truth_are_never_mistakes():
    given = Predictions(("a", "b"), np.array([[0.2, 0.8]] * 2), np.array([0, UNKNOWN]), ("a", "b"))
    assert [row["id"] for row in classification_scores(given, NAMES)["errors"]] == ["a"]


def test_a_curve_of_very_many_points_stays_small():
    points = [(n / 10000, (n / 10000) ** 0.5) for n in range(10001)]
    drawing = roc_curve(points, "curve")
    assert len(drawing) < 10_000
    # It ends at (1, 1), the upper right corner of the frame.
    assert "290 28" in drawing
