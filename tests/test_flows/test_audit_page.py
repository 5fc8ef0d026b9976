"""Findings as text and on a page: everything is said, what comes from outside is escaped."""

import numpy as np
import pytest

from flows.report.audit_page import render_audit
from flows.report.finding_notes import _span, finding_note
from flows.report.findings_text import findings_text, summary
from segmentation.audit.finding import Curves, Finding, Picture, Table
from segmentation.audit.thresholds import Thresholds


def finding(code="EVAL-POOLED", severity="warning", **other):
    texts = {
        "statement": "Pooled Dice is .95, the mean over the classes .40.",
        "rule": "pooled - macro > 0.15: 0.55",
        "advice": "Look at the Dice of each class.",
        "proves_not": "That the network has learned nothing.",
    }
    return Finding(code=code, severity=severity, **(texts | other)).to_dict()


EVIDENCE = (
    Table("by class", ("class", "share", "voxels", "seen"), (("a<b", 0.5, 1234, True),) * 2),
    Curves("dice", "epoch", "Dice", (("val", ((1, 0.2), (2, None), (3, 0.4))),)),
    Curves("loss", "step", "nats", (("train", ((1, 12.0), (2, 3.5))),)),
    Picture("the <slice>", np.arange(64, dtype=np.uint8).reshape(8, 8)),
)


def audit(*findings):
    return {
        "target": "<b>run</b>",
        "kind": "run",
        "findings": list(findings),
        "thresholds": Thresholds().to_dict(),
    }


def test_the_text_says_what_was_found_and_what_to_do():
    found = [finding("SPLIT-LEAK", "error"), finding(), finding(), finding("LOG-SPREAD", "info")]
    text = findings_text(found)
    lines = text.splitlines()
    assert lines[0] == "✖ error SPLIT-LEAK"
    assert "  Pooled Dice is .95, the mean over the classes .40." in lines
    assert "  → Look at the Dice of each class." in lines
    assert lines[-1] == "1 error, 2 warnings, 1 note"


def test_long_statements_are_wrapped_and_control_characters_are_gone():
    text = findings_text([finding(statement="word " * 60 + "\x1b[31m")])
    assert max(map(len, text.splitlines())) <= 96
    assert "\x1b" not in text


def test_nothing_found_is_said():
    assert findings_text([]) == "nothing was found\n"
    assert summary([]) == "nothing was found"


def test_a_page_holds_everything_and_escapes_it():
    page = render_audit(audit(finding("SPLIT-LEAK", "error", evidence=EVIDENCE), finding()))
    for text in (
        "Pooled Dice is .95",
        "pooled - macro &gt; 0.15: 0.55",
        "That the network has learned nothing.",
        "Look at the Dice of each class.",
        "SPLIT-LEAK",
        "1,234",
        "data:image/webp",
        "data.rare",
        "1 error",
    ):
        assert text in page
    assert "<b>run</b>" not in page
    assert "a<b" not in page
    assert "the <slice>" not in page
    assert page.index("SPLIT-LEAK") < page.index("EVAL-POOLED")


def test_a_page_without_findings_says_what_that_means():
    page = render_audit(audit())
    assert "nothing was found" in page
    assert "no proof that nothing is wrong" in page


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([0.2, 0.4], 0.1, 0.5), ([12.0, 3.5], 2.0, 12.0), ([-4.0, 4.0], -4.0, 4.0), ([7.0], 6.4, 7.7)],
)
def test_curves_are_drawn_between_round_numbers(values, low, high):
    bottom, top = _span(values)
    assert bottom <= min(values)
    assert top >= max(values)
    assert low <= bottom
    assert top <= high


def test_a_finding_of_an_older_run_has_no_evidence():
    note = finding_note({"code": "X", "severity": "warning", "statement": "s"})
    assert (note.weight, note.rule, note.evidence) == ("Warning", "", ())


def test_the_page_of_a_metric_says_what_it_computes():
    table = Table("dice_coef, given one-hot masks", ("prediction", "value"), (("perfect", 1.0),))
    about = {"described": "dice_coef is accuracy.", "answers": [table.to_dict()]}
    page = render_audit(audit() | about)
    assert "What it computes" in page
    assert "dice_coef is accuracy." in page
    assert "given one-hot masks" in page
