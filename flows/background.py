"""Actions that run in the background while something else is done."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def in_background(action: Callable[[], Result], name: str) -> Future[Result]:
    """What an action will have given, or raised; it has begun.

    It runs in a thread that keeps the process from nothing: one that hangs is left behind.

    Parameters
    ----------
    action : callable
        Without arguments.
    name : str
        Of the thread.
    """
    future: Future[Result] = Future()

    def act() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=act, daemon=True, name=name).start()
    return future
