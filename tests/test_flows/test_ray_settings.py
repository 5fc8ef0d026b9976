"""Settings, addresses and tokens of Ray: what is wrong is said before anything is started."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest

from flows import ray_cluster
from flows.errors import RequestError
from flows.executors import WorkerStartError
from flows.ray_cluster import SLOW_START, _knock, _within, connect
from flows.ray_executor import RayExecutor
from flows.ray_settings import KEEPALIVE, QUIET, apply_settings, cluster_address, host_and_port

HEAD = "10.0.0.1:6379"
ENV_FILE = Path(__file__).parents[2] / "deploy" / "ray.env"


def read_env(path):
    """Lines of KEY=VALUE, as compose and `set -a; . FILE` read them."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_a_cluster_gets_the_settings_that_the_driver_has():
    deployed = read_env(ENV_FILE)
    usage = {"RAY_USAGE_STATS_ENABLED": QUIET["RAY_USAGE_STATS_ENABLED"]}
    assert deployed == {**KEEPALIVE, **usage, "RAY_AUTH_MODE": "token"}
    # Neither compose nor a shell would take quotes and blanks the same way.
    assert all(value.isalnum() for value in deployed.values())


def test_a_cut_link_is_seen_well_within_a_minute():
    """A node: all its checks, each after a pause; a connection: a silent time, then a ping."""
    value = {key.removeprefix("RAY_").removesuffix("_ms"): int(v) for key, v in KEEPALIVE.items()}
    check = value["health_check_period"] + value["health_check_timeout"]
    assert value["health_check_failure_threshold"] * check <= 30_000
    ping = value["grpc_client_keepalive_time"] + value["grpc_client_keepalive_timeout"]
    assert ping <= 30_000
    # But a worker that holds the interpreter for a while is not given up.
    assert value["health_check_timeout"] >= 5_000
    assert value["grpc_client_keepalive_timeout"] >= 5_000


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [
        (None, {}, "local"),
        (None, {"RAY_ADDRESS": "head:6379"}, "head:6379"),
        ("auto", {}, "auto"),
        ("auto", {"RAY_ADDRESS": "head:6379"}, "head:6379"),
        ("local", {"RAY_ADDRESS": "head:6379"}, "local"),
        (HEAD, {"RAY_ADDRESS": "head:6379"}, HEAD),
        ("[fd00::1]:6379", {}, "[fd00::1]:6379"),
    ],
)
def test_which_cluster_is_meant(given, environment, address):
    assert cluster_address(given, environment) == address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "address ray://head:10001 is one for Ray Client.*--address auto"),
        ("http://head:8265", "address http://head:8265 is that of a dashboard.*submit ray "),
        ("https://head", "is that of a dashboard"),
        ("head", "address head is no Ray cluster; expected auto or HOST:PORT"),
        ("head:port", "address head:port is no Ray cluster"),
        ("fd00::1:6379", "address fd00::1:6379 is no Ray cluster"),
        ("head:6379/path", "is no Ray cluster"),
    ],
)
def test_other_addresses_are_refused(address, message):
    with pytest.raises(RequestError, match=message):
        cluster_address(address, {})
    with pytest.raises(RequestError, match=message):
        cluster_address(None, {"RAY_ADDRESS": address})


def test_an_address_has_a_host_and_a_port():
    assert host_and_port(HEAD) == ("10.0.0.1", 6379)
    assert host_and_port("[fd00::1]:1") == ("fd00::1", 1)
    assert host_and_port("auto") is None


def test_a_missing_token_is_told_before_ray_would_end_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    empty, binary, good = tmp_path / "empty", tmp_path / "binary", tmp_path / "good"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe\x00")
    good.write_text("0123\n")
    token = {"RAY_AUTH_MODE": "token"}
    table = [
        (token, r"\.ray/auth_token \(No such file or directory\); set RAY_AUTH_TOKEN_PATH"),
        (token | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}, "cannot be read from .*none"),
        ({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}, "cannot be read from .*none"),
        (token | {"RAY_AUTH_TOKEN_PATH": str(empty)}, "empty holds no token for the Ray cluster"),
        (token | {"RAY_AUTH_TOKEN_PATH": str(binary)}, "cannot be read from .*no text"),
    ]
    for environment, message in table:
        with pytest.raises(RequestError, match=message):
            cluster_address(HEAD, environment)
        # A cluster of our own gets a token of its own.
        assert cluster_address(None, environment) == "local"
    for environment in (
        token | {"RAY_AUTH_TOKEN_PATH": str(good)},
        token | {"RAY_AUTH_TOKEN": "0123"},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": str(empty)},
    ):
        assert cluster_address(HEAD, environment) == HEAD


