"""What a deployment's run does beyond its work: it stops in time, and says how to go on.

A worker answers a cancellation with SIGTERM, and kills the process 30 s later. The run stops at a
shard border, as with Ctrl-C; a shard that takes longer than `STOP_SECONDS` is given up, so that
the workers are gone and the records are left in good time.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from prefect import get_client, runtime  # noqa: TID251 hooks of the flows
from prefect.client.schemas.actions import ArtifactCreate  # noqa: TID251 hooks of the flows

from flows.errors import IncompleteRunError
from flows.evidence import without_secrets
from flows.report.safe import markdown_safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect import Flow  # noqa: TID251 a type
    from prefect.client.schemas.objects import FlowRun, State  # noqa: TID251 types

STOP_SECONDS = 12.0  # of the 30 that a worker waits before it kills
GIVEN_UP = (
    "stopped, and gave up shards that took too long to wait for; what is finished is recorded, "
    "the same job goes on from there"
)
VERBS = {
    "segment-volume": "segment",
    "evaluate-volume": "evaluate",
    "train-model": "train",
    "classify-images": "classify",
    "reconcile": "reconcile",
}


def say_how_to_resume(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Leave an artifact that names the commands which go on; a hook of deployments' runs."""
    if flow_run.deployment_id is None:
        return
    text = resume_text(flow.name, _job_of(flow_run), state.name or "", state.message or "")
    artifact = ArtifactCreate(
        key="maskmill-resume",
        type="markdown",
        description="how to go on",
        data=text,
        flow_run_id=flow_run.id,
    )
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)


def resume_text(flow: str, job: dict[str, Any], state: str, message: str) -> str:
    """Markdown that says what became of a run, and which commands go on from its records.

    Parameters
    ----------
    flow : str
        Name of the flow; its deployment has the same.
    job : dict
        Fields of the job that were given.
    state, message : str
        Of the run.
    """
    fields = without_secrets(yaml.safe_dump(job, sort_keys=False))
    parts = [
        f"**{markdown_safe(state)}.** {markdown_safe(without_secrets(message))}",
        "What is finished is recorded; the same job goes on from there. Run the deployment again "
        "with the same parameters (*Custom run*, or *Copy to new run* on this page).",
    ]
    verb = VERBS.get(flow)
    if verb is not None:
        parts += [
            "Or by hand: save these fields as `job.yaml` and run the command below them.",
            _block(fields, "yaml"),
            _block(shlex.join(["maskmill", verb, "--config", "job.yaml"]), "sh"),
        ]
    return "\n\n".join(parts)


def _block(text: str, language: str) -> str:
    """A fenced block that its text cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _job_of(flow_run: FlowRun) -> dict[str, Any]:
    job = (flow_run.parameters or {}).get("job")
    fields = job if isinstance(job, dict) else {}
    return {name: value for name, value in fields.items() if value is not None}


@contextmanager
def stopping_in_time() -> Iterator[None]:
    """Give up what a stopped run is still at, if a worker runs it and would soon kill it.

    Raises
    ------
    IncompleteRunError
        If that was necessary.
    """
    if _deployment() is None:
        yield
        return
    with stop_deadline(STOP_SECONDS):
        yield


def _deployment() -> str | None:
    """Id of the deployment whose run this is."""
    found: str | None = runtime.deployment.id
    return found


@contextmanager
def stop_deadline(seconds: float) -> Iterator[None]:
    """Interrupt the block so many seconds after SIGTERM, if it is still at work then.

    In the main thread; elsewhere signals do not arrive and nothing is done.

    Raises
    ------
    IncompleteRunError
        If the block was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = threading.Event()
    # Python writes the number of every signal there, whoever handles it.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, asked, seconds), daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt as error:
        if not asked.is_set():
            raise
        raise IncompleteRunError(GIVEN_UP, {}) from error
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, asked: threading.Event, seconds: float) -> None:
    """Wait for SIGTERM, then for the end of the block; interrupt it when that takes too long."""
    try:
        while received := reader.recv(64):
            if signal.SIGTERM in received:
                asked.set()
                reader.settimeout(seconds)
    except TimeoutError:
        os.kill(os.getpid(), signal.SIGINT)
