"""Finding on masks in a lower precision."""

import pytest

from segmentation.audit.precision import precision_findings
from segmentation.audit.thresholds import EvaluationThresholds


def found(precision):
    result = {} if precision is None else {"precision": precision}
    return list(precision_findings(result, EvaluationThresholds()))


@pytest.mark.parametrize(
    "precision",
    [
        None,
        {"policy": "bfloat16", "agreement": 0.995, "voxels": 1000},
        {"policy": "bfloat16", "agreement": None, "voxels": 0},
    ],
)
def test_enough_agreement_is_no_finding(precision):
    assert found(precision) == []


def test_too_little_agreement_is_a_warning():
    (finding,) = found({"policy": "bfloat16", "agreement": 994 / 1000, "voxels": 1000})
    assert (finding.code, finding.severity) == ("INFER-PRECISION", "warning")
    assert finding.statement == (
        "In bfloat16, 6 of 1,000 compared voxels (0.60%) have another class than in float32."
    )
    assert finding.evidence[0].rows == (("the same", 994), ("another", 6))
