"""What Ray reads from the environment, and the addresses and tokens it is given.

Ray takes these settings when it is imported, so they have to be there before. They hold for one
process only: on a cluster every other process needs the same, which is what ``deploy/ray.env`` is
for. Nothing here imports Ray, so that bad input is refused before anything is started.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCAL = "local"
AUTO = "auto"

# For a cluster of several machines: with Ray's own values a task whose link is cut may wait for
# ever. A silent node is given up after 4 × (2 + 5) seconds at the latest, a silent connection
# after 20.
KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "4",
}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DEDUP_LOGS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}
# A cluster of our own: on loopback only, and without the port that hands out its metrics. No link
# can be cut there, but a busy machine may keep a process waiting for a while.
PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_enable_metrics_collection": "0",
    # The first driver would wait for workers started in advance; for ever, if one of them dies.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
}
# What Ray's own layer would write to our stderr at every attempt to reach a cluster.
JOINED = {"RAY_BACKEND_LOG_LEVEL": "error"}
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):(\d{1,5})")
_WHERE_TOKENS_ARE = "RAY_AUTH_TOKEN_PATH to the file with the token of that cluster"


def apply_settings(address: str) -> None:
    """Put the settings into this process's environment; what is there already stays.

    Parameters
    ----------
    address : str
        As `cluster_address` gives it.
    """
    for key, value in (QUIET | (PRIVATE if address == LOCAL else KEEPALIVE | JOINED)).items():
        os.environ.setdefault(key, value)
    if address == LOCAL:
        private_token()
    elif os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        # Ray heeds a token only where it is told to.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def cluster_address(given: str | None, environment: Mapping[str, str]) -> str:
    """The cluster that is meant: ``local`` for one of our own, ``auto``, or ``HOST:PORT``.

    Parameters
    ----------
    given : str or None
        What the job says; None leaves it to ``RAY_ADDRESS``.
    environment : mapping of str
        Of this process.

    Raises
    ------
    RequestError
        If it is the address of something else, or if the token for the cluster is missing.
    """
    # "local", as Ray would join a cluster that somebody else has started on this machine.
    address = given or environment.get("RAY_ADDRESS") or LOCAL
    if address == AUTO:
        address = environment.get("RAY_ADDRESS") or AUTO
    _check_form(address)
    if address != LOCAL:
        _check_token(address, environment)
    return address


def host_and_port(address: str) -> tuple[str, int] | None:
    """Host and port of an address; None for ``local`` and ``auto``."""
    found = _HOST_AND_PORT.fullmatch(address)
    return (found[1].strip("[]"), int(found[2])) if found else None


def _check_form(address: str) -> None:
    if address.startswith("ray://"):
        raise RequestError(
            f"address {address} is one for Ray Client, which loses its work when the line drops; "
            "run the command on a machine of the cluster with --address auto, "
            "or hand it over with `maskmill submit ray`"
        )
    if address.startswith(("http://", "https://")):
        raise RequestError(
            f"address {address} is that of a dashboard; hand the job over with "
            "`maskmill submit ray --address …`, or give HOST:PORT of the head, mostly port 6379"
        )
    if address not in (LOCAL, AUTO) and host_and_port(address) is None:
        raise RequestError(f"address {address} is no Ray cluster; expected auto or HOST:PORT")


def _check_token(address: str, environment: Mapping[str, str]) -> None:
    """Look for the token first: Ray ends the whole process where it cannot read one."""
    path = environment.get("RAY_AUTH_TOKEN_PATH")
    mode = environment.get("RAY_AUTH_MODE") or ("token" if path else "")
    if mode.lower() != "token" or environment.get("RAY_AUTH_TOKEN"):
        return
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    try:
        token = file.read_text().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise RequestError(
            f"the token for the Ray cluster {address} cannot be read from {file} ({reason}); "
            f"set {_WHERE_TOKENS_ARE}"
        ) from error
    if not token:
        raise RequestError(
            f"{file} holds no token for the Ray cluster {address}; set {_WHERE_TOKENS_ARE}"
        )


def private_token() -> None:
    """Give a cluster of our own a token that only we can read, where none is set."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="maskmill-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    token = folder / "ray_token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


@contextmanager
def no_dashboard() -> Iterator[dict[str, Any]]:
    """Options under which Ray starts no dashboard; good until the context ends.

    Without its pages the dashboard's process is still started, to report the use of Ray. Forbidden
    to, it nevertheless asks the name server and 169.254.169.254 which cloud this is. Ray does
    without that process where its port is taken.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield {"include_dashboard": False, "dashboard_port": taken.getsockname()[1]}
