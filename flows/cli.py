"""The command ``maskmill``: one verb a job, one message an error, one exit code each."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from flows.errors import (
    EXIT_DONE,
    EXIT_INCOMPLETE,
    EXIT_OTHER,
    EXIT_REQUEST,
    EXIT_VERIFICATION,
    IncompleteRunError,
    RequestError,
    VerificationError,
)
from flows.executors import WorkerStartError
from flows.logs import is_logging, start_logs
from flows.report.safe import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

app = typer.Typer(
    name="maskmill",
    help="Segment large microscopy stacks in OME-Zarr exactly; say how far to trust the masks.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ENVIRONMENT = {
    # Prefect gives its own server 20 seconds to start; a busy machine needs more.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Nobody outside is told that a command runs, unless the user has said so.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

# Typer's own base of every error in arguments, under a name that is public.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
LONGEST_MESSAGE = 20_000


def main() -> None:
    """Entry point of the command; alone it shows its help."""
    arguments = sys.argv[1:] or ["--help"]
    try:
        code = app(arguments, prog_name=app.info.name, standalone_mode=False)
    except USAGE_ERROR as error:
        _report(RequestError(_usage(error)), as_json="--json" in arguments)
        code = EXIT_REQUEST
    sys.exit(code or EXIT_DONE)


def _usage(error: Any) -> str:
    path = error.ctx.command_path if error.ctx else "maskmill"
    text = error.format_message().rstrip(".")
    return f"{text[:1].lower()}{text[1:]}; see `{path} --help`"


def run_verb(
    model: Any,
    action: Callable[[Any], dict[str, Any]],
    show: Callable[[dict[str, Any]], str],
    given: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> None:
    """Make the job, carry it out, print what came out, exit with the right code.

    Expected errors are one message on stderr; ``--debug`` shows their traceback.
    """
    for key, value in (ENVIRONMENT | ({} if extra["debug"] else QUIET)).items():
        os.environ.setdefault(key, value)
    logging.basicConfig(level=logging.DEBUG if extra["debug"] else logging.CRITICAL)
    try:
        if is_logging():
            start_logs()
        with _own_stdout(debug=extra["debug"]):
            result = action(_make_job(model, given, extra))
    except Exception as error:
        if extra["debug"]:
            traceback.print_exc()
        _report(error, as_json=extra["json"])
        _leave(exit_code(error))
    except KeyboardInterrupt:
        _message("interrupted; finished shards are recorded, run the same command to go on")
        _leave(EXIT_INCOMPLETE)
    else:
        code = result.pop("exit_code", EXIT_DONE)
        # Names come from files of others: a terminal must find nothing in them to obey.
        sys.stdout.write(json.dumps(result) + "\n" if extra["json"] else printable(show(result)))
        sys.stdout.flush()
        if code:
            _leave(code)


def _make_job(model: Any, given: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    from flows.command import read_config
    from flows.jobs import make_job

    fields = read_config(extra["config"], model) if extra["config"] else {}
    return make_job(model, fields | dict(given))


@contextmanager
def _own_stdout(*, debug: bool) -> Iterator[None]:
    """Keep stdout for the result: what libraries print there goes to stderr, or nowhere."""
    from contextlib import redirect_stdout

    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(sys.stderr if debug else nowhere),
    ):
        yield


def _report(error: Exception, *, as_json: bool) -> None:
    """One message on stderr; with --json the same on stdout, with what is known so far."""
    message = _describe(error)
    if as_json:
        result = error.result if isinstance(error, IncompleteRunError | VerificationError) else {}
        document = {**result, "error": message, "exit_code": exit_code(error)}
        sys.stdout.write(json.dumps(document, default=str) + "\n")
        sys.stdout.flush()
    _message(message)


def _describe(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or type(error).__name__
    place = error.filename or "the place to write to"
    if error.errno in NO_SPACE:
        return f"{place}: {error.strerror}; free some space and run the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{place}: {error.strerror}; choose a place that this user may write to"
    return f"{place}: {error.strerror}"


def exit_code(error: BaseException) -> int:
    """Exit code of an error; see the public contract."""
    full = isinstance(error, OSError) and error.errno in NO_SPACE
    if full or isinstance(error, IncompleteRunError | WorkerStartError):
        return EXIT_INCOMPLETE
    if isinstance(error, VerificationError):
        return EXIT_VERIFICATION
    if isinstance(error, ValueError | OSError):
        return EXIT_REQUEST
    return EXIT_OTHER


def _message(text: str) -> None:
    sys.stderr.write(f"maskmill: {printable(text[:LONGEST_MESSAGE])}\n")
    sys.stderr.flush()


def _leave(code: int) -> None:
    raise typer.Exit(code)


def _register() -> None:
    from flows import jobs, verbs
    from flows.command import job_command

    for name, model, action, show in verbs.table(jobs):
        app.command(name)(job_command(model, partial(run_verb, model, action, show)))


_register()
