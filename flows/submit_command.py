"""The command after ``--``: checked like one that is run here, and written out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from flows import jobs, verbs
from flows.command import job_command, read_config
from flows.errors import RequestError
from flows.fields import is_argument
from flows.jobs import make_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.jobs import Job

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
PLACED = ("executor", "address")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a cluster can carry out.

    Attributes
    ----------
    verb : str
        Such as ``segment``.
    model : type of Job
        Its job.
    fields : dict
        What was given of it, by name.
    flags : tuple of str
        ``--json`` and ``--debug``, where given.
    """

    verb: str
    model: type[Job]
    fields: dict[str, Any]
    flags: tuple[str, ...] = ()

    @property
    def job(self) -> Any:
        """The job that the fields make."""
        return make_job(self.model, self.fields)

    def having(self, **changes: Any) -> Command:
        """The same command with other fields."""
        return Command(self.verb, self.model, {**self.fields, **changes}, self.flags)

    def filling(self, **defaults: Any) -> Command:
        """The same command with fields that were not given, where the job knows them."""
        known = {name: v for name, v in defaults.items() if name in self.model.model_fields}
        return Command(self.verb, self.model, {**known, **self.fields}, self.flags)

    def arguments(self) -> list[str]:
        """The command as words: verb, options by the order of the job, places at the end."""
        given = [(n, f) for n, f in self.model.model_fields.items() if n in self.fields]
        options = [_option(name, self.fields[name]) for name, f in given if not is_argument(f)]
        places = [_words(self.fields[name]) for name, f in given if is_argument(f)]
        return [self.verb, *options, *self.flags, *(word for words in places for word in words)]


def parse_command(arguments: tuple[str, ...]) -> Command:
    """The command in its words.

    Raises
    ------
    RequestError
        If it is none that runs on a cluster, or one that would be refused here too.
    """
    verb, *rest = arguments
    placed = {name: model for name, model, *_ in verbs.table(jobs) if _is_placed(model)}
    if verb not in placed:
        raise RequestError(
            f"{verb!r} does not run on a cluster; after -- give one of {', '.join(placed)}"
        )
    fields, extra = _parse(verb, placed[verb], rest)
    config = read_config(extra["config"], placed[verb]) if extra["config"] else {}
    flags = tuple(f"--{name}" for name in ("json", "debug") if extra[name])
    command = Command(verb, placed[verb], {**config, **fields}, flags)
    if command.job.executor == "serial":
        raise RequestError("--executor serial uses no cluster; leave it out or write ray")
    if command.job.address is not None:
        raise RequestError("--address is the cluster's own then; leave it out after --")
    return command


def _is_placed(model: Any) -> bool:
    return all(name in model.model_fields for name in PLACED)


def _parse(verb: str, model: Any, words: list[str]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Fields and extra options as the command line reads them."""
    found: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(verb)(job_command(model, lambda given, extra: found.append((dict(given), extra))))
    try:
        app(words, prog_name=f"maskmill {verb}", standalone_mode=False)
    except USAGE_ERROR as error:
        text: str = error.format_message()  # type: ignore[attr-defined]  # of every usage error
        text = f"{text[:1].lower()}{text[1:]}".rstrip(".")
        raise RequestError(f"{verb}: {text}; see `maskmill {verb} --help`") from error
    if not found:
        raise RequestError(f"{verb} was asked for its help alone; give its command after --")
    return found[0]


def _option(name: str, value: Any) -> str:
    """One option in one word, so that a value may begin with a dash."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={','.join(_words(value))}"


def _words(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]
