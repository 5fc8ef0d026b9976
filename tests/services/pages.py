"""Pages of a server that asks for a password, in headless Chromium: their text and pictures."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.services.daemons import HOST, await_port, daemon, free_ports, need
from tests.test_flows.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

PAGE_SECONDS = 60.0
# Where Prefect's pages keep the password of their login form.
LOGIN = "localStorage.setItem('prefect-password', btoa({auth}))"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
FLAGS += ("--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync")


@dataclass(frozen=True, slots=True)
class Page:
    """One tab, driven by the browser's own protocol."""

    connection: ClientConnection
    numbers: Iterator[int] = field(default_factory=count)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of a command of the protocol."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.connection.send(json.dumps(message))
        while True:
            answer = json.loads(self.connection.recv(timeout=PAGE_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, url: str, *texts: str) -> str:
        """Go to a page and wait until it shows the texts; all of its text.

        Raises
        ------
        AssertionError
            If it does not show them in time.
        """
        self.command("Page.navigate", url=url)
        return self.shows(*texts)

    def shows(self, *texts: str) -> str:
        """Wait until the page shows the texts; all of its text."""
        deadline = time.monotonic() + PAGE_SECONDS
        while not all(
            text in (seen := self.value("document.body?.innerText ?? ''")) for text in texts
        ):
            assert time.monotonic() < deadline, f"no {texts} in {seen!r}"
            time.sleep(0.3)
        return str(seen)

    def until(self, expression: str) -> None:
        """Wait until an expression in the page is true.

        Raises
        ------
        AssertionError
            If it is not in time.
        """
        deadline = time.monotonic() + PAGE_SECONDS
        while not self.value(expression):
            assert time.monotonic() < deadline, f"{expression} is not true"
            time.sleep(0.3)

    def value(self, expression: str) -> Any:
        """Value of an expression in the page."""
        return self.command("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def screenshot(self, target: Path) -> Path:
        """The page as it is shown now, as a PNG file."""
        shot = self.command("Page.captureScreenshot", format="png")
        target.write_bytes(base64.b64decode(shot["data"]))
        return target


@contextmanager
def chromium(folder: Path, auth: str, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """A browser with a profile of its own, logged in at Prefect's pages.

    Raises
    ------
    ServiceAbsentError
        If there is no Chromium.
    """
    from websockets.sync.client import connect

    need(("chromium",), ["chromium" if CHROMIUM is None else CHROMIUM])
    (port,) = free_ports(1)
    flags = [*FLAGS, f"--remote-debugging-port={port}", f"--user-data-dir={folder / 'profile'}"]
    log = folder / "chromium.txt"
    with daemon([str(CHROMIUM), *flags, f"--window-size={width},{height}"], log) as process:
        await_port(port, process, log)
        new = Request(f"http://{HOST}:{port}/json/new?about:blank", method="PUT")
        with urlopen(new, timeout=PAGE_SECONDS) as answer:  # noqa: S310 a loopback address
            address = json.loads(answer.read())["webSocketDebuggerUrl"]
        with connect(address, max_size=2**26, proxy=None) as connection:
            page = Page(connection)
            page.command("Page.enable")
            login = LOGIN.format(auth=json.dumps(auth))
            page.command("Page.addScriptToEvaluateOnNewDocument", source=login)
            size = {"width": width, "height": height}
            page.command(
                "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False
            )
            yield page
