"""Publishing a version: nothing unverified, in one write, and healed where a crash cut it in two.

::

    verified.json      what this attempt found: every object is what its record says
    publishing.json    what is about to be replaced; gone once it is published
    published.json     when, by whom, and which version readers saw before
    replaced.json      in the folder of that version: since when readers see another
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.errors import VerificationError
from flows.run import PUBLISHED, SCHEMA
from flows.run_document import RUN, read_object
from storage.blobs import Blobs
from storage.label_names import is_version_of
from storage.labels import listed, publish
from storage.stores import join_url

if TYPE_CHECKING:
    from flows.run import Run

VERIFIED = "verified.json"
PUBLISHING = "publishing.json"
REPLACED = "replaced.json"


def leave_proof(run: Run, objects: int) -> None:
    """Write down that every object of a run was compared with its record and found good.

    Parameters
    ----------
    run : Run
        The run; the proof counts for its attempt only.
    objects : int
        How many objects were read.
    """
    proof = {"attempt": run.attempt, "digest": run.prepared.digest, "objects": objects}
    run.blobs.write(VERIFIED, json.dumps({"schema": SCHEMA, **proof}).encode())


def publish_run(run: Run, clock: str) -> bool:
    """List the mask for readers; a run over a region is left unlisted.

    A run that was published before, and of whose name readers see another version now, is left
    as it is: somebody has chosen that version.

    Parameters
    ----------
    clock : str
        What time it is, for the record.

    Returns
    -------
    bool
        Whether readers see it.

    Raises
    ------
    VerificationError
        If this attempt has not verified what it is about to publish.
    """
    if not run.prepared.is_whole:
        return False
    check_proof(run)
    container, name = run.prepared.container, run.job.name
    if run.blobs.exists(PUBLISHED) and current_version(container, name) is not None:
        return run.directory in listed(container)
    publish_version(container, run.blobs, name, by=run.attempt, clock=clock)
    return True


def check_proof(run: Run) -> None:
    """Refuse what this attempt has not verified.

    Raises
    ------
    VerificationError
        If there is no proof, or it is of another attempt or another job.
    """
    proof = read_object(run.blobs, VERIFIED) if run.blobs.exists(VERIFIED) else {}
    if (proof.get("attempt"), proof.get("digest")) != (run.attempt, run.prepared.digest):
        raise VerificationError(
            f"{run.directory} was not verified by the attempt {run.attempt}, which wants to "
            "publish it; run the same command again"
        )


def current_version(container: str, name: str) -> str | None:
    """The version of a name that readers see; None if they see none."""
    return next((d for d in listed(container) if is_version_of(d, name)), None)


def publish_version(container: str, run: Blobs, name: str, *, by: str, clock: str) -> list[str]:
    """Show a version to readers, and write down what it replaced.

    Parameters
    ----------
    container : str
        Where ``labels/`` is.
    run : Blobs
        Folder of the version's run, which the caller holds the lease of.
    name : str
        The name under which readers know it.
    by : str
        Who publishes.
    clock : str
        What time it is, for the record.

    Returns
    -------
    list of str
        Versions that readers saw before.
    """
    folder, _, directory = run.url.rpartition("/")
    intent: dict[str, Any] = {"schema": SCHEMA, "when": clock, "by": by}
    was_cut = run.exists(PUBLISHING) and directory in listed(container)
    if was_cut:
        intent = read_object(run, PUBLISHING)
    else:
        seen = [d for d in listed(container) if is_version_of(d, name) and d != directory]
        run.delete(REPLACED)
        _write(run, PUBLISHING, intent | {"replaced": seen})
    replaced = publish(container, directory, name, lock_url=folder, owner=by)
    replaced = replaced or list(intent.get("replaced", ()))
    _write(run, PUBLISHED, intent | {"replaced": replaced})
    run.delete(PUBLISHING)
    for version in replaced:
        _note_replaced(Blobs(join_url(folder, version)), directory, clock)
    return replaced


def _note_replaced(run: Blobs, by: str, clock: str) -> None:
    """Let prune know since when readers do not see a version; of imported labels nobody asks."""
    if run.exists(RUN):
        _write(run, REPLACED, {"schema": SCHEMA, "when": clock, "by": by})


def _write(run: Blobs, key: str, document: dict[str, Any]) -> None:
    run.write(key, json.dumps(document).encode())
