import sys

import pytest

from benchmarks.bench import MEBIBYTE, machine, ratio, rounds, table, watch

HUNGRY = """
import json, subprocess, sys, time
held = bytearray(96 * 2**20)
held[::4096] = b"x" * len(held[::4096])
below = subprocess.Popen([sys.executable, "-c",
    "import time; held = b'x' * (64 * 2**20); time.sleep(3)"])
until = time.process_time() + 0.3
while time.process_time() < until:
    pass
below.wait()
print("chatter")
print(json.dumps({"seconds": 1.5}))
"""


def test_a_child_is_watched_with_all_below_it():
    found = watch([sys.executable, "-c", HUNGRY])
    assert found.figures == {"seconds": 1.5}
    assert found.largest_bytes > 96 * MEBIBYTE
    assert found.other_bytes > 64 * MEBIBYTE
    assert len(found.peak_bytes) == 2
    assert found.cpu_seconds >= 0.3
    assert found.seconds >= 3


@pytest.mark.parametrize(
    ("code", "message"),
    [("import sys; sys.exit(3)", "exit code 3"), ("print('no figures')", "no line of JSON")],
)
def test_a_child_that_fails_ends_the_benchmark(code, message):
    with pytest.raises(RuntimeError, match=message):
        watch([sys.executable, "-c", code])


def test_a_child_sees_the_environment_it_is_given():
    code = "import json, os; print(json.dumps({'threads': os.environ['OMP_NUM_THREADS']}))"
    assert watch([sys.executable, "-c", code], {"OMP_NUM_THREADS": "7"}).figures["threads"] == "7"


def test_contenders_take_turns():
    order = []
    contenders = {name: lambda n=name: order.append(n) or len(order) for name in "AB"}
    assert rounds(contenders, 2, lambda _: None) == {"A": [1, 3], "B": [2, 4]}
    assert order == ["A", "B", "A", "B"]


def test_a_ratio_is_that_of_each_round():
    # A slow round slows both: 2/4 and 10/20 are one ratio; the medians' would be 6/12.
    assert ratio([2, 10, 9], [4, 20, 10]) == {"median": 0.5, "least": 0.5, "most": 0.9}


def test_the_machine_is_described():
    found = machine(("numpy", "no-such-package"))
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["versions"]["no-such-package"] is None
    assert found["versions"]["numpy"][0].isdigit()


def test_a_table_has_numbers_to_the_right():
    rows = [{"name": "dask", "seconds": 1.5}, {"name": "maskmill", "seconds": None}]
    assert table(rows) == "name      seconds\ndask          1.5\nmaskmill        –\n"
