import threading
import time

import pytest

from flows.device import Device, Turn
from tests.test_flows.works import wait_for


def test_waiting_for_the_device_does_not_count():
    device = Device()
    first, second = Turn(device, 0), Turn(device, 1)
    entered = threading.Event()

    def take():
        with second:
            entered.set()

    with first:
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not entered.wait(0.2)
    waiting.join()
    assert first.seconds >= 0.2
    assert 0 < second.seconds < 0.1
    with first:
        pass
    assert not device.locked()


def test_a_turn_ends_with_an_error():
    turn = Turn(Device(), 0)
    with pytest.raises(ValueError, match="bad tile"), turn:
        raise ValueError("bad tile")
    assert not turn.device.locked()


def in_a_row(device, take, numbers):
    """Threads that have come to a device that is taken, one after the other."""
    threads = [threading.Thread(target=take, args=(number,)) for number in numbers]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        assert wait_for(lambda n=count: len(device._waiting) == n, seconds=10)
    return threads


def test_the_foremost_shard_goes_first_whoever_came_first():
    device, order = Device(), []

    def take(place):
        for _ in range(2):
            with Turn(device, place):
                order.append(place)
                # Long enough for the same shard to ask again.
                time.sleep(0.05)

    with Turn(device, 0):
        threads = in_a_row(device, take, (7, 5, 9))
    for thread in threads:
        thread.join()
    assert order[0] == 5
    assert order.index(9) > order.index(7) > order.index(5)


def test_shards_stand_in_the_order_in_which_they_were_read():
    """Also where one shard is computed several times, as when a plan is priced."""
    device, order = Device(), []
    turns = [device.turn() for _ in range(3)]

    def take(number):
        for _ in range(2):
            with turns[number]:
                order.append(number)
                time.sleep(0.05)

    with Turn(device, -1):
        threads = in_a_row(device, take, (2, 0, 1))
    for thread in threads:
        thread.join()
    assert order.index(0) < order.index(1) < order.index(2)


def test_one_at_a_time():
    device, inside, most = Device(), [], []

    def take(place):
        for _ in range(50):
            with Turn(device, place):
                inside.append(place)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert set(most) == {1}
