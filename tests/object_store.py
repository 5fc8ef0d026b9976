"""An S3 server in this process, on loopback, that remembers what was asked and may misbehave.

The server is moto's. It keeps objects in memory, honours ``If-None-Match`` and checks no
credentials. In front of it stands a small piece that a test can tell what to do with a request::

    with server.answering(lambda asked: "503 Slow Down" if asked.method == "PUT" else None):
        …
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.request import Request, urlopen

import pytest

# After these words the request is carried out, and only its acknowledgement is lost.
LOST = "lost "
# The request is carried out, and only half of the answer arrives, said to be all of it.
CUT = "cut"
# The same, and the connection ends before as much has come as was promised.
TORN = "torn"
REFUSAL = b"<Error><Code>%s</Code><Message>as the test wants it</Message></Error>"
NUMBERS = count(1)


@dataclass(frozen=True)
class Asked:
    """One request: its method, its path, and what else decides the answer."""

    method: str
    path: str
    query: str
    range: str
    only_if_absent: bool


# Status line of the answer to give instead; None lets the request through.
Answer = Callable[[Asked], str | None]


@dataclass
class ObjectServer:
    """The server and what was asked of it since it was last cleared."""

    asked: list[Asked] = field(default_factory=list)
    answer: Answer = lambda _asked: None
    url: str = ""

    def serve(self, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        """One request of the web server's."""
        asked = Asked(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ.get("HTTP_RANGE", ""),
            environ.get("HTTP_IF_NONE_MATCH") == "*",
        )
        self.asked.append(asked)
        status = self.answer(asked)
        if status is None:
            return app(environ, start_response)
        if status in (CUT, TORN):
            return half_of(app, environ, start_response, told=status == CUT)
        if status.startswith(LOST):
            for _ in app(environ, lambda *_: None):
                pass
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status = status.removeprefix(LOST)
        body = REFUSAL % status.partition(" ")[2].replace(" ", "").encode()
        start_response(status, [("Content-Length", str(len(body)))])
        return [b"" if asked.method == "HEAD" else body]

    @contextmanager
    def answering(self, answer: Answer) -> Iterator[None]:
        """Let a function decide what becomes of every request."""
        self.answer = answer
        try:
            yield
        finally:
            self.answer = ObjectServer.answer

    def methods(self) -> list[str]:
        """Methods of the requests since the last call, in order."""
        found = [asked.method for asked in self.asked]
        self.asked.clear()
        return found


def half_of(app: Any, environ: dict[str, Any], start_response: Any, *, told: bool) -> list[bytes]:
    """The first half of an answer's body; the length that is told is that of the half, or not."""
    said: list[Any] = []
    body = b"".join(app(environ, lambda *answer: said.append(answer)))
    half = body[: len(body) // 2]
    status, headers, *_ = said[0]
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    length = str(len(half if told else body))
    start_response(status, [*kept, ("Content-Length", length), ("Connection", "close")])
    return [half]


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """The one server of the session."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    server = ObjectServer()
    app = DomainDispatcherApplication(create_backend_app)
    web = make_server(
        "127.0.0.1",
        0,
        lambda environ, start_response: server.serve(app, environ, start_response),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    server.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield server
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def bucket(object_server, monkeypatch) -> str:
    """URL of an empty bucket; the environment leads to it, from child processes too."""
    environment = {
        "AWS_ENDPOINT_URL": object_server.url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
        "MASKMILL_STORE_DEADLINE": "20",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    name = f"bucket-{next(NUMBERS)}"
    with urlopen(Request(f"{object_server.url}/{name}", method="PUT")):  # noqa: S310 loopback
        object_server.asked.clear()
    return f"s3://{name}"
