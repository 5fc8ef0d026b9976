"""The programs that images bring along, run as they are; other programs are played by scripts."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
SECONDS = 20.0


def shell(script, *arguments, **environment):
    return subprocess.run(
        ["/bin/sh", DEPLOY / script, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_secret_of_a_file_is_in_the_environment_of_the_command(tmp_path):
    secret = tmp_path / "auth"
    secret.write_text("admin:a b$c\n")
    done = shell(
        "with_secrets.sh",
        *("sh", "-c", 'echo "$PREFECT_API_AUTH_STRING" "$1"', "sh", "two words"),
        PREFECT_API_AUTH_STRING_FILE=str(secret),
    )
    assert (done.returncode, done.stdout) == (0, "admin:a b$c two words\n")


def test_without_secrets_the_command_just_runs():
    assert shell("with_secrets.sh", "sh", "-c", "exit 3").returncode == 3


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_that_is_not_there_is_said_and_nothing_runs(tmp_path, content):
    secret = tmp_path / "auth"
    if content is not None:
        secret.write_text(content)
    done = shell(
        "with_secrets.sh", "echo", "ran", PREFECT_SERVER_DATABASE_PASSWORD_FILE=str(secret)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"PREFECT_SERVER_DATABASE_PASSWORD_FILE={secret} is empty or cannot be" in done.stderr


PREFECT = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *inspect*) grep -qx "$*" "$KNOWN" ;;
esac
"""


def set_up(folder, known):
    """Calls of ``prefect`` that the script makes where some things are known already."""
    program = folder / "prefect"
    program.write_text(PREFECT)
    program.chmod(0o755)
    for name in ("set_up.sh", "prefect.yaml", "automations.yaml"):
        shutil.copy(DEPLOY / name, folder)
    (folder / "known").write_text(known)
    done = subprocess.run(
        ["/bin/sh", folder / "set_up.sh"],
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CALLS": str(folder / "calls"),
            "KNOWN": str(folder / "known"),
        },
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0
    calls = (folder / "calls").read_text().splitlines()
    return [call for call in calls if "inspect" not in call]


def test_a_new_server_is_told_everything(tmp_path):
    assert set_up(tmp_path, "") == [
        "work-pool create maskmill --type process",
        "work-queue create gpu --pool maskmill",
        "work-queue create cpu --pool maskmill",
        "work-queue set-concurrency-limit gpu 1 --pool maskmill",
        f"deploy --prefect-file {tmp_path}/prefect.yaml --all",
        f"automation create --from-file {tmp_path}/automations.yaml",
    ]


def test_a_server_that_knows_it_is_told_again_and_has_nothing_twice(tmp_path):
    known = (
        "work-pool inspect maskmill\nwork-queue inspect gpu --pool maskmill\n"
        "work-queue inspect cpu --pool maskmill\n"
        "automation inspect crash-runs-without-a-sign-of-life\n"
    )
    assert set_up(tmp_path, known) == [
        "work-queue set-concurrency-limit gpu 1 --pool maskmill",
        f"deploy --prefect-file {tmp_path}/prefect.yaml --all",
        "automation delete crash-runs-without-a-sign-of-life",
        f"automation create --from-file {tmp_path}/automations.yaml",
    ]


def beside(node, *command, **environment):
    """Start a command beside a node that a shell plays."""
    return subprocess.Popen(
        [sys.executable, DEPLOY / "beside_ray.py", *command],
        env={**os.environ, "KUBERAY_GEN_RAY_START_CMD": node, **environment},
    )


def say(folder, name, then="exec sleep 60"):
    """A shell that notes that it began, and how it was ended."""
    note = folder / name
    return f"trap 'echo ended >> {note}; exit 5' TERM; echo began >> {note}; {then}"


def noted(path):
    return path.read_text().split() if path.is_file() else []


def await_notes(path, count):
    deadline = time.monotonic() + SECONDS
    while len(noted(path)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return noted(path)


WAITING = "while true; do sleep 0.1; done"


def test_its_exit_code_is_the_commands_and_the_node_ends_too(tmp_path):
    node = f'sh -c "{say(tmp_path, "node", WAITING)}"'
    running = beside(node, "sh", "-c", f"until [ -s {tmp_path}/node ]; do sleep 0.1; done; exit 3")
    assert running.wait(SECONDS) == 3
    assert noted(tmp_path / "node") == ["began", "ended"]


def test_without_its_node_the_command_is_asked_to_end(tmp_path):
    node = f"sh -c 'until [ -s {tmp_path}/command ]; do sleep 0.1; done'"
    running = beside(node, "sh", "-c", say(tmp_path, "command", WAITING))
    assert running.wait(SECONDS) == 1
    assert noted(tmp_path / "command") == ["began", "ended"]


def test_a_signal_reaches_the_command_before_the_node(tmp_path):
    both = tmp_path / "both"
    node = f"sh -c \"trap 'echo node >> {both}; exit 0' TERM; echo began >> {both}; {WAITING}\""
    command = f"trap 'echo command >> {both}; exit 4' TERM; echo began >> {both}; {WAITING}"
    running = beside(node, "sh", "-c", command)
    assert await_notes(both, 2) == ["began", "began"]
    running.send_signal(signal.SIGTERM)
    assert running.wait(SECONDS) == 4
    assert noted(both)[2:] == ["command", "node"]


def test_a_command_that_is_killed_ends_as_in_a_shell(tmp_path):
    assert beside("sleep 60", "sh", "-c", "kill -9 $$").wait(SECONDS) == 128 + 9


@pytest.mark.parametrize(("node", "command"), [("", ("true",)), ("sleep 60", ())])
def test_it_says_what_it_needs(node, command):
    assert beside(node, *command).wait(SECONDS) == 2


def test_a_host_and_port_are_joined_without_cpus(tmp_path):
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/joined\nexec sleep 60\n')
    ray.chmod(0o755)
    wait = f"until [ -s {tmp_path}/joined ]; do sleep 0.1; done"
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert beside("", "sh", "-c", wait, RAY_HEAD="head:6379", PATH=path).wait(SECONDS) == 0
    assert (tmp_path / "joined").read_text().split() == [
        *("start", "--block", "--address=head:6379", "--num-cpus=0", "--num-gpus=0"),
        "--object-store-memory=100000000",
    ]


class _Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, *arguments):
        """Say nothing."""


def test_a_page_answers_or_does_not():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        codes = [asked(f"{url}/{page}") for page in ("well", "ill")]
        server.shutdown()
    assert [*codes, asked(url)] == [0, 1, 1]


def asked(url):
    command = [sys.executable, DEPLOY / "answers.py", url]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode
