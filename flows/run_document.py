"""``run.json`` of a run folder, read back: whatever is wrong with it is one message."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from segmentation.normalize import IntensityTransform
from segmentation.plan import ShardPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from storage.blobs import Blobs

RUN = "run.json"
SCHEMA = 1
SEGMENT, EVALUATE = KINDS = ("segment", "evaluate")
MAX_SHARDS = 10**8
LARGEST_EXTENT = 2**40
SHOWN = 60
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIRECTORY = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# What reading a field of an unexpected kind raises.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def read_object(folder: Blobs, key: str) -> dict[str, Any]:
    """A JSON object of a run folder.

    Raises
    ------
    RequestError
        If it is no JSON, or no object.
    FileNotFoundError
        If it is not there.
    """
    try:
        document = json.loads(folder.read(key))
    except (RecursionError, ValueError) as error:
        raise RequestError(f"{folder.url}/{key} is not JSON ({error}); restore it") from error
    if not isinstance(document, dict):
        raise RequestError(f"{folder.url}/{key} is no JSON object; restore it")
    return document


def read_run(folder: Blobs, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """``run.json`` of a run, with everything in it that others build upon.

    Parameters
    ----------
    folder : Blobs
        Run folder.
    kinds : tuple of str
        Of the runs that can be used here.

    Raises
    ------
    RequestError
        If there is none, or a field of it is missing or cannot be used.
    """
    if not folder.exists(RUN):
        raise RequestError(f"{folder.url} holds no run; give the folder that holds {RUN}")
    document = read_object(folder, RUN)
    kind = document.get("kind", SEGMENT)
    if kind not in kinds:
        raise RequestError(
            f"{folder.url} holds a run of the kind {repr(kind)[:SHOWN]}; expected {sorted(kinds)}"
        )
    problem = next(_problems(document, kind), None)
    if problem is not None:
        raise RequestError(
            f"{folder.url}/{RUN} {problem}; restore it, or remove the folder and run the command "
            "again"
        )
    return document


def _problems(document: Mapping[str, Any], kind: str) -> Iterator[str]:
    if document.get("schema") != SCHEMA:
        yield f"has schema {_shown(document, 'schema')}; this version reads {SCHEMA}"
    for name, fits in (FIELDS | (OF_SEGMENT if kind == SEGMENT else OF_EVALUATE)).items():
        if not fits(document.get(name)):
            yield f"has the {name} {_shown(document, name)}, which cannot be used"


def _shown(document: Mapping[str, Any], name: str) -> str:
    return repr(document.get(name))[:SHOWN]


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_plan(value: Any) -> bool:
    try:
        plan = ShardPlan.from_dict(value)
        numbers = (*plan.shape, *plan.cell, *plan.shard_shape, *plan.spec.tile, *plan.spec.stride)
        whole = all(isinstance(n, int) and 0 < n <= LARGEST_EXTENT for n in numbers)
        return whole and 0 < len(plan) <= MAX_SHARDS
    except MALFORMED:
        return False


def _is_intensity(value: Any) -> bool:
    try:
        return value is None or bool(IntensityTransform.from_dict(value))
    except MALFORMED:
        return False


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


FIELDS: dict[str, Callable[[Any], bool]] = {
    "digest": _matches(_DIGEST),
    "identity": _is_mapping,
    "job": _is_mapping,
}
OF_SEGMENT: dict[str, Callable[[Any], bool]] = {
    "directory": _matches(_DIRECTORY),
    "target": lambda value: isinstance(value, str),
    "intensity": _is_intensity,
    "plan": _is_plan,
}
OF_EVALUATE: dict[str, Callable[[Any], bool]] = {
    "plans": lambda value: isinstance(value, list) and bool(value) and all(map(_is_plan, value)),
}
