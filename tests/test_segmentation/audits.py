"""Results of evaluations for the tests of their findings: real counts of small label maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from segmentation.audit.evaluation import evaluation_findings
from segmentation.audit.thresholds import EvaluationThresholds
from segmentation.metrics.counting import count_planes
from segmentation.metrics.summary import VolumeCounts, summarise

DEFAULT = EvaluationThresholds()


def counted(truth: Any, prediction: Any, classes: int, *, name: str = "fly") -> VolumeCounts:
    """Counts of one volume, (z, y, x), every section an image of its own."""
    planes = count_planes(np.asarray(truth), np.asarray(prediction), classes)
    return VolumeCounts(name, name, planes, axis="z", image_planes=1)


def result_of(
    truth: Any, prediction: Any, names: tuple[str, ...], *, specimens: int = 3, **more: Any
) -> dict[str, Any]:
    """result.json of so many specimens that all look like this one map, (y, x) or (z, y, x)."""
    shape = (-1, *np.shape(truth)[-2:])
    volumes = [
        counted(
            np.reshape(truth, shape), np.reshape(prediction, shape), len(names), name=f"fly{number}"
        )
        for number in range(specimens)
    ]
    return {**summarise(volumes, names), **UNITS, **more}


UNITS = {"axes": "zyx", "voxel_size": [1.0, 1.0, 1.0], "unit": "micrometer"}


def found(result: dict[str, Any], **thresholds: Any) -> dict[str, Any]:
    """Findings of a result by their code."""
    findings = evaluation_findings(result, EvaluationThresholds(**thresholds))
    return by_code(findings)


def by_code(findings: Any) -> dict[str, Any]:
    """Findings by their code; every code at most once, each with all its parts."""
    findings = list(findings)
    for finding in findings:
        assert finding.evidence
        assert all((finding.statement, finding.rule, finding.advice, finding.proves_not))
        assert any(character.isdigit() for character in finding.rule)
    codes = [finding.code for finding in findings]
    assert len(set(codes)) == len(codes)
    return dict(zip(codes, findings, strict=True))
