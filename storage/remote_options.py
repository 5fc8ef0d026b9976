"""How object stores are reached: patience, plain HTTP.

Everything comes from the environment: the variables of each provider, which the client reads
itself, and two of maskmill's own.

=========================  ========  ===================================================
MASKMILL_STORE_DEADLINE    180       seconds from a request's start in which it is repeated
MASKMILL_STORE_TIMEOUT     60        seconds that one attempt may take
=========================  ========  ===================================================
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from storage.credentials import ENDPOINTS, check_credentials, shared_options
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE, DEADLINE_SECONDS = "MASKMILL_STORE_DEADLINE", 180.0
TIMEOUT, TIMEOUT_SECONDS = "MASKMILL_STORE_TIMEOUT", 60.0
# The deadline ends the repetitions; their number only bounds a store that fails at once.
MAX_RETRIES = 100
# Pauses are drawn between the first and three times the last one: with the usual factor of two
# they hardly grow, and ten of them are over in a few seconds.
BACKOFF = {
    "init_backoff": timedelta(seconds=0.1),
    "base": 3,
    "max_backoff": timedelta(seconds=10),
}


def store_options(
    scheme: str, environ: Mapping[str, str], *, max_retries: int = MAX_RETRIES
) -> dict[str, Any]:
    """Keyword arguments for a store of obstore.

    Parameters
    ----------
    scheme : {"s3", "gs", "az"}
        Of the URL.
    environ : mapping
        Environment variables.
    max_retries : int
        Repetitions of a failing request, within the deadline.

    Raises
    ------
    StorageError
        If a variable is unusable, or the AWS profile it names is.
    StoreAccessError
        If there are no credentials.
    """
    shared = shared_options(environ) if scheme == "s3" else {}
    check_credentials(scheme, {**environ, **shared})
    # The service's own variable wins over the general one, and both over the shared file.
    endpoints = [environ[name] for name in ENDPOINTS[scheme] if environ.get(name)]
    timeout = timedelta(seconds=_seconds(environ, TIMEOUT, TIMEOUT_SECONDS))
    client: dict[str, Any] = {"timeout": timeout}
    if [*endpoints, shared.get("endpoint", "")][0].startswith("http://"):
        client["allow_http"] = True
    return {
        "retry_config": {
            "max_retries": max_retries,
            "retry_timeout": timedelta(seconds=deadline_seconds(environ)),
            "backoff": BACKOFF,
        },
        "client_options": client,
        **({"config": shared} if shared else {}),
    }


def deadline_seconds(environ: Mapping[str, str]) -> float:
    """Seconds from a request's start in which it is repeated.

    Raises
    ------
    StorageError
        If the variable is no such number.
    """
    return _seconds(environ, DEADLINE, DEADLINE_SECONDS)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise StorageError(f"{name} is {text!r}; expected seconds, such as {default:g}")
    return seconds
