import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from storage import holder, lease, process
from storage.blobs import Blobs
from storage.holder import is_held, read_holder
from storage.lease import LeaseBusyError, LeaseLostError, hold
from storage.process import is_running, this_process
from storage.write_grid import checksum

KEY = "run.lock"
EXPIRY, BEAT = 0.6, 0.1
ELSEWHERE = {"owner": "attempt-7", "token": "t7", "host": "node-7", "boot": "b7", "pid": 4}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A minute lasts 0.6 seconds."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", BEAT)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.02)
    for module in (holder, lease):
        monkeypatch.setattr(module, "EXPIRY_SECONDS", EXPIRY)


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    """A folder of a file system, and one of an object store."""
    if request.param == "local":
        return Blobs(str(tmp_path / "run"))
    return Blobs(f"{request.getfixturevalue('bucket')}/run")


@pytest.fixture
def local(tmp_path):
    return Blobs(str(tmp_path / "run"))


def held_elsewhere(folder, beat=0):
    """A lease of another machine, of whose processes nothing is known here."""
    content = json.dumps({**ELSEWHERE, "beat": beat}).encode()
    folder.write(KEY, content)
    return content


@contextmanager
def seconds(least, most):
    started = time.monotonic()
    yield
    assert least <= time.monotonic() - started <= most


# ------------------------------------------------------------------------------- one holder


def test_a_lease_is_held_by_one_and_free_after(folder):
    with hold(folder, KEY, "first") as held:
        fields = json.loads(folder.read(KEY))
        assert (fields["owner"], fields["pid"], fields["beat"]) == ("first", os.getpid(), 0)
        assert is_held(folder, KEY)
        held.check(confirm=True)
        # The holder's process runs on this machine: no need to watch it.
        with (
            seconds(0, EXPIRY / 2),
            pytest.raises(
                LeaseBusyError, match=f"run.lock is held by first .process {os.getpid()}"
            ),
            hold(folder, KEY, "second"),
        ):
            pass
        assert json.loads(folder.read(KEY))["token"] == held.token
    assert not is_held(folder, KEY)
    with hold(folder, KEY, "second"):
        pass
    assert list(folder.list()) == []


def test_a_lease_is_free_after_an_error(local):
    with pytest.raises(RuntimeError, match="stop"), hold(local, KEY, "first"):
        raise RuntimeError("stop")
    with hold(local, KEY, "second"):
        pass


