"""The installed command ends at once, with its own exit code, and loses nothing it was to do."""

import subprocess
import sys

import pytest

SCENE = """
import flows.entry
import atexit, sys, threading, time
import flows.cli

class Part:
    def __del__(self):
        print("taken apart")

part = Part()

def command():
    sys.stdout.write("printed,")
    atexit.register(sys.stdout.write, "registered")
    threading.Thread(target=late).start()
    END

def late():
    time.sleep(0.3)
    sys.stdout.write("late,")

flows.cli.main = command
flows.entry.main()
"""


def ended(end):
    """Exit code and output of a command that ends with a statement."""
    code = SCENE.replace("END", end)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("code", [0, 2, 3, 4])
def test_the_exit_code_is_that_of_the_command(code):
    assert ended(f"sys.exit({code})") == (code, "printed,late,registered", "")


def test_what_nobody_has_caught_is_told():
    code, said, complaint = ended("1 / 0")
    assert (code, said) == (1, "printed,late,registered")
    assert complaint.endswith("ZeroDivisionError: division by zero\n")


def test_a_reader_that_has_gone_away():
    """As with ``maskmill info IMAGE | head -1``."""
    code = SCENE.replace("END", "sys.stdout.close(); sys.exit(0)").replace("late,", "")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0


def test_a_forked_child_goes_its_own_way():
    fork = (
        "import os; pid = os.fork() or sys.exit(7); print(os.waitpid(pid, 0)[1] >> 8); sys.exit(0)"
    )
    code, said, _ = ended(fork.replace("; ", "\n    "))
    assert code == 0
    assert "7" in said
