"""What the workers of a command get of the machines it is submitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.submit_job import SubmitJob

# What Ray and the command itself keep of a machine, beside the workers.
OVERHEAD_BYTES = 2 * 2**30
CPUS_PER_WORKER = 2


def workers_of(job: SubmitJob, machines: int) -> dict[str, Any]:
    """Workers, and their GPU and memory, on machines that are alike.

    One worker has a GPU to itself, or two CPUs where there is none.
    """
    each = job.gpus_per_node or max(1, job.cpus_per_node // CPUS_PER_WORKER)
    usable = max(job.memory_per_node - OVERHEAD_BYTES, job.memory_per_node // 2)
    shares: dict[str, Any] = {"workers": each * machines, "memory": usable // each}
    if job.gpus_per_node:
        shares["gpus_per_worker"] = 1.0
    return shares
