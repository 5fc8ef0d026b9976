import os
import signal
import threading

import pytest

from flows.executors import MAX_ATTEMPTS, Outcome, SerialExecutor, describe, stop_on_signals
from tests.test_flows.works import Squares, Unopenable, noted, pids


def outcomes(work, items, stop=None):
    return list(SerialExecutor().map(work, items, stop or threading.Event()))


def test_items_come_back_in_order_from_work_that_is_opened_once(tmp_path):
    assert outcomes(Squares(str(tmp_path)), [3, 1, 2]) == [
        Outcome(3, 9),
        Outcome(1, 1),
        Outcome(2, 4),
    ]
    assert len(pids(tmp_path, "open")) == 1


def test_nothing_to_do_opens_nothing(tmp_path):
    assert outcomes(Squares(str(tmp_path)), []) == []
    assert noted(str(tmp_path), "") == 0


def test_a_failing_item_is_tried_three_times_and_harms_no_other(tmp_path):
    found = outcomes(Squares(str(tmp_path), failing=(1,)), range(3))
    assert found == [
        Outcome(0, 0),
        Outcome(1, error="ValueError: item 1 is not to be squared", attempts=MAX_ATTEMPTS),
        Outcome(2, 4),
    ]
    assert len(pids(tmp_path, "item-1")) == 3


def test_a_second_attempt_that_succeeds_is_counted(tmp_path):
    assert outcomes(Squares(str(tmp_path), flaky=(4,)), [4]) == [Outcome(4, 16, attempts=2)]


def test_a_full_disk_is_not_tried_again_and_stops_the_map(tmp_path):
    found = outcomes(Squares(str(tmp_path), full_disk=(1,)), range(9))
    assert [(o.item, o.fatal, o.attempts) for o in found] == [(0, False, 1), (1, True, 1)]
    assert "No space left" in str(found[-1].error)


def test_items_are_drawn_one_at_a_time(tmp_path):
    drawn = []
    items = (drawn.append(i) or i for i in range(10**9))
    for outcome in SerialExecutor().map(Squares(str(tmp_path)), items, threading.Event()):
        assert drawn[-1] == outcome.item
        if outcome.item == 5:
            break
    assert len(drawn) == 6


def test_a_stop_takes_effect_at_the_next_item(tmp_path):
    stop = threading.Event()
    found = []
    for outcome in SerialExecutor().map(Squares(str(tmp_path)), range(9), stop):
        found.append(outcome.item)
        if outcome.item == 2:
            stop.set()
    assert found == [0, 1, 2]


def test_work_that_cannot_be_opened_ends_the_map_with_its_error():
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