def test_one_waits_for_a_holder_that_is_alive(local):
    with (
        hold(local, KEY, "first"),
        seconds(0.3, 10),
        pytest.raises(LeaseBusyError),
        hold(local, KEY, "second", wait_seconds=0.3),
    ):
        pass
    order = []

    def second():
        with hold(local, KEY, "second", wait_seconds=20):
            order.append("second")

    with hold(local, KEY, "first"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_the_holder_beats(folder):
    with hold(folder, KEY, "first"):
        deadline = time.monotonic() + 20
        while json.loads(folder.read(KEY))["beat"] < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert json.loads(folder.read(KEY))["beat"] >= 3


def test_many_at_once_take_turns(local):
    inside, most = [], []

    def work(name):
        with hold(local, KEY, name, wait_seconds=60):
            inside.append(name)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    run_all(work, [f"n{i}" for i in range(8)])
    assert most == [1] * 8


# ------------------------------------------------------------------ a holder that is gone

HOLDER = """
import sys, time
from storage.blobs import Blobs
from storage.lease import hold
with hold(Blobs(sys.argv[1]), "run.lock", "killed"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_holder_of_this_machine_is_replaced_at_once(local):
    killed = subprocess.Popen(
        [sys.executable, "-c", HOLDER, local.url], stdout=subprocess.PIPE, text=True
    )
    with killed:
        assert killed.stdout.readline() == "held\n"
        with pytest.raises(LeaseBusyError, match="held by killed"), hold(local, KEY, "next"):
            pass
        os.kill(killed.pid, signal.SIGKILL)
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        # Nobody has waited for it yet: the process is still in the table.
        with seconds(0, EXPIRY / 2), hold(local, KEY, "next"):
            assert json.loads(local.read(KEY))["owner"] == "next"
    assert list(local.list()) == []


def test_a_silent_holder_of_another_machine_is_replaced_after_a_minute(folder):
    held_elsewhere(folder)
    with seconds(EXPIRY, 20 * EXPIRY), hold(folder, KEY, "next"):
        assert json.loads(folder.read(KEY))["owner"] == "next"
    assert list(folder.list()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"owner": "old", "taken": 1.0}'])
def test_a_lease_that_says_nothing_is_replaced_after_a_minute(local, content):
    local.write(KEY, content)
    assert is_held(local, KEY)
    with seconds(EXPIRY, 20 * EXPIRY), hold(local, KEY, "next"):
        pass


def test_a_holder_of_another_machine_that_beats_is_busy(local):
    """One beat is seen: then it is alive, whatever the clocks say."""
    held_elsewhere(local)
    beating = threading.Timer(EXPIRY / 2, held_elsewhere, [local, 1])
    beating.start()
    with (
        seconds(EXPIRY / 3, 2 * EXPIRY),
        pytest.raises(LeaseBusyError, match=r"held by attempt-7 \(process 4 on node-7\)"),
        hold(local, KEY, "next"),
    ):
        pass
    assert json.loads(local.read(KEY))["beat"] == 1


def test_clocks_that_are_wrong_change_nothing(local, monkeypatch):
    """Neither an hour back nor an hour ahead makes a lease expire."""
    with hold(local, KEY, "first"):
        for wrong in (-3600, 3600):
            now = time.time
            monkeypatch.setattr(time, "time", lambda now=now, by=wrong: now() + by)
            with pytest.raises(LeaseBusyError), hold(local, KEY, "second"):
                pass


def test_of_many_who_find_it_expired_one_takes_it(folder):
    held_elsewhere(folder)
    won, lost, all_tried = [], [], threading.Barrier(6)

    def work(name):
        try:
            with hold(folder, KEY, name):
                won.append(name)
                all_tried.wait(60)
        except LeaseBusyError:
            lost.append(name)
            all_tried.wait(60)

    run_all(work, [f"n{i}" for i in range(6)])
    assert (len(won), len(lost)) == (1, 5)
    assert list(folder.list()) == []


def test_a_slow_taker_does_not_take_it_from_a_faster_one(local, monkeypatch):
    """Both find it expired; when the slow one acts, the fast one's mark is gone again."""
    held_elsewhere(local)
    real, inside, most = lease._take_over, [], []
    both = threading.Barrier(2)

    def take_over(mine, watch):
        if not most:
            both.wait(20)
        if mine.owner == "slow":
            time.sleep(0.3)
        return real(mine, watch)

    def work(name):
        with hold(local, KEY, name, wait_seconds=60):
            inside.append(name)
            most.append(len(inside))
            time.sleep(0.6)
            inside.pop()

    monkeypatch.setattr(lease, "_take_over", take_over)
    run_all(work, ["slow", "fast"])
    assert most == [1, 1]


def test_a_taker_that_died_is_replaced_too(local):
    content = held_elsewhere(local)
    local.write(f"{KEY}.taken-{checksum(content)}-0", b"a taker that is gone")
    with seconds(2 * EXPIRY, 30 * EXPIRY), hold(local, KEY, "next"):
        pass
    assert list(local.list()) == []


# --------------------------------------------------------------------- a lease that is lost


def test_a_lease_taken_by_another_stops_the_work(folder):
    stop = threading.Event()
    with hold(folder, KEY, "first", stop=stop) as held:
        held_elsewhere(folder)
        assert stop.wait(20)
        assert held.is_lost
        with pytest.raises(LeaseLostError, match=r"taken over by attempt-7 .* while first did not"):
            held.check()
    assert json.loads(folder.read(KEY))["owner"] == "attempt-7"  # not ours to remove


def test_a_check_before_a_durable_step_looks_itself(local, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 60.0)
    with hold(local, KEY, "first") as held:
        held_elsewhere(local)
        held.check()  # looked a moment ago
        with pytest.raises(LeaseLostError):
            held.check(confirm=True)
    with hold(Blobs(local.url + "-2"), KEY, "first") as held:
        held_elsewhere(held.blobs)
        time.sleep(EXPIRY / 2 + 0.1)
        with pytest.raises(LeaseLostError):
            held.check()  # as after a pause of the whole machine


def test_a_lease_that_was_removed_is_lost(local):
    stop = threading.Event()
    with hold(local, KEY, "first", stop=stop) as held:
        local.delete(KEY)
        assert stop.wait(20)
        with pytest.raises(LeaseLostError, match="by somebody who has ended since"):
            held.check()


def test_a_store_that_is_away_for_a_while_loses_nothing(local, monkeypatch):
    away, real = threading.Event(), Blobs.write

    def write(self, key, data):
        if away.is_set():
            raise ConnectionError("the store is away")
        real(self, key, data)

    monkeypatch.setattr(Blobs, "write", write)
    with hold(local, KEY, "first") as held:
        away.set()
        time.sleep(3 * BEAT)
        away.clear()
        time.sleep(3 * BEAT)
        held.check(confirm=True)
        assert json.loads(local.read(KEY))["beat"] >= 1


def test_a_lost_acknowledgement_is_no_rival(bucket, object_server):
    folder, puts = Blobs(f"{bucket}/run"), []

    def lose_the_first(asked):
        if asked.only_if_absent:
            puts.append(asked)
            return "lost 503 Slow Down" if len(puts) == 1 else None
        return None

    with object_server.answering(lose_the_first), hold(folder, KEY, "first") as held:
        assert len(puts) == 2
        held.check(confirm=True)
    assert list(folder.list()) == []


def test_a_folder_that_vanishes_while_a_lease_is_made(local, monkeypatch):
    real, tries = Blobs.create, []

    def create(self, key, data):
        tries.append(key)
        if len(tries) == 1:
            raise FileNotFoundError(key)
        return real(self, key, data)

    monkeypatch.setattr(Blobs, "create", create)
    with hold(local, KEY, "first"):
        assert tries == [KEY, KEY]


# ------------------------------------------------------------------------------- processes


def test_this_process_runs():
    me = this_process()
    assert is_running(me) is True
    assert is_running({**me, "started": me["started"] - 1}) is False  # an earlier one of this id
    assert is_running({**me, "boot": "another"}) is None
    assert is_running({**me, "boot": ""}) is None


@pytest.mark.parametrize("pid", [None, "4", 0, -1])
def test_nothing_is_known_of_what_is_no_process(pid):
    assert is_running({**this_process(), "pid": pid}) is None


def test_a_process_that_has_ended_does_not_run():
    with subprocess.Popen(["sleep", "60"]) as child:
        told = {**this_process(), "pid": child.pid, "started": process._started(child.pid)}
        assert is_running(told) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_running(told) is False  # a zombie
    assert is_running(told) is False


def test_another_users_hidden_process_may_run(monkeypatch):
    def forbidden(_pid, _signal):
        raise PermissionError

    me = this_process()
    monkeypatch.setattr(process, "_started", lambda _pid: None)
    assert is_running(me) is False
    monkeypatch.setattr(os, "kill", forbidden)
    assert is_running(me) is None


def test_reading_a_holder_changes_nothing(local):
    assert read_holder(local, KEY) is None
    assert not is_held(local, KEY)
    held_elsewhere(local)
    before = list(local.versions())
    assert str(read_holder(local, KEY)) == "attempt-7 (process 4 on node-7)"
    assert is_held(local, KEY)
    assert list(local.versions()) == before


def run_all(function, arguments):
    threads = [threading.Thread(target=function, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
