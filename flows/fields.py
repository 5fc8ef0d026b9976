"""Fields of jobs: their types, their units, and how a form of Prefect shows them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*", re.IGNORECASE)
_UNITS = {
    "B": 1,
    **{f"{p}B": 1000**n for n, p in enumerate("KMGT", start=1)},
    **{f"{p}IB": 1024**n for n, p in enumerate("KMGT", start=1)},
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|d)?\s*", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_bytes(value: object) -> object:
    """Bytes from ``8GiB``, ``500MB`` or a plain number."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a size; write 8GiB, 500MB or a number of bytes")
    return int(Decimal(match[1]) * _UNITS[(match[2] or "B").upper()])


def parse_seconds(value: object) -> object:
    """Seconds from ``24h``, ``30m``, ``7d``, ``90s`` or a plain number."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a time; write 24h, 30m, 7d or a number of seconds")
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _or_text(number: dict[str, Any], pattern: str) -> WithJsonSchema:
    """What a form may hold: a number, or a text with its unit."""
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    Field(gt=0),
    _or_text(
        {"type": "integer", "exclusiveMinimum": 0},
        r"^\s*[0-9]+(\.[0-9]+)?\s*([KMGTkmgt]?[Ii]?[Bb])?\s*$",
    ),
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    Field(ge=0, allow_inf_nan=False),
    _or_text({"type": "number", "minimum": 0}, r"^\s*[0-9]+(\.[0-9]+)?\s*[smhdSMHD]?\s*$"),
]
Floats = Annotated[tuple[float, ...], BeforeValidator(_split)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Precision = Literal["float32", "bfloat16", "float16"]
Ints = Annotated[tuple[int, ...], BeforeValidator(_split)]
ExecutorChoice = Literal["auto", "ray", "serial"]
AUTO_MEANS = "auto needs no Ray where one worker is enough and no cluster is named"
SkipBelow = Annotated[
    float | None,
    Field(
        description="do not compute blocks in which a coarser level nowhere exceeds this intensity "
        "of the image; they become background"
    ),
]
SkipLevel = Annotated[
    int | None,
    Field(ge=0, description="level to look at; the coarsest that averages at most 8 voxels a side"),
]
SkipSample = Annotated[
    float | None,
    Field(ge=0, le=1, description="share of those blocks computed all the same; 0.02 by default"),
]


def argument(description: str, **options: Any) -> Any:
    """A positional argument of the command line."""
    return Field(description=description, json_schema_extra={"argument": True}, **options)


def is_argument(field: FieldInfo) -> bool:
    """Whether a field is a positional argument of the command line."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("argument"))


def needed_first(schema: dict[str, Any]) -> None:
    """Place the fields of a form: Prefect's page shows them by ``position``, else by their names.

    PostgreSQL does not keep the order in which a schema lists them.
    """
    needed = schema.get("required", [])
    fields = schema.get("properties", {})
    for place, name in enumerate(sorted(fields, key=lambda name: name not in needed)):
        fields[name]["position"] = place
