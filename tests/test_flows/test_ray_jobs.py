"""Jobs of a Ray cluster, against a dashboard that says what it is told to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows import ray_jobs
from flows.errors import IncompleteRunError, RequestError
from flows.ray_jobs import RayJobs

TOKEN = "0123abc"  # noqa: S105 no secret


class Dashboard:
    """What the dashboard knows and was asked.

    A job goes through `states`, one an inquiry; the last one stays.
    """

    def __init__(self, *states, logs="", code=None):
        self.states, self.logs, self.code = list(states), logs, code
        self.submitted, self.inquiries = [], 0

    def answer(self, method, path, body):
        """Status and document."""
        if path == "/api/version":
            return 200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}
        if method == "POST" and path == "/api/jobs/":
            self.submitted.append(json.loads(body))
            if "refuse" in self.submitted[-1]["entrypoint"]:
                return 500, {"msg": "no room"}
            return 200, {"job_id": "j1", "submission_id": "raysubmit_1"}
        if path.endswith("/logs"):
            done = min(self.inquiries, len(self.states))
            return 200, {"logs": self.logs[: len(self.logs) * done // len(self.states)]}
        self.inquiries += 1
        state = self.states[min(self.inquiries, len(self.states)) - 1]
        known = {"type": "SUBMISSION", "entrypoint": "maskmill", "driver_exit_code": self.code}
        return 200, {"submission_id": "raysubmit_1", "status": state, **known}


@contextmanager
def served(dashboard):
    """The dashboard on a port of its own; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply("GET")

        def do_POST(self):
            self.reply("POST")

        def reply(self, method):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = self.headers.get("Authorization")
            if given is None:
                status, document = 401, {"msg": "Missing authentication token"}
            elif given != f"Bearer {TOKEN}":
                status, document = 403, {"msg": "Invalid authentication token"}
            else:
                status, document = dashboard.answer(method, self.path, body)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ray_jobs, "POLL_SECONDS", 0.01)
    # Ray would go there instead.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", None, 1),
        ("FAILED", -9, 1),
        ("STOPPED", None, 1),
    ],
)
def test_the_end_of_a_job_is_that_of_its_command(state, code, expected, capsys):
    dashboard = Dashboard("PENDING", "RUNNING", state, logs="one\ntwo\x1b[2J\nthree\n", code=code)
    with served(dashboard) as address:
        jobs = RayJobs(address, TOKEN)
        job = jobs.submit({"entrypoint": "maskmill segment a", "metadata": {"maskmill": "x"}})
        assert jobs.follow(job) == expected
    (asked,) = dashboard.submitted
    assert asked["entrypoint"] == "maskmill segment a"
    assert asked["metadata"] == {"maskmill": "x"}
    # Every line once, and nothing for the terminal to obey.
    said = capsys.readouterr().err
    assert said.count("one\n") == said.count("three\n") == 1
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("token", "match"),
    [(None, "none was given; name the file"), ("wrong", "asks for its own token, and that was ")],
)
def test_a_cluster_that_is_not_for_us(token, match):
    with served(Dashboard()) as address, pytest.raises(RequestError, match=match):
        RayJobs(address, token)


def test_a_job_that_is_refused():
    with served(Dashboard()) as address:
        jobs = RayJobs(address, TOKEN)
        with pytest.raises(RequestError, match=r"refused: .*no room"):
            jobs.submit({"entrypoint": "refuse"})


def test_a_cluster_that_goes_away_leaves_its_job_alone(monkeypatch):
    monkeypatch.setattr(ray_jobs, "LOST_SECONDS", 0.1)
    with served(Dashboard("RUNNING")) as address:
        jobs = RayJobs(address, TOKEN)
    with pytest.raises(IncompleteRunError, match=r"does not answer any more.*job stop") as caught:
        jobs.follow("raysubmit_1")
    assert caught.value.result == {"job": "raysubmit_1", "address": address}


def test_who_stops_looking_stops_nothing(monkeypatch):
    dashboard = Dashboard("RUNNING")

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_jobs.time, "sleep", interrupt)
    with served(dashboard) as address:
        jobs = RayJobs(address, TOKEN)
        with pytest.raises(IncompleteRunError, match="raysubmit_1 runs on; `ray job logs"):
            jobs.follow("raysubmit_1")
    assert dashboard.submitted == []
