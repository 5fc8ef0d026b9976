"""Calls of Keras found in a text, read with their arguments; nothing of it is run."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.audit.log_settings import Checkpoint, Direction, LogSettings, Plateau, Stopping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_CALL = 4000
_LARGEST = 2**53
# Signs and dots in a row, and words without end, nest as deep as they are many.
_DEEP = re.compile(r"(?:[-+~]\s*){30}|(?:not\s+){30}|(?:\.\s*\w+\s*){60}|(?:[\[({]\s*){60}")
# Arguments by which a call of Keras is told from one of another library.
_FIT = {"epochs", "callbacks", "validation_split", "validation_data", "steps_per_epoch"}
_COMPILE = {"loss", "optimizer", "metrics"}
# Learning rates of the optimizers of Keras, where none is given.
_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "nadam": 0.001}


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes
    ----------
    name : str
        Last part of what is called, such as ``EarlyStopping``.
    arguments : tuple of expressions
        By position.
    named : mapping
        Expressions by name.
    """

    name: str
    arguments: tuple[ast.expr, ...]
    named: Mapping[str, ast.expr]

    def value(self, name: str, position: int | None = None) -> Any:
        """A plain value of an argument, or its text where it is none; None if not given."""
        given = self.named.get(name)
        if given is None and position is not None and position < len(self.arguments):
            given = self.arguments[position]
        if given is None:
            return None
        try:
            return ast.literal_eval(given)
        except (ValueError, TypeError):
            return ast.unparse(given)


def find_calls(text: str, name: str) -> Iterator[Call]:
    """Every call of a name in a text, whatever stands before its dot; comments are left out."""
    code = re.sub(r"(?m)^\s*#.*$", "", text)
    for match in re.finditer(rf"\b{name}\s*\(", code):
        call = _parsed(f"f{_balanced(code, match.end() - 1)}")
        if isinstance(call, ast.Call):
            named = {one.arg: one.value for one in call.keywords if one.arg}
            yield Call(name, tuple(call.args), named)


def _parsed(source: str) -> ast.expr | None:
    """The expression that a text is; None if it is none, or deeper than any that is written."""
    try:
        with warnings.catch_warnings():
            # Python's remarks on the text are for its author.
            warnings.simplefilter("ignore")
            return ast.parse(source, mode="eval").body if _is_flat(source) else None
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        return None


def _is_flat(source: str) -> bool:
    """Whether what a parser would follow into each other is short."""
    return _DEEP.search(source) is None


def _balanced(text: str, start: int) -> str:
    """From an opening bracket to the one that closes it."""
    depth = 0
    for position in range(start, min(len(text), start + _LONGEST_CALL)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start : position + 1]
    return ""


def read_settings(text: str) -> LogSettings:
    """What the calls in a text say of a training; of several calls the last one counts."""
    stopping = [_stopping(call) for call in find_calls(text, "EarlyStopping")]
    plateaus = [_plateau(call) for call in find_calls(text, "ReduceLROnPlateau")]
    fits = [call for name in ("fit", "fit_generator") for call in find_calls(text, name)]
    fits = [call for call in fits if call.named.keys() & _FIT]
    compiles = [call for call in find_calls(text, "compile") if call.named.keys() & _COMPILE]
    return LogSettings(
        stopping=stopping[-1] if stopping else None,
        plateau=plateaus[-1] if plateaus else None,
        checkpoints=tuple(_checkpoint(call) for call in find_calls(text, "ModelCheckpoint")),
        **(_fit(fits[-1]) if fits else {}),
        **(_compile(compiles[-1]) if compiles else {}),
        batch_norm="BatchNormalization(" in text or None,
    )


def _number(value: Any, default: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= _LARGEST else default


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and abs(value) <= _LARGEST else None


def _direction(value: Any) -> Direction | None:
    return value if value in ("max", "min") else None


def _stopping(call: Call) -> Stopping:
    return Stopping(
        monitor=str(call.value("monitor", 0) or "val_loss"),
        min_delta=_number(call.value("min_delta", 1), 0.0),
        patience=_whole(call.value("patience", 2)) or 0,
        direction=_direction(call.value("mode", 4)),
    )


def _plateau(call: Call) -> Plateau:
    known = _whole(call.value("patience", 2))
    old_name = _number(call.value("epsilon"), 1e-4)
    return Plateau(
        monitor=str(call.value("monitor", 0) or "val_loss"),
        factor=_number(call.value("factor", 1), 0.1),
        patience=10 if known is None else known,
        direction=_direction(call.value("mode", 4)),
        min_delta=_number(call.value("min_delta", 5), old_name),
        cooldown=_whole(call.value("cooldown", 6)) or 0,
        min_lr=_number(call.value("min_lr", 7), 0.0),
    )


def _checkpoint(call: Call) -> Checkpoint:
    return Checkpoint(
        monitor=str(call.value("monitor", 1) or "val_loss"),
        direction=_direction(call.value("mode", 5)),
        save_best_only=call.value("save_best_only", 3) is True,
    )


def _fit(call: Call) -> dict[str, Any]:
    split = _number(call.value("validation_split"), 0.0)
    return {
        "epochs": _whole(call.value("epochs", 3)),
        "batch_size": _whole(call.value("batch_size", 2)),
        "validation_split": split if 0 < split < 1 else None,
        "steps": _whole(call.value("steps_per_epoch")),
    }


def _compile(call: Call) -> dict[str, Any]:
    metrics = call.named.get("metrics")
    listed = metrics.elts if isinstance(metrics, ast.List | ast.Tuple) else []
    loss = call.value("loss", 1)
    return {
        "learning_rate": _rate(call.named.get("optimizer", next(iter(call.arguments), None))),
        "loss": None if loss is None else str(loss),
        "metrics": tuple(ast.unparse(metric).strip("'\"") for metric in listed),
    }


def _rate(optimizer: ast.expr | None) -> float | None:
    """Learning rate of an optimizer; a name alone has the default of Keras."""
    if isinstance(optimizer, ast.Constant) and isinstance(optimizer.value, str):
        return _RATES.get(optimizer.value.lower())
    if not isinstance(optimizer, ast.Call):
        return None
    call = Call("", tuple(optimizer.args), {k.arg: k.value for k in optimizer.keywords if k.arg})
    given = call.value("learning_rate", 0) or call.value("lr")
    if isinstance(given, int | float):
        return _number(given, 0.0) or None
    kind = ast.unparse(optimizer.func).rpartition(".")[2].lower()
    return _RATES.get(kind) if given is None else None
