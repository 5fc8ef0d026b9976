"""The command ``maskmill``: one verb a job, one message an error, one exit code each."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from flows.errors import (
    EXIT_INCOMPLETE,
    EXIT_OTHER,
    EXIT_REQUEST,
    EXIT_VERIFICATION,
    IncompleteRunError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

app = typer.Typer(
    name="maskmill",
    help="Segment large microscopy stacks in OME-Zarr exactly; say how far to trust the masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def main() -> None:
    """Entry point of the command."""
    app()


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
    for key, value in QUIET.items():
        if not extra["debug"]:
            os.environ.setdefault(key, value)
    logging.basicConfig(level=logging.DEBUG if extra["debug"] else logging.CRITICAL)
    try:
        with _own_stdout(debug=extra["debug"]):
            result = action(_make_job(model, given, extra))
    except Exception as error:
        if extra["debug"]:
            raise
        _fail(error, as_json=extra["json"])
    except KeyboardInterrupt:
        _message("interrupted; finished shards are recorded, run the same command to go on")
        _leave(EXIT_INCOMPLETE)
    else:
        sys.stdout.write(json.dumps(result) + "\n" if extra["json"] else show(result))
        sys.stdout.flush()


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


def _fail(error: Exception, *, as_json: bool) -> None:
    code = exit_code(error)
    if as_json:
        result = error.result if isinstance(error, IncompleteRunError) else {}
        document = {**result, "error": str(error), "exit_code": code}
        sys.stdout.write(json.dumps(document, default=str) + "\n")
        sys.stdout.flush()
    _message(str(error) or type(error).__name__)
    _leave(code)


def exit_code(error: BaseException) -> int:
    """Exit code of an error; see the public contract."""
    if isinstance(error, IncompleteRunError):
        return EXIT_INCOMPLETE
    if isinstance(error, VerificationError):
        return EXIT_VERIFICATION
    if isinstance(error, ValueError | OSError):
        return EXIT_REQUEST
    return EXIT_OTHER


def _message(text: str) -> None:
    sys.stderr.write(f"maskmill: {text}\n")
    sys.stderr.flush()


def _leave(code: int) -> None:
    raise typer.Exit(code)


def _register() -> None:
    from flows import jobs, verbs
    from flows.command import job_command

    for name, model, action, show in verbs.table(jobs):
        app.command(name)(job_command(model, partial(run_verb, model, action, show)))


_register()
