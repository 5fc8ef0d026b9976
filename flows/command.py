"""Commands made from jobs: every field of a job becomes an argument or an option."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import typer

from flows.errors import RequestError
from flows.fields import is_argument
from flows.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flows.jobs import Job

EXTRA_OPTIONS = {
    "config": (str | None, typer.Option(None, "--config", help="YAML file with the same fields")),
    "json": (bool, typer.Option(False, "--json", help="print one JSON object on stdout")),
    "debug": (bool, typer.Option(False, "--debug", help="show tracebacks and library logs")),
}


def job_command(
    model: type[Job], run: Callable[[Mapping[str, Any], Mapping[str, Any]], None]
) -> Callable[..., None]:
    """A typer command whose parameters are the fields of a job.

    Parameters
    ----------
    model : type of Job
        Its fields become arguments (marked as such) and options; texts are parsed by the model.
    run : callable
        Gets the given fields and the extra options (config, json, debug).
    """

    def command(**values: Any) -> None:
        extra = {name: values.pop(name) for name in EXTRA_OPTIONS}
        given = {k: v for k, v in values.items() if v is not None and v != []}
        run(given, extra)

    parameters = [
        *(_parameter(name, field) for name, field in model.model_fields.items()),
        *(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for name, (kind, default) in EXTRA_OPTIONS.items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # for typer
    command.__doc__ = model.__doc__
    return command


def _parameter(name: str, field: Any) -> inspect.Parameter:
    kind = _plain(field.annotation)
    if is_argument(field):
        # Not required here, so that --config may give it; the job insists on it.
        default = typer.Argument(None, help=field.description, metavar=name.upper())
        annotation: Any = list[str] | None if kind is tuple else str | None
    elif kind is bool:
        # Three states: a flag that is not given leaves the field to --config.
        default, annotation = typer.Option(None, help=field.description), bool | None
    else:
        default, annotation = typer.Option(None, help=_help(field)), str | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _help(field: Any) -> str:
    if field.is_required() or field.default is None:
        return str(field.description)
    return f"{field.description} [default: {field.default}]"


def _plain(annotation: Any) -> type:
    """The type behind Annotated and Optional: bool, tuple, or anything that is one text."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain(next(a for a in get_args(annotation) if a is not type(None)))
    origin = get_origin(annotation) or annotation
    return origin if isinstance(origin, type) else str


def read_config(path: str, model: type[Job]) -> dict[str, Any]:
    """Fields from a YAML file.

    Raises
    ------
    RequestError
        If the file cannot be read, is no mapping, or names a field the job does not have.
    """
    content = read_yaml(path, "config")
    if not isinstance(content, dict):
        raise RequestError(f"config {path} holds {type(content).__name__}; expected fields: values")
    fields = {str(key).replace("-", "_"): value for key, value in content.items()}
    unknown = sorted(set(fields) - set(model.model_fields))
    if unknown:
        known = ", ".join(model.model_fields)
        raise RequestError(f"config {path} has the unknown fields {unknown}; known are {known}")
    return fields
