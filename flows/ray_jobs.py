"""Jobs of a running Ray cluster, through its dashboard; with `ray_executor` the home of Ray.

The command runs on the cluster's head. Here its output is shown until it ends; who stops looking
on stops nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.errors import EXIT_DONE, EXIT_OTHER, IncompleteRunError, RequestError
from flows.executors import describe
from flows.report.safe import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS = 10.0
POLL_SECONDS = 2.0
LOST_SECONDS = 60.0
# Ray would take these instead of the address that was asked for.
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")


class RayJobs:
    """The jobs of one cluster.

    Parameters
    ----------
    address : str
        Of the dashboard, such as ``http://HOST:8265``.
    token : str or None
        The cluster's token; None if it asks for none.

    Raises
    ------
    RequestError
        If nothing answers there, or the token is missing or wrong; nothing was started then.
    """

    def __init__(self, address: str, token: str | None) -> None:
        self.address, self._token = address, token
        _check_address(address)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with _refusals(address, token), _without(*OVERRIDES):
            from ray.job_submission import JobSubmissionClient

            self._client = JobSubmissionClient(address, headers=headers)

    def submit(self, document: Mapping[str, Any]) -> str:
        """Start a job; its id.

        Parameters
        ----------
        document : mapping
            ``entrypoint``, ``runtime_env``, ``metadata`` as Ray takes them.

        Raises
        ------
        RequestError
            If the cluster refuses it.
        """
        with _refusals(self.address, self._token):
            return str(self._client.submit_job(**document))

    def follow(self, job: str) -> int:
        """Show what a job says on stderr until it ends; its exit code.

        Raises
        ------
        IncompleteRunError
            On Ctrl-C, or if the cluster does not answer any more; the job is left alone.
        """
        shown = 0
        try:
            while True:
                ended = self._info(job)
                said = str(self._ask(self._client.get_job_logs, job))
                sys.stderr.write(printable(said[shown:]))
                sys.stderr.flush()
                shown = len(said)
                if ended.status in ENDED:
                    return _exit_code(ended)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            raise IncompleteRunError(
                f"job {job} runs on; {self.hints(job)}", {"job": job, "address": self.address}
            ) from None

    def hints(self, job: str) -> str:
        """How to look at a job, and how to stop it."""
        where = f"--address {self.address} {job}"
        return f"`ray job logs --follow {where}` shows it, `ray job stop {where}` stops it"

    def _info(self, job: str) -> Any:
        return self._ask(self._client.get_job_info, job)

    def _ask(self, question: Any, job: str) -> Any:
        """An answer of the cluster, which may be out of reach for a while."""
        deadline = time.monotonic() + LOST_SECONDS
        while True:
            try:
                return question(job)
            # What goes wrong there is of no type of its own.
            except Exception as error:
                if time.monotonic() > deadline:
                    raise IncompleteRunError(
                        f"Ray at {self.address} does not answer any more ({_line(error)}); job "
                        f"{job} may run on: {self.hints(job)}",
                        {"job": job, "address": self.address},
                    ) from error
                time.sleep(POLL_SECONDS)


def _exit_code(info: Any) -> int:
    """Exit code of the command; 1 where Ray knows none, as after a lost head or a stop."""
    if info.status == "SUCCEEDED":
        return EXIT_DONE
    code: int | None = info.driver_exit_code
    return code if code is not None and code > 0 else EXIT_OTHER


def _check_address(address: str) -> None:
    """Refuse what is no dashboard, and what does not answer: Ray would wait for minutes."""
    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise RequestError(
            f"--address {address} is no dashboard; expected http://HOST:8265 of the Ray head"
        )
    try:
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise RequestError(
            f"no Ray dashboard answers at {address} ({error.strerror or error}); check the host, "
            "the port (8265 by default), and that the head was started with a dashboard"
        ) from error


@contextmanager
def _refusals(address: str, token: str | None) -> Iterator[None]:
    """One message for what a cluster says no to."""
    try:
        yield
    # Ray's own errors, those of its HTTP client, and plain ones share no type.
    except Exception as error:
        text = _line(error)
        # Which of the two it is does not tell who gave the token: Ray finds one by itself too.
        if "uthentication required" in text or "uthentication failed" in text:
            given = "that was another one" if token else "none was given"
            text = f"it asks for its own token, and {given}; name the file that holds it with "
            text += "--token-file or RAY_AUTH_TOKEN_PATH"
        raise RequestError(f"Ray at {address} refused: {text}") from error


def _line(error: BaseException) -> str:
    return describe(error).partition("\n")[0]


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Variables taken out of the environment for the time of a block."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)