def test_a_bad_request_makes_no_executor(monkeypatch):
    with pytest.raises(RequestError, match="Ray Client"):
        RayExecutor(workers=1, cpus_per_worker=1.0, address="ray://head:10001")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    with pytest.raises(RequestError, match="/nowhere/token"):
        RayExecutor(workers=1, cpus_per_worker=1.0, address=HEAD)


@pytest.fixture
def empty_environment(monkeypatch):
    """None of our settings in the environment; afterwards it is what it was."""
    before = dict(os.environ)
    for key in [key for key in os.environ if key.startswith("RAY_")]:
        monkeypatch.delenv(key)
    yield
    for key in set(os.environ) - set(before):
        del os.environ[key]


@pytest.mark.usefixtures("empty_environment")
def test_settings_that_are_there_stay():
    period = "RAY_health_check_period_ms"
    os.environ[period] = "77"
    apply_settings(HEAD)
    assert os.environ[period] == "77"
    others = {key: value for key, value in KEEPALIVE.items() if key != period}
    assert others.items() <= os.environ.items()
    assert "RAY_AUTH_MODE" not in os.environ
    assert "RAY_enable_metrics_collection" not in os.environ


@pytest.mark.usefixtures("empty_environment")
def test_a_token_is_heeded_without_being_asked_for():
    os.environ["RAY_AUTH_TOKEN_PATH"] = "/run/secrets/token"  # noqa: S105 only a path
    apply_settings(HEAD)
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.usefixtures("empty_environment")
def test_a_cluster_of_our_own_has_no_port_for_metrics_and_bears_a_busy_machine():
    apply_settings("local")
    expected = {"RAY_enable_metrics_collection": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    assert expected.items() <= os.environ.items()
    timeout = "RAY_health_check_timeout_ms"
    assert int(os.environ[timeout]) > int(KEEPALIVE[timeout])


@contextmanager
def listener(answer):
    """A server that sends its answer to everyone, or nothing; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            line, _ = server.accept()
            with line:
                line.recv(100)
                if answer is None:
                    line.recv(1)
                else:
                    line.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_what_is_not_ray_is_told_within_seconds(monkeypatch):
    monkeypatch.setattr(ray_cluster, "KNOCK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(WorkerStartError, match=f"no Ray cluster answers at {nobody}.*refused"):
        _knock(nobody)
    with listener(None) as silent, pytest.raises(WorkerStartError, match="timed out"):
        _knock(silent)
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with listener(answer) as other, pytest.raises(WorkerStartError, match="is not Ray"):
            _knock(other)
    with pytest.raises(WorkerStartError, match=r"no-such-host\.invalid"):
        _knock("no-such-host.invalid:6379")
    assert time.monotonic() - started < 30


def test_ray_is_let_in():
    """Every server of gRPC greets like Ray's."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        _knock(f"127.0.0.1:{port}")
    finally:
        server.stop(None).wait()
    _knock("auto")
    _knock("local")


@pytest.fixture
def fresh_ray():
    """Ray reads its settings when it is imported: the ones that tests after this one need."""
    apply_settings("local")


@pytest.mark.usefixtures("fresh_ray")
def test_a_node_that_was_slow_to_start_is_started_once_more(monkeypatch):
    assert SLOW_START in Path(find_spec("ray._private.node").origin).read_text()
    tries = []

    def start(address, **options):
        tries.append((address, options))
        if len(tries) < enough:
            raise RuntimeError(f"The current node {SLOW_START}. This could happen …")

    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("ray.shutdown", lambda: tries.append("shutdown"))
    enough = 3
    connect("local", {"num_cpus": 1})
    assert tries == [("local", {"num_cpus": 1}), "shutdown", ("local", {"num_cpus": 1})]
    tries.clear()
    enough = 9
    with pytest.raises(WorkerStartError, match="run the same command again"):
        connect("local", {})
    assert len(tries) == 3


@pytest.mark.usefixtures("fresh_ray")
def test_a_start_that_waits_for_ever_is_given_up(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(ray_cluster, "START_SECONDS", 0.2)
    monkeypatch.setattr("ray.init", lambda address, **options: ended.wait())
    with pytest.raises(WorkerStartError, match=r"did not answer within 0\.2 s.*again"):
        connect("local", {})
    ended.set()


def test_what_has_started_ray_stays_as_long_as_ray():
    """The kernel ends the processes of a thread that has ended."""
    threads = []
    _within(5, lambda: threads.append(threading.current_thread()))
    time.sleep(0.2)
    assert threads[0].is_alive()
    assert threads[0].daemon
