"""Rollback: readers see the version again that they saw before, once its bytes are proved good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.check import verify_labels
from flows.errors import RequestError
from flows.jobs import VerifyJob
from flows.prepare import check_writable, runs_url
from flows.publishing import current_version, publish_version
from flows.run import new_attempt
from flows.run_lease import hold_run
from flows.shard_stage import resumable
from flows.versions import FOREIGN, Version, container_url, find_versions
from storage.inventory import usage
from storage.label_names import check_name
from storage.lease import LeaseBusyError

if TYPE_CHECKING:
    from flows.jobs import RollbackJob


def roll_back(job: RollbackJob) -> dict[str, Any]:
    """Publish an earlier version of a mask volume.

    Returns
    -------
    dict
        ``published``: the version readers see now; ``before``: the one they saw; ``versions``:
        all there are, with state and bytes.

    Raises
    ------
    RequestError
        If there is no such version.
    IncompleteRunError
        If a command is at work on it.
    VerificationError
        If its stored bytes are not what was recorded; readers see what they saw.
    """
    container = container_url(job.image)
    runs, name = runs_url(job, container), check_name(job.labels)
    before = current_version(container, name)
    target = _target(job, find_versions(container, runs, name), before)
    if target.directory != before:
        _publish(job, container, target)
    return {
        "labels": name,
        "published": target.directory,
        "before": before,
        "versions": [
            {
                "version": one.directory,
                "state": one.state,
                "bytes": usage(one.label).bytes + usage(one.run.url).bytes,
            }
            for one in find_versions(container, runs, name)
        ],
    }


def _publish(job: RollbackJob, container: str, target: Version) -> None:
    """Check the bytes of a version and show it to readers; nobody else may work on it then."""
    advice = "a rollback has to write there"
    check_writable(container, advice)
    check_writable(target.run.url, advice)
    now = datetime.now(UTC)
    by = f"rollback-{new_attempt(target.run, now)}"
    with resumable(target.run.url, LeaseBusyError), hold_run(target.run.url, by) as lease:
        verify_labels(VerifyJob(image=container, labels=target.label, runs=job.runs))
        lease.check(confirm=True)
        clock = now.isoformat(timespec="seconds")
        publish_version(container, target.run, job.labels, by=by, clock=clock)


def _target(job: RollbackJob, versions: list[Version], before: str | None) -> Version:
    """The version asked for, or the one that readers saw before."""
    known = {one.directory: one for one in versions}
    if not known:
        raise RequestError(f"{job.image} has no version of {job.labels!r}; see `maskmill info`")
    if all(one.state == FOREIGN for one in versions):
        raise RequestError(
            f"{job.labels!r} was imported, or its runs are elsewhere (--runs URL): there is no "
            "version to roll back to"
        )
    target = known.get(job.to or _previous(known, before) or "")
    if target is not None and target.can_be_published:
        return target
    asked = f"{job.to} cannot be published" if job.to else "no version before it is known"
    reason = f" ({target.state})" if target is not None else ""
    others = [d for d, one in known.items() if one.can_be_published and d != before]
    advice = f"give --to {' or '.join(others)}" if others else "there is no other one"
    raise RequestError(
        f"readers of {job.labels!r} see {before or 'nothing'}; {asked}{reason}; {advice}"
    )


def _previous(known: dict[str, Version], before: str | None) -> str | None:
    """The version that readers saw before the current one, as far back as it takes."""
    passed = {before}
    at = known.get(before or "")
    while at is not None:
        at = next((known[d] for d in reversed(at.replaced()) if d in known.keys() - passed), None)
        if at is not None and at.can_be_published:
            return at.directory
        passed |= {at.directory} if at is not None else set()
    return None
