"""maskmill itself, as one more contender."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]


def prepare(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Plan, stage, open and warm; tiles and batch are the plan's own.

    The settings are fields of the job: its precision, float32 by default, and its memory.
    """
    from benchmarks.segmenting import begin

    fields: Settings = {"image": spec.image, "model": spec.bundle, "name": f"bench{os.getpid()}"}
    fields |= {"precision": "float32"} | settings
    if spec.planes < spec.source.shape[0]:
        fields["region"] = f"z=0:{spec.planes}"
    segmentation = begin(spec.threads, **fields)

    def run(_source: Any, _target: Any) -> Settings:
        found = segmentation.infer()
        return found | {"stages": segmentation.finish(), "mask": segmentation.mask}

    return run
