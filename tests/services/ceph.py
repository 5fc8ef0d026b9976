"""A Ceph cluster of one host with its S3 gateway, on loopback, in memory, gone afterwards.

One monitor, one object storage daemon that keeps everything in memory, one RADOS gateway. ::

    with ceph_gateway() as ceph:
        os.environ |= ceph.endpoint.environment

By hand: ``python -m tests.services.ceph`` prints the variables to export and serves until Ctrl-C.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.services.daemons import HOST, await_port, daemon, free_ports, need, paused
from tests.services.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")
BINARIES = (
    *("ceph", "ceph-authtool", "ceph-mon", "ceph-osd"),
    *("monmaptool", "radosgw", "radosgw-admin"),
)
COMMAND_SECONDS = 60
# Old clients may reclaim a session; the gateway of the same release needs no such thing.
RECLAIM = "auth_allow_insecure_global_id_reclaim"
# Places, one replica on one disk, and nothing that a cluster of one host would wait for. A disk
# without replicas never answers again once it was paused for longer than its read lease, which is
# a share of the grace of heartbeats: hence the long one.
SETTINGS = """\
[global]
fsid = {fsid}
mon host = [v2:{host}:{mon2},v1:{host}:{mon1}]
public addr = {host}
cluster addr = {host}
ms bind ipv6 = false
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd pool default flag hashpspool = true
osd crush chooseleaf type = 0
osd heartbeat grace = 600
osd objectstore = memstore
memstore device bytes = 4294967296
mon allow pool size one = true
mon warn on pool no redundancy = false
paxos propose interval = 0.05
osd data = {folder}/osd
mon data = {folder}/mon
rgw data = {folder}/rgw
run dir = {folder}/run
log file = {folder}/log/$name.log
admin socket = {folder}/run/$name.asok
rgw frontends = beast endpoint={host}:{rgw} tcp_nodelay=1
rgw dns name = localhost
rgw run sync thread = false
rgw thread pool size = 64
"""
KEYS = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "client.rgw.a": ("mon", "allow rw", "osd", "allow rwx"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
}


@dataclass(frozen=True, slots=True)
class Ceph:
    """A running cluster.

    Attributes
    ----------
    endpoint : Endpoint
        Its S3 gateway.
    disk : subprocess.Popen
        The daemon that holds the objects.
    """

    endpoint: Endpoint
    disk: subprocess.Popen[bytes]

    def stalled(self) -> AbstractContextManager[None]:
        """Pause the disk: requests hang, none fails."""
        return paused(self.disk)


@contextmanager
def ceph_gateway() -> Iterator[Ceph]:
    """Start a cluster with an empty store and one user.

    Raises
    ------
    ServiceAbsentError
        If Ceph is not installed.
    """
    need(PACKAGES, BINARIES)
    # A short path: the daemons' sockets live in it.
    with tempfile.TemporaryDirectory(prefix="ceph-") as place, ExitStack() as stack:
        folder = Path(place)
        mon2, mon1, port = free_ports(3)
        _prepare(folder, mon2, mon1, port)
        conf = ("--conf", str(folder / "ceph.conf"))
        logs = folder / "log"
        stack.enter_context(daemon(["ceph-mon", *conf, "-i", "a", "-f"], logs / "mon.out"))
        _run(
            "ceph", *conf, "config", "set", "mon", "auth_allow_insecure_global_id_reclaim", "false"
        )
        osd = str(uuid4())
        _run("ceph", *conf, "osd", "new", osd)
        _run("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        disk = stack.enter_context(daemon(["ceph-osd", *conf, "-i", "0", "-f"], logs / "osd.out"))
        gateway = stack.enter_context(
            daemon(["radosgw", *conf, "-n", "client.rgw.a", "-f"], logs / "rgw.out")
        )
        await_port(port, gateway, logs / "client.rgw.a.log")
        yield Ceph(_user(conf, port), disk)


def _prepare(folder: Path, mon2: int, mon1: int, port: int) -> None:
    """Settings, keys and the first map of a new cluster."""
    for name in ("mon", "osd", "rgw", "run", "log"):
        (folder / name).mkdir()
    fsid = str(uuid4())
    settings = SETTINGS.format(fsid=fsid, host=HOST, mon2=mon2, mon1=mon1, rgw=port, folder=folder)
    (folder / "ceph.conf").write_text(settings)
    keyring = str(folder / "keyring")
    for number, (name, rights) in enumerate(KEYS.items()):
        caps = [
            part
            for service, right in zip(rights[::2], rights[1::2], strict=True)
            for part in ("--cap", service, right)
        ]
        new = [] if number else ["--create-keyring"]
        _run("ceph-authtool", *new, keyring, "--gen-key", "-n", name, *caps)
    first = str(folder / "monmap")
    address = f"[v2:{HOST}:{mon2},v1:{HOST}:{mon1}]"
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, first)
    conf = ("--conf", str(folder / "ceph.conf"))
    _run("ceph-mon", *conf, "-i", "a", "--mkfs", "--monmap", first, "--keyring", keyring)


def _user(conf: tuple[str, str], port: int) -> Endpoint:
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    user = [
        "--uid=tester",
        "--display-name=tester",
        f"--access-key={key}",
        f"--secret-key={secret}",
    ]
    _run("radosgw-admin", *conf, "user", "create", *user)
    return Endpoint(f"http://{HOST}:{port}", key, secret)


def _run(*arguments: str) -> None:
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:3])} … failed: {done.stderr.strip()[-600:]}")


def main() -> None:
    """Serve until Ctrl-C."""
    with ceph_gateway() as ceph:
        ceph.endpoint.make_bucket("maskmill")
        for name, value in ceph.endpoint.environment.items():
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.write("# bucket s3://maskmill; Ctrl-C ends the store and all that is in it\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
