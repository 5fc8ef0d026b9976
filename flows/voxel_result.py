"""The part of result.json that the voxels of one mask decide: `segment` and `evaluate` share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.audit.evaluation import evaluation_findings
from segmentation.audit.thresholds import EvaluationThresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.collect import Statistics


def voxel_result(
    statistics: Statistics, cases: list[tuple[str, str]], names: Sequence[str]
) -> dict[str, Any]:
    """Every score of mask 0 that its voxels alone decide: the same from `segment` and `evaluate`.

    Parameters
    ----------
    statistics : Statistics
        Of all shards.
    cases : list of (str, str)
        Image and specimen of every volume.
    names : sequence of str
        Class names by value.
    """
    # Numba and SciPy, which a run without truth does without.
    from segmentation.metrics.probability import ProbabilityHistogram
    from segmentation.metrics.probability_scores import probability_scores
    from segmentation.metrics.summary import summarise

    result = summarise(statistics.volumes(0, cases), names)
    result["map"] = statistics.map()
    if "probability" in statistics.sums:
        histogram = ProbabilityHistogram(statistics.sums["probability"])
        result["probability"] = probability_scores(histogram, names)
    return result


def found_in(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What the audit finds in a result, with its usual thresholds, in the form of result.json.

    Parameters
    ----------
    result : dict
        Complete but for its findings; the same result gives the same findings.
    """
    return [finding.to_dict() for finding in evaluation_findings(result, EvaluationThresholds())]
