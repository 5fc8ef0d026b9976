"""The arithmetic of a run: which it is, and how far its classes are those of float32.

A lower precision is chosen by the job or by the bundle, never by the machine: the bytes of a mask
do not depend on where it was made. How many voxels it changes is measured on a few shards.
"""

from __future__ import annotations

from logging import getLogger
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from segmentation.networks.variants import is_native

if TYPE_CHECKING:
    from flows.jobs import VolumeJob
    from flows.model import Model

FLOAT32 = "float32"
# Shards of a run whose first tile is computed in float32 too.
COMPARED_SHARDS = 3

logger = getLogger(__name__)


def run_precision(wanted: str | None, model: Model) -> str:
    """Arithmetic of a run: what the job asks for, else what the bundle is made for.

    Raises
    ------
    RequestError
        If it is asked for where nothing is computed.
    """
    if model.card is not None:
        return wanted or model.card.precision
    if wanted is not None:
        raise RequestError("the identity model computes nothing; leave --precision out")
    return FLOAT32


def tell_if_slow(job: VolumeJob, precision: str) -> None:
    """Say in the log that this machine's CPU has no instructions for an arithmetic.

    Nothing else is taken in its place. Of a cluster's machines and of GPUs nothing is known here.
    """
    if job.address is None and not job.gpus_per_worker and not is_native(precision):
        logger.warning(
            "this CPU has no instructions for %s: the masks will be right, and slower than in %s",
            precision,
            FLOAT32,
        )


def is_compared(index: int, planned: int) -> bool:
    """Whether a shard is one of the few, spread over the plan, that are computed in float32 too.

    Parameters
    ----------
    index : int
        Of the shard.
    planned : int
        Shards of the plan.
    """
    parts = range(1, 2 * COMPARED_SHARDS, 2)
    return index in {planned * part // (2 * COMPARED_SHARDS) for part in parts}


def precision_result(policy: str, same: int, compared: int) -> dict[str, Any]:
    """``precision`` of result.json.

    Parameters
    ----------
    policy : str
        Arithmetic of the run.
    same, compared : int
        Voxels of the same class as in float32, and voxels compared.
    """
    agreement = same / compared if compared else None
    return {"policy": policy, "agreement": agreement, "voxels": compared}
