"""A PostgreSQL cluster of its own: loopback only, one user, gone afterwards."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import HOST, ServiceAbsentError, await_port, daemon, free_ports, need

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("postgresql", "postgresql-client")
USER = "prefect"
ACCOUNT = "postgres"  # the server refuses to run as root
COMMAND_SECONDS = 120
QUICK = ("fsync=off", "synchronous_commit=off", "shared_buffers=64MB")


@contextmanager
def postgres() -> Iterator[str]:
    """Start a cluster with one empty database; its URL for SQLAlchemy with asyncpg.

    Raises
    ------
    ServiceAbsentError
        If PostgreSQL is not installed.
    """
    binaries = _binaries()
    # Not below a folder of root's, which the account of the server could not enter.
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        data, password = folder / "data", secrets.token_hex(16)
        _make_cluster(binaries, data, password)
        (port,) = free_ports(1)
        settings = (f"listen_addresses={HOST}", f"port={port}", f"unix_socket_directories={data}")
        options = [part for setting in (*settings, *QUICK) for part in ("-c", setting)]
        command = [*_as_account(), binaries / "postgres", "-D", data, *options]
        log = folder / "log.txt"
        with daemon(command, log, env={"PGPASSWORD": ""}) as server:
            await_port(port, server, log)
            _make_database(binaries, port, password)
            yield f"postgresql+asyncpg://{USER}:{password}@{HOST}:{port}/{USER}"


def _binaries() -> Path:
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if not found:
        raise ServiceAbsentError(
            f"initdb not found; `make test-services` installs {' '.join(PACKAGES)}"
        )
    folder = found[-1].parent
    need(PACKAGES, [folder / name for name in ("initdb", "postgres", "psql")])
    return folder


def _as_account() -> list[str]:
    if os.geteuid() != 0:
        return []
    # A change of account forgets that the server is to die with us: said again.
    account = [f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
    return ["setpriv", *account, "--pdeathsig", "KILL"]


def _make_cluster(binaries: Path, data: Path, password: str) -> None:
    data.mkdir(mode=0o700)
    secret = data.with_name("password")
    secret.write_text(password)
    if os.geteuid() == 0:
        for path in (data, secret):
            subprocess.run(["chown", f"{ACCOUNT}:{ACCOUNT}", path], check=True)
    secret.chmod(0o600)
    options = ["-D", data, "-A", "scram-sha-256", "-U", USER, f"--pwfile={secret}", "--no-sync"]
    _run([*_as_account(), binaries / "initdb", *options])


def _make_database(binaries: Path, port: int, password: str) -> None:
    query = ["-q", "-c", f"create database {USER}"]
    address = ["-h", HOST, "-p", str(port), "-U", USER, "-d", "postgres"]
    _run([binaries / "psql", *address, *query], PGPASSWORD=password)


def _run(command: list[str | Path], **env: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        cwd="/",
        env={**os.environ, **env},
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]} failed: {done.stderr.strip()[-600:]}")
