"""A Ray cluster: reach it or start it, and tell its errors from those of the work."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager, nullcontext
from functools import partial
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.executors import WorkerStartError, describe
from flows.ray_settings import LOCAL, host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDERR = 2
KNOCK_SECONDS = 10.0
START_SECONDS = 180.0
# A client of HTTP/2 begins with this, and an empty frame of settings; RFC 9113, section 3.4.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
FRAME_HEADER_BYTES = 9
SETTINGS_FRAME = 4
# Ray hands the type of this error on as a text only.
REFUSED = "InvalidAuthToken"
SLOW_START = "timed out during startup"


def connect(address: str, options: dict[str, Any]) -> None:
    """Join a cluster, or start one; what goes wrong then is of no type of its own.

    Parameters
    ----------
    address : str
        As `flows.ray_settings.cluster_address` gives it.
    options : dict
        For ``ray.init``.

    Raises
    ------
    WorkerStartError
        If the cluster cannot be reached or started.
    RequestError
        If it does not take our token.
    """
    _knock(address)
    try:
        with nullcontext() if address == LOCAL else _unsaid():
            _init(address, options)
    except ValueError:
        raise
    except Exception as error:
        if any(REFUSED in str(one) for one in _causes(error)):
            raise RequestError(
                f"the Ray cluster {address} does not take the token it was given; set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with the token of that "
                "cluster"
            ) from error
        reason = describe(error).partition("\n")[0]
        raise WorkerStartError(
            f"Ray could not be started or reached ({reason}); run the same command again"
        ) from error
    finally:
        own_signals()


def _init(address: str, options: dict[str, Any]) -> None:
    """``ray.init``, once more where a node was not there within Ray's own half a minute."""
    import ray

    try:
        _within(START_SECONDS, partial(ray.init, address, **options))
    except Exception as error:
        if SLOW_START not in str(error):
            raise
        # What the first try has started ends with this process.
        ray.shutdown()
        _within(START_SECONDS, partial(ray.init, address, **options))


def _within(seconds: float, action: Callable[[], object]) -> None:
    """Carry out an action that may wait for ever on a process that has died.

    Raises
    ------
    TimeoutError
        If it takes longer; it is left alone then, in a thread that keeps nothing from ending.
    """
    done: Queue[BaseException | None] = Queue()

    def act() -> None:
        try:
            action()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
            # What Ray has started is killed by the kernel when the thread that did so ends.
            threading.Event().wait()

    threading.Thread(target=act, daemon=True, name="ray-start").start()
    try:
        error = done.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"it did not answer within {seconds:g} s") from None
    if error is not None:
        raise error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _knock(address: str) -> None:
    """Fail within seconds where nothing answers: Ray itself would try for minutes."""
    place = host_and_port(address)
    if place is None:
        return
    try:
        with socket.create_connection(place, KNOCK_SECONDS) as line:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return
            line.settimeout(KNOCK_SECONDS)
            line.sendall(GREETING)
            answer = line.recv(FRAME_HEADER_BYTES, socket.MSG_WAITALL)
    except (OSError, UnicodeError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error
    if len(answer) < FRAME_HEADER_BYTES or answer[3] != SETTINGS_FRAME:
        raise _unreachable(address, "what listens there is not Ray")


def _unreachable(address: str, reason: str) -> WorkerStartError:
    return WorkerStartError(
        f"no Ray cluster answers at {address} ({reason}); look whether its head runs and whether "
        "this machine reaches that port, then run the same command again"
    )


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Tell a cluster that cannot be reached, or that has died, from an error of the work.

    Raises
    ------
    WorkerStartError
        For any error of Ray's own.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        reason = describe(error).partition("\n")[0]
        raise WorkerStartError(f"Ray does not answer ({reason})") from error


@contextmanager
def _unsaid() -> Iterator[None]:
    """Keep what Ray's own layer says of every attempt from the user, who gets one message."""
    kept = os.dup(STDERR)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def own_signals() -> None:
    """Put the process's own answer to SIGTERM back: Ray's would end it, or write a stack trace.

    Ray takes the signal whatever thread it is started in; only the main one can take it back.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)
