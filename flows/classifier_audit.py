"""What the audit finds at the end of a classifier's training: in its samples and its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.audit_sample_catalog import table_findings
from segmentation.audit.evaluation_samples import classification_findings
from segmentation.audit.finding import in_order
from segmentation.audit.thresholds import DataThresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.sample_data import SampleData


def classifier_findings(data: SampleData, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Findings with their usual thresholds, in plain form, the gravest first.

    Parameters
    ----------
    data : SampleData
        Samples, who looks like whom, and their split.
    scores : mapping
        Of the test part or of all folds; of validation where there is nothing better.
    """
    found = table_findings(data.samples, data.likeness, data.split, DataThresholds())
    told = {finding.code for finding in found}
    found += [one for one in classification_findings(scores) if one.code not in told]
    return [finding.to_dict() for finding in in_order(found)]
