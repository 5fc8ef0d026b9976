"""The installed command: once all is done, its process is gone.

Ray, gRPC and TensorFlow have threads that may abort a process while Python and its libraries are
taken apart. Masks are published by then, and the exit code would say that they are not.
"""

import atexit
import os
import sys
from contextlib import suppress

EXIT_UNCAUGHT = 1

_OWNER = os.getpid()
_codes: list[int] = []


def _end() -> None:
    """Write out what was printed, and end without taking anything apart."""
    # A child that was forked has nothing to end here.
    if os.getpid() != _OWNER:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_codes[-1] if _codes else EXIT_UNCAUGHT)


# Of what is called at the end, the first that was registered is the last: whatever the imports of
# the command register, and threads that are waited for, come before it.
atexit.register(_end)


def main() -> None:
    """Carry out the command; see `flows.cli.main`."""
    from flows.cli import main as command

    try:
        command()
    except SystemExit as ended:
        _codes.append(ended.code if isinstance(ended.code, int) else EXIT_UNCAUGHT)
        raise
