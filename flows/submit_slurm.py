"""A command as a Slurm job: one sbatch file, for one machine or several, or for many volumes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import RequestError
from flows.ray_settings import KEEPALIVE
from flows.submit_program import Program
from flows.submit_shares import workers_of
from flows.submit_template import ALONE, BEGIN, END, OBJECT_STORE_BYTES, TOGETHER, fill

if TYPE_CHECKING:
    from flows.submit_command import Command
    from flows.submit_job import SubmitJob

DEFAULT_SECONDS = 4 * 3600
STOP_SECONDS = 120
# Of the time before the walltime, what is left for ending Ray and for Slurm's own imprecision.
SPARE_SECONDS = 30
START_SECONDS = 180
SBATCH = Program("sbatch", "Slurm", "squeue", "file", timeout_seconds=120)
EACH = "{}"


def sbatch_script(job: SubmitJob, command: Command, images: list[str] | None, shard: float) -> str:
    """The file that is handed to sbatch.

    Parameters
    ----------
    images : list of str, optional
        Of an array, the image of every task.
    shard : float
        Seconds of the longest shard that is known; 0 if none is.

    Raises
    ------
    RequestError
        If the walltime leaves no room for a shard, or the setup file cannot be read.
    """
    stop_seconds = stop_before(job, shard)
    command = command.having(executor="ray").filling(**workers_of(job, job.nodes))
    words = [shlex.quote(word) for word in ["maskmill", *command.arguments()]]
    if images is not None:
        words = ['"${images[SLURM_ARRAY_TASK_ID]}"' if w == shlex.quote(EACH) else w for w in words]
    return fill(
        BEGIN + (ALONE if job.nodes == 1 else TOGETHER) + END,
        {
            "directives": "\n".join(_directives(job, command.verb, images, stop_seconds)),
            "setup": _setup(job.setup),
            "settings": _settings(job),
            "images": f"images=(\n{_lines(images)})\n" if images is not None else "",
            "command": " ".join(words),
            "grace": stop_seconds - SPARE_SECONDS,
            "cpus": job.cpus_per_node,
            "gpus": job.gpus_per_node,
            "steps": f"--gpus-per-node={job.gpus_per_node} " if job.gpus_per_node else "",
            "store": OBJECT_STORE_BYTES,
            "restarts": job.restarts,
            "attempts": job.restarts + 1,
        },
    )


def stop_before(job: SubmitJob, shard: float) -> int:
    """Seconds before the walltime at which the run is told to stop.

    Raises
    ------
    RequestError
        If nothing could be finished before that.
    """
    walltime = job.time or DEFAULT_SECONDS
    needed = STOP_SECONDS if job.stop_before is None else int(job.stop_before)
    needed = max(needed, int(shard) + 2 * SPARE_SECONDS if job.stop_before is None else 0)
    least = needed + START_SECONDS + int(shard)
    if walltime < least:
        known = f"a shard of this run has taken {shard:.0f} s; " if shard else ""
        raise RequestError(
            f"--time {clock(walltime)} is too short: {known}the run starts in up to "
            f"{START_SECONDS} s and is told to stop {needed} s before the end; "
            f"ask for {clock(least)} or more"
        )
    return needed


def read_images(path: str) -> list[str]:
    """Images of an array: one a line; empty lines and those that begin with # are none.

    Raises
    ------
    RequestError
        If the file cannot be read, names no image, or one twice.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"--array {path} cannot be read: {error}; give a file with one image a line, or a count"
        ) from error
    images = [line for line in lines if line and not line.startswith("#")]
    twice = sorted({image for image in images if images.count(image) > 1})
    if not images or twice:
        told = f"names {twice[0]} more than once" if twice else "names no image"
        raise RequestError(f"--array {path} {told}; expected one image a line, each once")
    return images


def submit_script(script: str) -> str:
    """Hand a file to sbatch; the id of the job.

    Raises
    ------
    RequestError
        If there is no sbatch here, or Slurm refuses the job; nothing was started then.
    """
    return SBATCH.submit(["--parsable"], script).partition(";")[0]


def clock(seconds: int) -> str:
    """A walltime as Slurm reads it."""
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def _directives(
    job: SubmitJob, verb: str, images: list[str] | None, stop_seconds: int
) -> list[str]:
    tasks = len(images) if images is not None else int(job.array or 0)
    options = {
        "job-name": f"maskmill-{verb}",
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": job.cpus_per_node,
        "mem": f"{job.memory_per_node // 2**20}M",
        "gpus-per-node": job.gpus_per_node or None,
        "time": clock(job.time or DEFAULT_SECONDS),
        "signal": f"B:USR1@{stop_seconds}",
        "partition": job.partition,
        "account": job.account,
        "array": f"0-{tasks - 1}" + f"%{job.at_once}" * bool(job.at_once) if tasks else None,
        "output": "maskmill-%A_%a.out" if tasks else "maskmill-%j.out",
        "open-mode": "append",
    }
    given = [f"#SBATCH --{name}={v}" for name, v in options.items() if v is not None]
    return [*given, "#SBATCH --requeue"]


def _setup(path: str | None) -> str:
    """The user's own first lines; else the programs of this installation."""
    if path is None:
        return f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--setup {path} cannot be read: {error}") from error


def _settings(job: SubmitJob) -> str:
    """What every process of the job finds in its environment; no secret is among it."""
    values = {
        **(KEEPALIVE if job.nodes > 1 else {}),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MASKMILL_CPUS": str(job.nodes * job.cpus_per_node),
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def _lines(images: list[str]) -> str:
    return "".join(f"    {shlex.quote(image)}\n" for image in images)
