"""The job of ``maskmill submit``: a command, and the machines it is to run on."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field  # noqa: TID251 a job like those of flows/jobs.py

from flows.fields import Bytes, argument, parse_bytes
from flows.jobs import Job

# Slurm's own forms; a bare number would be minutes there and seconds here.
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_LENGTH = re.compile(r"(\d+)\s*([mhd])", re.IGNORECASE)
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def parse_walltime(value: object) -> object:
    """Seconds from ``01:30:00``, ``2-00:00:00``, ``90m``, ``4h`` or ``2d``."""
    if not isinstance(value, str):
        return value
    clock, length = _CLOCK.fullmatch(value.strip()), _LENGTH.fullmatch(value.strip())
    if clock is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if length is None:
        raise ValueError(
            f"{value!r} is no length of time; write 04:00:00, 2-00:00:00, 90m, 4h or 2d"
        )
    return int(length[1]) * _SECONDS[length[2].lower()]


def parse_node_bytes(value: object) -> object:
    """Bytes like ``parse_bytes``, or Slurm's own ``16G``."""
    whole = re.fullmatch(r"\s*(\d+)\s*([KMGT])\s*", value) if isinstance(value, str) else None
    return parse_bytes(f"{whole[1]}{whole[2]}iB" if whole else value)


Walltime = Annotated[int, BeforeValidator(parse_walltime), Field(gt=0)]
NodeBytes = Annotated[Bytes, BeforeValidator(parse_node_bytes)]
# A name for machines: what goes into manifests and directives has no room for surprises.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,:/@=-]*$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class SubmitJob(Job):
    """The same command on a cluster: ray, slurm or kuberay, options, -- and the command."""

    target: Literal["ray", "slurm", "kuberay"] = argument("ray, slurm or kuberay")
    arguments: tuple[str, ...] = argument(
        "after --, the command, such as segment IMAGE --model B --name N", min_length=1
    )
    dry_run: bool = Field(False, description="print what would be submitted, and submit nothing")
    check: bool = Field(True, description="look at image and bundle from here, where they are seen")
    follow: bool = Field(True, description="ray: show the job's output until it ends")
    address: str | None = Field(None, description="ray: the dashboard, such as http://HOST:8265")
    token_file: str | None = Field(
        None, description="ray: file with the cluster's token; RAY_AUTH_TOKEN_PATH by default"
    )
    working_dir: str | None = Field(None, description="ray: folder to send along and to work in")
    nodes: int = Field(1, ge=1, description="slurm: machines")
    cpus_per_node: int = Field(8, ge=1, description="CPUs of each machine (slurm) or pod (kuberay)")
    gpus_per_node: int = Field(0, ge=0, description="GPUs of each machine (slurm) or pod (kuberay)")
    memory_per_node: NodeBytes = Field(
        32 * 2**30, description="memory of each machine or pod, such as 32GiB"
    )
    time: Walltime | None = Field(
        None, description="longest time, such as 04:00:00 or 4h; slurm: 4 hours by default"
    )
    partition: Word | None = Field(None, description="slurm: partition")
    account: Word | None = Field(None, description="slurm: account")
    setup: str | None = Field(
        None, description="slurm: file of shell lines to begin with (modules, container)"
    )
    array: str | None = Field(
        None,
        description="slurm: file with one image a line, each a task whose command has {} for it; "
        "or how many tasks run the same reconcile",
    )
    at_once: int | None = Field(None, ge=1, description="slurm: tasks of an array at a time")
    stop_before: Annotated[int, BeforeValidator(parse_walltime), Field(ge=60)] | None = Field(
        None,
        description="slurm: how long before the end the run is told to stop at a shard border, "
        "such as 10m; 2 minutes, or a little more than the longest shard that is known",
    )
    restarts: int = Field(
        20, ge=0, description="slurm: how often a job that was stopped in time is queued again"
    )
    image: Word | None = Field(
        None, description="kuberay: container image; maskmill of this version by default"
    )
    namespace: Label = Field("maskmill", description="kuberay: namespace")
    workers: int = Field(1, ge=1, description="kuberay: pods that compute")
    token_secret: Label = Field(
        "maskmill-ray-token", description="kuberay: secret whose auth_token is the cluster's"
    )
    env_secret: Label = Field(
        "maskmill-store",
        description="kuberay: secret whose keys become variables, such as AWS_ACCESS_KEY_ID; "
        "it need not be there",
    )
    claim: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:/[^\s:]*$")] | None = (
        Field(None, description="kuberay: volume claim and where it is seen, such as data:/data")
    )
