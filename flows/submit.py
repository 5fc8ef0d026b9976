"""``maskmill submit``: a command handed over to Ray, Slurm or Kubernetes.

The command is checked like one that is run here. With ``--dry-run`` what would be submitted is
printed, to the letter, and nothing is submitted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.submit_check import check_places, longest_shard
from flows.submit_command import Command, parse_command
from flows.submit_slurm import EACH, read_images, sbatch_script, submit_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.submit_job import SubmitJob

EVERYWHERE = ("target", "arguments", "dry_run", "check")
OF_MACHINES = ("cpus_per_node", "gpus_per_node", "memory_per_node", "time")
OPTIONS = {
    "ray": ("address", "token_file", "working_dir", "follow"),
    "slurm": (
        *("nodes", "partition", "account", "setup", "array", "at_once", "stop_before", "restarts"),
        *OF_MACHINES,
    ),
    "kuberay": (
        *("image", "namespace", "workers", "token_secret", "env_secret", "claim"),
        *OF_MACHINES,
    ),
}


def submit(job: SubmitJob) -> dict[str, Any]:
    """Submit a command, or say what would be submitted.

    Returns
    -------
    dict
        ``target``; of a dry run the ``document``; else the ``job`` and how to ``watch`` and
        ``stop`` it, and the ``exit_code`` of a Ray job that was followed to its end.

    Raises
    ------
    RequestError, StorageError, ValueError
        If the command, its places or the machines asked for cannot be; nothing was submitted then.
    IncompleteRunError
        If another command is at work on the run, or a job that was followed is out of sight.
    """
    _check_options(job)
    command = parse_command(job.arguments)
    if job.target == "slurm":
        return _to_slurm(job, command)
    if job.check:
        check_places(command, shared=False, sent_along=job.working_dir is not None)
        longest_shard(command)
    return _to_ray(job, command) if job.target == "ray" else _to_kuberay(job, command)


def submitted_text(result: dict[str, Any]) -> str:
    """What a submission shows on the terminal."""
    if "document" in result:
        return str(result["document"])
    lines = [f"{result['target']} job {result['job']}"]
    lines += [f"{word}: {result[word]}" for word in ("watch", "stop", "again") if word in result]
    return "\n".join(lines) + "\n"


def _check_options(job: SubmitJob) -> None:
    known = {*EVERYWHERE, *OPTIONS[job.target]}
    strange = [name for name in type(job).model_fields if name in job.model_fields_set - known]
    if strange:
        option = f"--{strange[0].replace('_', '-')}"
        places = " and ".join(t for t, names in OPTIONS.items() if strange[0] in names)
        raise RequestError(f"{option} is an option of {places}, not of {job.target}; leave it out")


def _to_slurm(job: SubmitJob, command: Command) -> dict[str, Any]:
    images = _array_images(job, command)
    shard = 0.0
    if job.check:
        for one in _each(command, images):
            check_places(one, shared=True)
            shard = max(shard, longest_shard(one))
    script = sbatch_script(job, command, images, shard)
    if job.dry_run:
        return {"target": job.target, "document": script}
    number = submit_script(script)
    return {
        "target": job.target,
        "job": number,
        "watch": f"squeue --job {number}; output in maskmill-{number}*.out",
        "stop": f"scancel --batch --signal=USR1 {number} stops at a shard border, "
        f"scancel {number} at once",
        "again": "the same command goes on from what is finished",
    }


def _array_images(job: SubmitJob, command: Command) -> list[str] | None:
    """Images of an array, one for each task; None if there is no array of images.

    Raises
    ------
    RequestError
        If array and command do not fit.
    """
    has_place = command.fields.get("image") == EACH
    if job.array is None or re.fullmatch(r"[1-9]\d{0,4}", job.array):
        if has_place:
            raise RequestError("{} stands for an image of a list; give --array FILE with them")
        if job.array is not None and command.verb != "reconcile":
            raise RequestError(
                f"--array {job.array} would run the same {command.verb} {job.array} times; give "
                "a file with one image a line and write {} for the image"
            )
        return None
    if not has_place:
        raise RequestError(
            f"--array {job.array} has one image for each task; write {{}} for the image after --"
        )
    return read_images(job.array)


def _each(command: Command, images: list[str] | None) -> Iterator[Command]:
    """The command of every task."""
    if images is None:
        yield command
    for image in images or ():
        yield command.having(image=image)


def _to_ray(job: SubmitJob, command: Command) -> dict[str, Any]:
    if job.address is None:
        raise RequestError("--address is missing; give the dashboard, such as http://HOST:8265")
    document = _ray_document(job, command.having(executor="ray", address="auto"))
    if job.dry_run:
        shown = {"address": job.address, **document}
        return {"target": job.target, "document": json.dumps(shown, indent=2) + "\n"}
    from flows.ray_jobs import RayJobs

    jobs = RayJobs(job.address, _token(job.token_file))
    number = jobs.submit(document)
    result = {"target": job.target, "job": number, "watch": jobs.hints(number)}
    return result | {"exit_code": jobs.follow(number)} if job.follow else result


def _ray_document(job: SubmitJob, command: Command) -> dict[str, Any]:
    """What Ray is asked to start; credentials are the cluster's own, none is sent."""
    folder = job.working_dir
    if folder is not None and not Path(folder).is_dir():
        raise RequestError(f"--working-dir {folder} is no folder")
    return {
        "entrypoint": shlex.join(["maskmill", *command.arguments()]),
        "runtime_env": {} if folder is None else {"working_dir": str(Path(folder).absolute())},
        "metadata": {"maskmill": command.verb},
    }


def _token(path: str | None) -> str | None:
    """The cluster's token, from a file or from Ray's own variables.

    Raises
    ------
    RequestError
        If the file cannot be read or is empty.
    """
    direct = None if path else os.environ.get("RAY_AUTH_TOKEN")
    path = path or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if direct or not path:
        return direct or None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"token file {path} cannot be read: {error}") from error
    if not token:
        raise RequestError(f"token file {path} is empty; it should hold the cluster's token")
    return token


def _to_kuberay(job: SubmitJob, command: Command) -> dict[str, Any]:
    from flows.submit_kuberay import create, manifest

    text = manifest(job, command)
    if job.dry_run:
        return {"target": job.target, "document": text}
    name = create(text, job.namespace)
    return {
        "target": job.target,
        "job": name,
        "watch": f"kubectl --namespace {job.namespace} get {name} --watch",
        "stop": f"kubectl --namespace {job.namespace} delete {name}",
        "again": "the same command goes on from what is finished",
    }
