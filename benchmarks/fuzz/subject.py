"""What is fuzzed: how a case is made, how it is read, and which errors say that it is wrong."""

from __future__ import annotations

import signal
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 10.0  # a reader that takes longer over a small document hangs
FRAMES = 2


class TooLongError(BaseException):
    """A case took too long; no reader may catch it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One reader.

    Attributes
    ----------
    name : str
        Of the reader.
    make : callable
        A document with something wrong in it, from a source of random numbers.
    read : callable
        Reads it.
    errors : tuple of type
        What may be raised; these very types, no subclasses.
    """

    name: str
    make: Callable[[Random], Any]
    read: Callable[[Any], Any]
    errors: tuple[type[Exception], ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that no reader should let out.

    Attributes
    ----------
    place : str
        Its type and the lines it went through; the same for the same fault.
    case : int
        Number of the case, from which it can be made again.
    message : str
        Of the exception.
    """

    place: str
    case: int
    message: str


def try_case(subject: Subject, seed: int, case: int) -> Failure | bool:
    """Whether a case was refused by a declared error; a failure if by any other."""
    document = subject.make(Random(f"{seed} {subject.name} {case}"))  # noqa: S311 cases, no secrets
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            subject.read(document)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if type(error) in subject.errors:
            return True
        return Failure(_place(error), case, str(error)[:200])
    return False


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    lines = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in ours[-FRAMES:]]
    return f"{type(error).__name__} at {' > '.join(lines)}"


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLongError(f"more than {SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
