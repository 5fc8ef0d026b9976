import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows import ray_drive
from flows.executors import MAX_ATTEMPTS, Outcome, SerialExecutor, WorkerStartError
from flows.logs import VARIABLE, log_fields
from flows.ray_actor import Surroundings
from flows.ray_cluster import cluster_errors, own_signals
from flows.ray_executor import RayExecutor
from flows.ray_pool import IN_FLIGHT
from storage.graphs import compute_each
from tests.test_flows.works import Gate, Modules, Squares, Unopenable, after, noted, pids

WORKERS = 2


def run(executor, work, items, stop=None):
    return {o.item: o for o in executor.map(work, items, stop or threading.Event())}


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def test_ray_gives_what_the_serial_executor_gives(ray_executor, tmp_path):
    ours, theirs = tmp_path / "ray", tmp_path / "serial"
    ours.mkdir()
    theirs.mkdir()
    found = run(ray_executor, Squares(str(ours), failing=(4,), flaky=(2,)), range(12))
    expected = SerialExecutor().map(
        Squares(str(theirs), failing=(4,), flaky=(2,)), range(12), threading.Event()
    )
    assert found == {o.item: o for o in expected}
    assert found[4].error == "ValueError: item 4 is not to be squared"
    assert 1 <= len(pids(ours, "open")) <= WORKERS
    assert os.getpid() not in pids(ours, "item-0")


def test_an_actor_asks_for_no_more_than_a_machine_has(one_ray_worker, tmp_path):
    """The driver's machine may be larger than any other; a worker would be waited for for ever."""
    found = run(replace(one_ray_worker, cpus_per_worker=64.0), Squares(str(tmp_path)), range(2))
    assert sorted(found) == [0, 1]


def test_workers_that_wait_for_work_get_it(one_ray_worker, tmp_path):
    """They are the ones that compute; graphs send them away, as those need their CPUs."""
    import ray  # noqa: TID251 whose actors they are

    executor = replace(one_ray_worker, _started=False)
    executor.warm(network=False)
    executor.start()
    (spare,) = executor._spares
    member = executor._member(Squares(str(tmp_path)), Surroundings(), 1.0)
    assert member.handle == spare
    assert executor._spares == []
    ray.get(member.ready)
    assert ray.get(member.handle.run.remote(3)) == 9
    ray.kill(member.handle)

    executor.warm(network=False)
    scheduler = executor.dask_scheduler()
    assert list(compute_each(abs, [(-3,)], scheduler=scheduler)) == [3]
    assert executor._spares == []
    executor.close()
    assert ray.is_initialized()


def test_a_cluster_that_cannot_be_started_ahead_is_told_by_who_needs_it(monkeypatch, tmp_path):
    def fail(_executor):
        raise WorkerStartError("no cluster today")

    monkeypatch.setattr(RayExecutor, "_connect", fail)
    executor = RayExecutor(workers=1, cpus_per_worker=1.0)
    executor.warm(network=True)
    with pytest.raises(WorkerStartError, match="no cluster today"):
        run(executor, Squares(str(tmp_path)), [1])
    executor.warm(network=True)
    executor.close()


def test_a_full_disk_stops_the_map(ray_executor, tmp_path):
    stop = threading.Event()
    found = run(
        ray_executor, Squares(str(tmp_path), full_disk=(0,), seconds=0.2), range(1000), stop
    )
    assert found[0].fatal
    assert found[0].attempts == 1
    assert len(found) <= 2 * WORKERS * IN_FLIGHT


def test_few_items_are_in_flight_and_a_stop_waits_for_those_only(ray_executor, tmp_path):
    drawn = []
    items = (drawn.append(i) or i for i in range(10**9))
    stop = threading.Event()
    most = WORKERS * IN_FLIGHT
    opener = after(
        lambda: noted(str(tmp_path), "item-") == most,
        lambda: (stop.set(), (tmp_path / "gate").touch()),
    )
    found = run(ray_executor, Gate(str(tmp_path)), items, stop)
    opener.join()
    assert sorted(found) == drawn == list(range(most))


def test_workers_write_lines_with_the_run_and_the_shard(one_ray_worker, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "json")
    with log_fields(run=str(tmp_path), stage="infer"):
        run(one_ray_worker, Squares(str(tmp_path), failing=(1,)), range(3))
    (pid,) = pids(tmp_path, "open")
    (log,) = worker_logs().glob(f"worker-*-{pid}.err")
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert {(line["run"], line["stage"], line["pid"]) for line in found} == {
        (str(tmp_path), "infer", pid)
    }
    assert Counter((line["event"], line.get("shard")) for line in found) == {
        ("worker-ready", None): 1,
        ("shard-computed", 0): 1,
        ("attempt-failed", 1): MAX_ATTEMPTS,
        ("shard-computed", 2): 1,
    }


def worker_logs():
    import ray  # noqa: TID251 where its workers write

    context = ray.get_runtime_context()
    return Path(context.get_temp_dir(), context.get_session_name(), "logs")


