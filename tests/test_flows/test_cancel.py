"""A run that is told to end: at the next border if that is near, else soon all the same."""

import os
import signal
import threading
import time

import pytest

from flows import deployment_hooks
from flows.deployment_hooks import stop_deadline, stopping_in_time
from flows.errors import IncompleteRunError
from flows.executors import stop_on_signals

SOON = 0.3
NEVER = 30.0


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def wait(stop, seconds):
    """Work on one shard: it does not look at the stop until it is done."""
    time.sleep(seconds)
    return stop.is_set()


def terminated(seconds):
    """Be told to end at the begin of a shard of so many seconds."""
    with stop_on_signals() as stop:
        terminate()
        wait(stop, seconds)


def terminated_twice():
    """Be told so again while the shard goes on."""
    with stop_on_signals() as stop:
        terminate()
        # The handler runs between two instructions; the watcher in its own time.
        wait(stop, SOON)
        terminate()
        wait(stop, NEVER)


def test_a_shard_that_ends_in_time_is_finished():
    with stop_deadline(NEVER), stop_on_signals() as stop:
        terminate()
        assert wait(stop, 0.1)


def test_a_shard_that_takes_too_long_is_given_up():
    started = time.monotonic()
    with (
        pytest.raises(IncompleteRunError, match="the same job goes on from there"),
        stop_deadline(SOON),
    ):
        terminated(NEVER)
    assert SOON <= time.monotonic() - started < NEVER / 2


def test_a_deadline_counts_from_the_signal_not_from_the_start():
    with stop_deadline(SOON), stop_on_signals() as stop:
        time.sleep(2 * SOON)
        assert not stop.is_set()


def test_a_second_signal_gives_up_at_once():
    with (
        pytest.raises(IncompleteRunError, match="gave up shards"),
        stop_deadline(NEVER),
    ):
        terminated_twice()


def test_an_interrupt_of_someone_at_the_keyboard_stays_one():
    with pytest.raises(KeyboardInterrupt), stop_deadline(SOON):
        raise KeyboardInterrupt


def test_other_errors_pass():
    with pytest.raises(ValueError, match="mine"), stop_deadline(SOON):
        raise ValueError("mine")


def test_nothing_is_left_behind():
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    threads = threading.active_count()
    with stop_deadline(SOON), stop_on_signals():
        terminate()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_other_threads_go_without():
    found = []

    def work():
        with stop_deadline(SOON):
            found.append(threading.active_count())

    before = threading.active_count()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before + 1]


@pytest.mark.parametrize(("deployment", "error"), [(None, False), ("a deployment", True)])
def test_only_runs_of_a_worker_have_a_deadline(monkeypatch, deployment, error):
    """By hand Ctrl-C waits for the shard, and a second one does not."""
    monkeypatch.setattr(deployment_hooks, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(deployment_hooks, "_deployment", lambda: deployment)
    try:
        with stopping_in_time(), stop_on_signals() as stop:
            terminate()
            wait(stop, 2 * SOON)
    except IncompleteRunError:
        assert error
    else:
        assert not error
