"""What a disturbed store does to requests: an addon, run by mitmproxy in its own environment.

``MASKMILL_FAULT`` names a JSON file with ``{"mode": …, "every": …, "seed": …}``, read again for
every request, so that a test changes it while the proxy runs; ``MASKMILL_FAULT_LOG`` gets one
JSON line for each request.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

from mitmproxy import http

SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slow</Message></Error>'
LATENCY_SECONDS = (0.05, 0.5)


class Faults:
    """Disturbs every n-th request, and counts."""

    def __init__(self) -> None:
        self.plan = Path(os.environ["MASKMILL_FAULT"])
        self.log = Path(os.environ["MASKMILL_FAULT_LOG"])
        self.random = random.Random(0)  # noqa: S311 delays, no secrets
        self.seen = 0
        self.hit: dict[str, str] = {}

    def mode(self) -> dict[str, Any]:
        """What is asked for now."""
        try:
            return dict(json.loads(self.plan.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def write(self, flow: http.HTTPFlow, fault: str) -> None:
        """One line for a request."""
        path = flow.request.path.partition("?")[0]
        status = flow.response.status_code if flow.response else None
        line = {"method": flow.request.method, "path": path, "status": status, "fault": fault}
        line["only_new"] = "if-none-match" in flow.request.headers
        with self.log.open("a") as log:
            log.write(json.dumps(line) + "\n")

    async def request(self, flow: http.HTTPFlow) -> None:
        """Before the store hears of it."""
        mode = self.mode()
        name = mode.get("mode", "")
        if name == "latency":
            await asyncio.sleep(self.random.uniform(*LATENCY_SECONDS))
        if not _is_meant(name, flow):
            return
        self.seen += 1
        if self.seen % mode.get("every", 3):
            return
        self.hit[flow.id] = name
        if name == "slow-down":
            flow.response = http.Response.make(503, SLOW_DOWN, {"content-type": "application/xml"})
        elif name == "killed":
            self.write(flow, self.hit.pop(flow.id))
            flow.kill()

    async def response(self, flow: http.HTTPFlow) -> None:
        """After the store has done it."""
        name = self.hit.pop(flow.id, "")
        self.write(flow, name)
        body = flow.response.raw_content if flow.response else None
        if name == "lost-answer":
            flow.kill()
        elif name == "truncated" and body:
            # The length still promises all of it.
            flow.response.raw_content = body[: len(body) // 2]
            flow.response.headers["connection"] = "close"


def _is_meant(name: str, flow: http.HTTPFlow) -> bool:
    """Whether a kind of fault is about this kind of request."""
    methods = {"lost-answer": ("PUT", "POST", "DELETE"), "truncated": ("GET",)}
    return bool(name) and flow.request.method in methods.get(name, (flow.request.method,))


addons = [Faults()]
