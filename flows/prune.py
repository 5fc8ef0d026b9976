"""Prune: old versions and abandoned staging, told first, deleted only when asked to.

What readers may have open stays: a version goes only some time after readers were last shown it,
by the store's own clock. The published version stays, so do imported labels, finished runs over
a region, and whatever a command is at work on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.errors import IncompleteRunError
from flows.prepare import runs_url
from flows.run import PUBLISHED, new_attempt
from flows.run_document import RUN
from flows.run_lease import RUN_LOCK, hold_run
from flows.versions import (
    CURRENT,
    EARLIER,
    FOREIGN,
    PARTIAL,
    UNREADABLE,
    Version,
    container_url,
    find_versions,
    version_at,
)
from storage.blobs import Blobs
from storage.holder import EXPIRY_SECONDS, read_holder
from storage.inventory import folders, store_time, usage, written
from storage.label_names import check_name
from storage.label_versions import remove_folder, remove_version

if TYPE_CHECKING:
    from flows.jobs import PruneJob
    from storage.lease import Lease

PROTECTED = (CURRENT, FOREIGN, PARTIAL, UNREADABLE)
UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version goes, and why.

    Attributes
    ----------
    version : Version
        The version.
    goes : bool
        Whether it is to be deleted.
    reason : str
        Why.
    bytes : int
        Of the mask and its run's folder.
    """

    version: Version
    goes: bool
    reason: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "version": self.version.directory,
            "state": self.version.state,
            "decision": "goes" if self.goes else "stays",
            "reason": self.reason,
            "bytes": self.bytes,
        }


def prune_labels(job: PruneJob) -> dict[str, Any]:
    """Tell which versions are old enough to go, and delete them if asked to.

    Returns
    -------
    dict
        ``versions`` with decision, reason and bytes; ``bytes`` that go; ``deleted``.
    """
    container = container_url(job.image)
    runs = runs_url(job, container)
    versions = find_versions(container, runs, check_name(job.labels) if job.labels else None)
    # Nothing is written where there is nothing to judge.
    judged = any(version.state not in PROTECTED for version in versions)
    now = store_time(Blobs(runs)) if judged else 0.0
    verdicts = judge(versions, container, job, now)
    if job.yes:
        verdicts = [_carry_out(verdict, container, runs) for verdict in verdicts]
    return {
        "image": container,
        "versions": [verdict.to_dict() for verdict in verdicts],
        "bytes": sum(verdict.bytes for verdict in verdicts if verdict.goes),
        "deleted": job.yes,
    }


def judge(versions: list[Version], container: str, job: PruneJob, now: float) -> list[Verdict]:
    """What is to become of every version.

    Parameters
    ----------
    versions : list of Version
        Of one mask volume or of several.
    container : str
        Where ``labels/`` is.
    job : PruneJob
        How many stay, and for how long.
    now : float
        Seconds of the store's clock.
    """
    kept = _newest(versions, job.keep)
    verdicts = []
    for version in versions:
        label, run = usage(version.label), usage(version.run.url)
        why_not = version.state if version.state in PROTECTED else ""
        if version.directory in kept:
            why_not = why_not or f"one of the {job.keep} newest"
        since = max(label.newest, run.newest)
        if version.state == EARLIER:
            since = version.hidden_since(container)
        why_not = why_not or _at_work(version, now) or _too_young(now - since, job.older_than)
        reason = why_not or f"{version.state}, {_duration(now - since)} ago"
        verdicts.append(Verdict(version, not why_not, reason, label.bytes + run.bytes))
    return verdicts


def _newest(versions: list[Version], keep: int) -> set[str]:
    """The published version of every name and those published last, `keep` in all."""
    kept: set[str] = set()
    for name in {version.name for version in versions}:
        shown = [v for v in versions if v.name == name and v.state in (CURRENT, EARLIER)]
        # Some stores tell whole seconds only; of two versions the later has the longer number.
        shown.sort(
            key=lambda v: (v.state == CURRENT, v.published, len(v.directory), v.directory),
            reverse=True,
        )
        kept |= {version.directory for version in shown[:keep]}
    return kept


def _at_work(version: Version, now: float) -> str:
    """Who may be at work on a version; empty if nobody is."""
    holder = read_holder(version.run, RUN_LOCK)
    if holder is None or holder.is_running is False:
        return ""
    silent = now - (written(version.run, RUN_LOCK) or now)
    if holder.is_running is None and silent > EXPIRY_SECONDS:
        return ""
    return f"{holder} is at work on it"


def _too_young(age: float, least: float) -> str:
    """Why it is too early for a version to go; empty if it is not."""
    return f"seen or written {_duration(age)} ago" if age < least else ""


def _duration(seconds: float) -> str:
    for unit, size in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _carry_out(verdict: Verdict, container: str, runs: str) -> Verdict:
    """Delete a version that goes; one that a command has taken up since stays."""
    if not verdict.goes:
        return verdict
    version, run = verdict.version, verdict.version.run
    owner = f"prune-{new_attempt(run, datetime.now(UTC))}"
    try:
        with hold_run(run.url, owner) as lease:
            if version_at(container, runs, version.directory) != version:
                return replace(verdict, goes=False, reason="a command has taken it up")
            _delete(version, container, runs, lease)
    except IncompleteRunError as error:
        return replace(verdict, goes=False, reason=str(error))
    remove_folder(run.url)
    return verdict


def _delete(version: Version, container: str, runs: str, lease: Lease) -> None:
    """Take the mask away, then the records; ``run.json`` goes last, to tell what is left."""
    run = version.run
    lease.check(confirm=True)
    # Whoever asks for this version again must not be told that it is finished.
    run.delete(PUBLISHED)
    remove_version(container, version.directory, lock_url=runs, owner=lease.owner)
    run.remove_partials()
    for folder in folders(run.url):
        run.child(folder).delete_all()
    for key, _ in list(run.list()):
        if key not in (RUN, lease.key):
            run.delete(key)
    run.delete(RUN)
