"""A proxy in front of a store that disturbs what passes through it.

mitmproxy lives in an environment of its own, ``.venv-services``, as it pins what others need. ::

    with fault_proxy(ceph.endpoint.url, folder) as proxy:
        proxy.disturb("slow-down", every=3)
        …                                   # work through proxy.url
        proxy.requests()
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.daemons import HOST, await_port, daemon, free_ports, need

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MITMDUMP = ROOT / ".venv-services" / "bin" / "mitmdump"
ADDON = Path(__file__).with_name("faults.py")


@dataclass(slots=True)
class FaultProxy:
    """A running proxy.

    Attributes
    ----------
    target : str
        URL of the store.
    folder : Path
        Its files.
    port : int
        Where it listens, also after it was stopped and started again.
    """

    target: str
    folder: Path
    port: int
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """The store, through the proxy."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Let requests pass."""
        log = self.folder / "mitmdump.log"
        options = [
            *("-q", "--mode", f"reverse:{self.target}", "--listen-host", HOST),
            # The signature of a request is of its host.
            *("--listen-port", str(self.port), "--set", "keep_host_header=true"),
            *("--set", f"confdir={self.folder / 'conf'}", "-s", ADDON),
        ]
        env = {"MASKMILL_FAULT": str(self._plan), "MASKMILL_FAULT_LOG": str(self._log)}
        process = self._running.enter_context(daemon([MITMDUMP, *options], log, env=env))
        await_port(self.port, process, log)

    def stop(self) -> None:
        """Be gone: connections are refused."""
        self._running.close()

    def disturb(self, mode: str = "", *, every: int = 3) -> None:
        """From now on do this to every n-th request that it is about.

        Parameters
        ----------
        mode : str
            ``latency`` (50 to 500 ms, all requests), ``slow-down`` (503), ``killed`` (the
            connection, before the store hears of it), ``lost-answer`` (the connection, after the
            store has done it), ``truncated`` (half the body, all of its length); none by default.
        """
        partial = self.folder / "fault.new"
        partial.write_text(json.dumps({"mode": mode, "every": every}))
        partial.replace(self._plan)

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far: method, path, status, fault."""
        lines = self._log.read_text().splitlines() if self._log.is_file() else []
        return [json.loads(line) for line in lines]

    @property
    def _plan(self) -> Path:
        return self.folder / "fault.json"

    @property
    def _log(self) -> Path:
        return self.folder / "requests.jsonl"


@contextmanager
def fault_proxy(target: str, folder: Path) -> Iterator[FaultProxy]:
    """Start a proxy that disturbs nothing yet.

    Raises
    ------
    ServiceAbsentError
        If mitmproxy is not installed.
    """
    need(("mitmproxy",), (MITMDUMP,))
    (port,) = free_ports(1)
    proxy = FaultProxy(target, folder, port)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
