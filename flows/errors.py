"""Errors a user can act on, and the exit code each of them means."""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_OTHER = 1
EXIT_REQUEST = 2
EXIT_INCOMPLETE = 3
EXIT_VERIFICATION = 4


class RequestError(ValueError):
    """The request is wrong: nothing was started, nothing was changed."""


class IncompleteRunError(RuntimeError):
    """Some shards have no good record yet; running the same command goes on from there.

    Attributes
    ----------
    result : dict
        What is known so far, in the shape of result.json.
    """

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


class VerificationError(RuntimeError):
    """What is stored disagrees with the records.

    Attributes
    ----------
    result : dict
        What was found, as a command prints it with ``--json``.
    """

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}