def test_workers_write_no_lines_unless_they_are_asked_to(one_ray_worker, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    run(one_ray_worker, Squares(str(tmp_path), failing=(1,)), range(3))
    (pid,) = pids(tmp_path, "open")
    (log,) = worker_logs().glob(f"worker-*-{pid}.err")
    assert '"event"' not in log.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_executor")
def test_a_cluster_that_does_not_take_our_token_is_told_so(tmp_path):
    """With another token; with the right one the cluster is joined."""
    import ray  # noqa: TID251 the address of the cluster of this session

    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    address = ray.get_runtime_context().gcs_address
    right = {key: value for key, value in os.environ.items() if key.startswith("RAY_AUTH")}
    for changed, expected in (
        ({"RAY_AUTH_TOKEN_PATH": str(wrong)}, "does not take the token it was given; set"),
        (right, "joined"),
    ):
        code = f"""
from flows.ray_executor import RayExecutor
try:
    RayExecutor(workers=1, cpus_per_worker=1.0, address={address!r}).start()
    print("joined")
except ValueError as error:
    print(error)
"""
        joined = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | right | changed,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert expected in joined.stdout, joined.stdout + joined.stderr
        assert "InvalidAuthToken" not in joined.stderr


def test_an_item_that_kills_its_worker_is_quarantined_and_nobody_else_is_blamed(
    ray_executor, tmp_path
):
    items = range(8)
    found = run(ray_executor, Squares(str(tmp_path), deadly=(1,), seconds=0.2), items)
    assert found.pop(1) == Outcome(
        1, error="worker died while it alone computed shard 1", attempts=MAX_ATTEMPTS
    )
    assert found == {i: Outcome(i, i * i) for i in items if i != 1}
    # Once among others, then alone until its attempts are used up.
    assert len(pids(tmp_path, "item-1")) == 1 + MAX_ATTEMPTS


def test_a_cluster_that_does_not_answer_is_no_error_of_the_work(ray_executor):
    import ray  # noqa: TID251 its errors are what is told apart

    with pytest.raises(WorkerStartError, match=r"Ray does not answer \(.*gone"), cluster_errors():
        raise ray.exceptions.RaySystemError("gone")
    with pytest.raises(ConnectionError, match="the store's"), cluster_errors():
        raise ConnectionError("the store's")


def test_a_cluster_whose_machines_are_all_gone_ends_the_map(ray_executor, tmp_path, monkeypatch):
    """Actors that were asked for would stay pending."""
    monkeypatch.setattr(ray_drive, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": False, "Resources": {}}])
    with pytest.raises(WorkerStartError, match="no machine of the Ray cluster is alive"):
        run(ray_executor, Gate(str(tmp_path)), range(2), threading.Event())


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_waits_for_its_turn_alone_blames_nobody(
    one_ray_worker, tmp_path
):
    """Two deaths in a row: the second meets items that are not yet alone."""
    found = run(one_ray_worker, Squares(str(tmp_path), deadly=(0, 1), seconds=0.2), range(6))
    assert {i for i, o in found.items() if o.error} == {0, 1}
    assert all(found[i] == Outcome(i, i * i) for i in range(2, 6))


def test_a_killed_worker_is_replaced(ray_executor, tmp_path):
    folder = str(tmp_path)

    def strike():
        kill(pids(folder, "item-0")[0])
        (tmp_path / "gate").touch()

    killer = after(lambda: noted(folder, "item-") == WORKERS * IN_FLIGHT, strike)
    found = run(ray_executor, Gate(folder), range(12))
    killer.join()
    assert found == {i: Outcome(i, i) for i in range(12)}
    starts = Counter(len(pids(folder, f"item-{i}")) for i in range(12))
    # Only what the dead worker had in flight was started twice.
    assert starts == {1: 12 - IN_FLIGHT, 2: IN_FLIGHT}


def test_work_that_cannot_be_opened_ends_the_map_with_its_error(ray_executor):
    with pytest.raises(FileNotFoundError, match="there is no such model"):
        run(ray_executor, Unopenable(), range(3))


def test_workers_that_die_while_they_open_the_work_end_the_map(ray_executor):
    with pytest.raises(WorkerStartError, match="died 3 times in a row while they opened"):
        run(ray_executor, Unopenable(deadly=True), range(3))


def test_dask_graphs_run_on_the_cluster(ray_executor):
    found = list(
        compute_each(add, [(i, 1) for i in range(5)], scheduler=ray_executor.dask_scheduler())
    )
    assert [total for total, _ in found] == [1, 2, 3, 4, 5]
    assert os.getpid() not in {pid for _, pid in found}


def add(first, second):
    return int(np.add(first, second)), os.getpid()


def test_signals_are_left_to_the_process(ray_executor):
    """Ray would exit at SIGTERM, where a run stops at a shard border."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_a_library_took_in_another_thread_is_taken_back():
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append("python"))
    try:
        # As Ray does it: below Python, which does not see it. The signal would be ignored.
        ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == []
        own_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == ["python"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_load_no_framework_the_work_does_not_need(one_ray_worker):
    found = run(one_ray_worker, Modules(("tensorflow", "keras", "prefect")), [0])
    assert found[0].result == []
