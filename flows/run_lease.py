"""Who works on a run: one command at a time, and the next one as soon as that is gone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.errors import IncompleteRunError
from storage.blobs import Blobs
from storage.holder import Holder, read_holder
from storage.lease import Lease, LeaseBusyError, LeaseLostError, hold

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

RUN_LOCK = "run.lock"


@contextmanager
def hold_run(url: str, owner: str, stop: threading.Event | None = None) -> Iterator[Lease]:
    """Work on a run alone for the time of a block.

    Parameters
    ----------
    url : str
        Run folder.
    owner : str
        Who works, as others are told; an attempt id.
    stop : threading.Event, optional
        Set when another has taken the run over, so that work stops at a shard border.

    Raises
    ------
    IncompleteRunError
        If another is at work, or has taken the run over.
    """
    try:
        with hold(Blobs(url), RUN_LOCK, owner, stop=stop) as lease:
            try:
                yield lease
            except IncompleteRunError:
                # Work that the loss has stopped does not know why.
                if lease.is_lost:
                    lease.check()
                raise
    except LeaseBusyError as error:
        raise _busy(url, error.holder) from error
    except LeaseLostError as error:
        raise IncompleteRunError(str(error), {"run": url}) from error


def check_free(url: str) -> None:
    """Refuse a run on which a command of this machine is seen at work; nothing is changed.

    Raises
    ------
    IncompleteRunError
        If there is one.
    """
    holder = read_holder(Blobs(url), RUN_LOCK)
    if holder is not None and holder.is_running:
        raise _busy(url, holder)


def remove_partials(*urls: str) -> None:
    """Remove what a killed writer left below folders that nobody else may write to now."""
    for url in urls:
        Blobs(url).remove_partials()


def _busy(url: str, holder: Holder) -> IncompleteRunError:
    return IncompleteRunError(
        f"{holder} is at work on {url}; wait until that has ended, or run the same command after "
        "it",
        {"run": url},
    )
