"""maskmill itself, as one more contender."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flows.jobs import SegmentJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]
FLOAT32 = "float32"


def has_precision() -> bool:
    """Whether a job can be computed in another precision than float32."""
    return "precision" in SegmentJob.model_fields


def prepare(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Plan, stage, open and warm; tiles and batch are the plan's own."""
    from benchmarks.segmenting import begin

    fields: Settings = {"image": spec.image, "model": spec.bundle, "name": f"bench{os.getpid()}"}
    if has_precision():
        fields["precision"] = settings.get("precision", FLOAT32)
    if spec.planes < spec.source.shape[0]:
        fields["region"] = f"z=0:{spec.planes}"
    segmentation = begin(spec.threads, **fields)

    def run(_source: Any, _target: Any) -> Settings:
        found = segmentation.infer()
        return found | {"stages": segmentation.finish(), "mask": segmentation.mask}

    return run
