"""Findings on the scores of a segmentation: what they hide, and what they rest on.

Pure functions of result.json: the same scores give the same findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.evaluation_classes import class_findings
from segmentation.audit.evaluation_images import image_findings
from segmentation.audit.evaluation_numbers import number_findings
from segmentation.audit.evaluation_probability import probability_findings
from segmentation.audit.evaluation_skill import skill_findings
from segmentation.audit.evaluation_support import support_findings
from segmentation.audit.finding import in_order
from segmentation.audit.learned import learned_findings
from segmentation.audit.precision import precision_findings
from segmentation.audit.skipping import skipping_findings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segmentation.audit.finding import Finding
    from segmentation.audit.thresholds import EvaluationThresholds


def evaluation_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> list[Finding]:
    """Findings on the scores of a segmentation, the gravest first.

    Parameters
    ----------
    result : mapping
        result.json of `segment` or `evaluate`, complete but for its findings. Without truth
        only what needs none is looked at.
    thresholds : EvaluationThresholds
        When something is a finding.
    """
    found = [*number_findings(result), *probability_findings(result, thresholds)]
    found += precision_findings(result, thresholds)
    found += skipping_findings(result, thresholds)
    if any("dice" in entry for entry in result.get("classes", ())):
        found += skill_findings(result, thresholds)
        found += class_findings(result, thresholds)
        found += image_findings(result, thresholds)
        found += support_findings(result, thresholds)
        found += learned_findings(result)
    return in_order(found)
