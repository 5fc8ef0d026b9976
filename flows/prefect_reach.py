"""Whether a configured Prefect server answers: asked before a run, and when something fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.errors import IncompleteRunError, RequestError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

ADVICE = (
    "start it, correct PREFECT_API_URL and PREFECT_API_AUTH_STRING, or unset PREFECT_API_URL to "
    "have a server for the time of the command"
)


@contextmanager
def reachable_server() -> Iterator[None]:
    """Run a block with the configured Prefect server, where there is one.

    Raises
    ------
    RequestError
        If it does not answer, or refuses this user, before anything was started.
    IncompleteRunError
        If it no longer answers once something has failed.
    """
    problem = server_problem()
    if problem is not None:
        raise RequestError(f"{problem}; {ADVICE}")
    try:
        yield
    except (IncompleteRunError, VerificationError, ValueError, OSError):
        raise
    except Exception as error:
        problem = server_problem()
        if problem is None:
            raise
        raise IncompleteRunError(
            f"{problem}; what is finished is recorded, run the same command to go on", {}
        ) from error


def server_problem() -> str | None:
    """What is wrong with the configured Prefect server; None without one, or if it answers."""
    from prefect.client.orchestration import get_client  # noqa: TID251 no flow here
    from prefect.settings import PREFECT_API_URL  # noqa: TID251

    url = PREFECT_API_URL.value()
    if not url:
        return None
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
    except Exception as error:
        # The address that a client adds may hold a password.
        reason = " ".join(str(error).split()).partition(" for url")[0] or type(error).__name__
        if "401" in reason or "403" in reason:
            return f"the Prefect server at {_place(url)} refuses the credentials"
        return f"the Prefect server at {_place(url)} does not answer ({reason[:200]})"
    return None


def _place(url: str) -> str:
    """A URL without the password that it may hold."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
