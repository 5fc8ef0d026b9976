"""OpenStack Swift with its S3 interface, on loopback: a store without conditional PUT. ::

with swift_gateway() as endpoint:
    os.environ |= endpoint.environment
"""

from __future__ import annotations

import getpass
import secrets
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import HOST, await_port, daemon, free_ports, need
from tests.services.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("swift-proxy", "swift-account", "swift-container", "swift-object", "memcached")
KINDS = ("account", "container", "object")
BINARIES = (
    *("memcached", "swift-proxy-server", "swift-ring-builder"),
    *(f"swift-{kind}-server" for kind in KINDS),
)
STORAGE = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
# The gateway refuses to start unless symlink stands before versioned_writes.
PROXY = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
[pipeline:main]
pipeline = catch_errors cache s3api tempauth copy slo dlo symlink versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = {host}:{memcache}
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""


@contextmanager
def swift_gateway() -> Iterator[Endpoint]:
    """Start an empty Swift of one device and one user.

    Raises
    ------
    ServiceAbsentError
        If Swift is not installed.
    """
    need(PACKAGES, BINARIES)
    with tempfile.TemporaryDirectory(prefix="swift-") as place, ExitStack() as stack:
        folder = Path(place)
        (folder / "devices" / "disk").mkdir(parents=True)
        memcache, port, *storage = free_ports(2 + len(KINDS))
        fields = {"host": HOST, "folder": folder, "user": getpass.getuser()}
        _start(stack, folder, ["memcached", "-l", HOST, "-p", memcache, "-u", fields["user"]])
        for kind, kind_port in zip(KINDS, storage, strict=True):
            _ring(folder, kind, kind_port)
            settings = folder / f"{kind}.conf"
            settings.write_text(STORAGE.format(kind=kind, port=kind_port, **fields))
            _start(stack, folder, [f"swift-{kind}-server", settings])
        secret = secrets.token_hex(16)
        settings = folder / "proxy.conf"
        settings.write_text(PROXY.format(port=port, memcache=memcache, secret=secret, **fields))
        proxy = _start(stack, folder, ["swift-proxy-server", settings])
        await_port(port, proxy, folder / "swift-proxy-server.log")
        yield Endpoint(f"http://{HOST}:{port}", "test:tester", secret)


def _start(stack: ExitStack, folder: Path, arguments: list[object]) -> subprocess.Popen[bytes]:
    log = folder / f"{arguments[0]}.log"
    return stack.enter_context(daemon([str(a) for a in arguments], log))


def _ring(folder: Path, kind: str, port: int) -> None:
    """The map of one partition on one device."""
    builder = f"{folder}/{kind}.builder"
    device = ("--region", "1", "--zone", "1", "--ip", HOST, "--port", str(port), "--device", "disk")
    for step in (("create", "1", "1", "1"), ("add", *device, "--weight", "1"), ("rebalance",)):
        subprocess.run(
            ["swift-ring-builder", builder, *step], check=True, capture_output=True, timeout=60
        )
