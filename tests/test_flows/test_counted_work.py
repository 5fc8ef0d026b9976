"""Requests that workers make: counted by the process that wanted their results."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from flows.counted_work import CountedWork, settled
from storage.requests import Lap, count


@dataclass(frozen=True)
class Asks:
    """Asks once for what its items share, and for every item as often as its number says."""

    def open(self):
        count("list")

        def function(item):
            count("get", item, read=10 * item)
            return f"item {item}"

        return function


def results(items):
    function = CountedWork(Asks()).open()
    return [function(item) for item in items]


@pytest.fixture(scope="module")
def elsewhere():
    """What another process found."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(results, [1, 2]).result()


def described(item, result):
    return {"item": item, "result": result}


def test_requests_of_another_process_are_counted_here(elsewhere):
    lap = Lap()
    assert settled(described)(1, elsewhere[0]) == {"item": 1, "result": "item 1"}
    assert lap() == {"list": 1, "get": 1, "bytes_read": 10}
    settled(described)(2, elsewhere[1])
    assert lap() == {"get": 2, "bytes_read": 20}


def test_own_requests_are_counted_once():
    lap = Lap()
    found = [settled(described)(item, one) for item, one in enumerate(results([3, 4]), start=3)]
    assert [one["result"] for one in found] == ["item 3", "item 4"]
    assert lap() == {"list": 1, "get": 7, "bytes_read": 70}


def test_a_failure_has_no_result():
    assert settled(described)(5, None) == {"item": 5, "result": None}
