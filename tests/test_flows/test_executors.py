import os
import signal
import threading

import pytest

from flows.executors import MAX_ATTEMPTS, Outcome, SerialExecutor, describe, stop_on_signals
from flows.jobs import SegmentJob, TrainJob
from flows.logs import current_fields, log_fields
from flows.overlap import overlapped
from flows.pool import make_executor, make_training_executor
from tests.test_flows.works import Squares, Unopenable, after, noted, pids


@pytest.fixture(params=[1, 3])
def in_flight(request):
    return request.param


@pytest.fixture
def outcomes(in_flight):
    def run(work, items, stop=None):
        return list(SerialExecutor(in_flight=in_flight).map(work, items, stop or threading.Event()))

    return run


def test_items_come_back_in_order_from_work_that_is_opened_once(tmp_path, outcomes):
    assert outcomes(Squares(str(tmp_path)), [3, 1, 2]) == [
        Outcome(3, 9),
        Outcome(1, 1),
        Outcome(2, 4),
    ]
    assert len(pids(tmp_path, "open")) == 1


def test_nothing_to_do_opens_nothing(tmp_path, outcomes):
    assert outcomes(Squares(str(tmp_path)), []) == []
    assert noted(str(tmp_path), "") == 0


def test_a_failing_item_is_tried_three_times_and_harms_no_other(tmp_path, outcomes):
    found = outcomes(Squares(str(tmp_path), failing=(1,)), range(3))
    assert found == [
        Outcome(0, 0),
        Outcome(1, error="ValueError: item 1 is not to be squared", attempts=MAX_ATTEMPTS),
        Outcome(2, 4),
    ]
    assert len(pids(tmp_path, "item-1")) == 3


def test_a_second_attempt_that_succeeds_is_counted(tmp_path, outcomes):
    assert outcomes(Squares(str(tmp_path), flaky=(4,)), [4]) == [Outcome(4, 16, attempts=2)]


def test_a_full_disk_is_not_tried_again_and_stops_the_map(tmp_path, outcomes, in_flight):
    found = outcomes(Squares(str(tmp_path), full_disk=(1,)), range(9))
    assert [(o.item, o.fatal, o.attempts) for o in found[:2]] == [(0, False, 1), (1, True, 1)]
    assert "No space left" in str(found[1].error)
    # What was in flight is finished, as on Ray; nothing else is started.
    assert [o.result for o in found[2:]] == [4, 9][: len(found) - 2]
    assert len(found) <= 1 + in_flight


def test_items_are_drawn_no_further_ahead_than_they_are_in_flight(tmp_path, in_flight):
    drawn = []
    items = (drawn.append(i) or i for i in range(10**9))
    work = Squares(str(tmp_path))
    for outcome in SerialExecutor(in_flight=in_flight).map(work, items, threading.Event()):
        assert drawn[-1] == outcome.item + in_flight - 1
        if outcome.item == 5:
            break
    assert len(drawn) == 5 + in_flight


def test_a_stop_takes_effect_at_the_next_item(tmp_path, in_flight):
    stop = threading.Event()
    found = []
    for outcome in SerialExecutor(in_flight=in_flight).map(Squares(str(tmp_path)), range(9), stop):
        found.append(outcome.item)
        if outcome.item == 2:
            stop.set()
    # What was in flight is finished and told.
    assert found == list(range(2 + in_flight))


def test_three_items_overlap_and_no_more():
    together, inside, most = threading.Barrier(3), [], []

    def call(item):
        inside.append(item)
        most.append(len(inside))
        # Broken, and with it the test, unless three calls are in flight.
        together.wait(timeout=20)
        inside.remove(item)
        return item

    results = overlapped(call, iter(range(9)), in_flight=3, halted=lambda: False)
    assert list(results) == list(range(9))
    assert max(most) == 3


def test_outcomes_keep_their_order_whichever_is_ready_first():
    second_is_done = threading.Event()

    def call(item):
        if item == 0:
            assert second_is_done.wait(20)
        second_is_done.set()
        return item

    results = overlapped(call, iter(range(4)), in_flight=2, halted=lambda: False)
    assert list(results) == [0, 1, 2, 3]


def test_with_one_in_flight_all_happens_in_the_calling_thread():
    results = overlapped(
        lambda _: threading.current_thread(), iter(range(3)), in_flight=1, halted=lambda: False
    )
    assert set(results) == {threading.current_thread()}


def test_threads_log_with_the_fields_of_their_stage():
    with log_fields(run="cells-1f0c9a7e"):
        results = overlapped(
            lambda _: current_fields(), iter(range(4)), in_flight=2, halted=lambda: False
        )
        assert list(results) == [{"run": "cells-1f0c9a7e"}] * 4


def test_whoever_stops_listening_waits_for_what_is_in_flight():
    finished, release = [], threading.Event()

    def call(item):
        assert item == 0 or release.wait(20)
        finished.append(item)
        return item

    results = overlapped(call, iter(range(9)), in_flight=3, halted=lambda: False)
    assert next(results) == 0
    threading.Timer(0.1, release.set).start()
    results.close()
    assert sorted(finished) == [0, 1, 2]


def test_a_second_interrupt_waits_for_nothing():
    started, release, finished = threading.Event(), threading.Event(), []

    def call(item):
        started.set()
        release.wait(120)
        finished.append(item)
        return item

    results = overlapped(call, iter(range(9)), in_flight=2, halted=lambda: False)
    after(started.is_set, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert finished == []
    release.set()


def test_work_that_cannot_be_opened_ends_the_map_with_its_error(outcomes):
    with pytest.raises(FileNotFoundError, match="there is no such model"):
        outcomes(Unopenable(), range(3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_for_a_stop_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def enter():
        with stop_on_signals() as stop:
            seen.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("bad tile"), "ValueError: bad tile"), (KeyError(), "KeyError: no message")],
)
def test_a_failure_is_described_in_one_line(error, text):
    assert describe(error) == text


@pytest.mark.parametrize(
    ("make", "job", "expected"),
    [
        (make_executor, SegmentJob(image="i", model="m", name="n", executor="serial"), 3),
        (make_training_executor, TrainJob(catalog="c", out="b", executor="serial"), 1),
    ],
)
def test_shards_overlap_and_trainings_do_not(make, job, expected):
    assert make(job) == SerialExecutor(in_flight=expected)
