"""What is probed: a function, or a metric or loss of Keras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from segmentation.networks.runtime import import_keras


class ProbeError(ValueError):
    """A metric that cannot be probed: it raises always, or gives no single number."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A metric or loss to be probed.

    Attributes
    ----------
    name : str
        For sentences.
    call : callable or Keras object
        Function or loss of (truth, prediction); of kind "metric" a Keras metric.
    kind : "function", "metric" or "loss"
        What Keras takes it for; of a function that is seen from what it does.
    num_classes : int, optional
        Classes it was made for, where it says so.
    ignore_class : int, optional
        Label it leaves out on purpose.
    element : int, optional
        Which of several values to take.
    """

    name: str
    call: Any
    kind: Literal["function", "metric", "loss"] = "function"
    num_classes: int | None = None
    ignore_class: int | None = None
    element: int | None = None

    def fresh(self) -> Subject:
        """Return the same without what a metric has seen: some keep the shape they saw first."""
        if self.kind != "metric":
            return self
        try:
            return replace(self, call=type(self.call).from_config(self.call.get_config()))
        # A metric that cannot be made again from its settings is reset between probes.
        except Exception:
            return self

    def says(self, *words: str) -> bool:
        """Whether its name, or the one Keras knows it by, holds one of some words."""
        names = f"{self.name} {getattr(self.call, 'name', '')}".lower()
        return any(word in names for word in words)


def make_subject(name: str, found: Any, element: int | None = None) -> Subject:
    """Return what a name stands for, ready to be probed; a class is made without arguments.

    Raises
    ------
    ProbeError
        If it is no function, Keras metric or Keras loss, or a class that needs arguments.
    """
    keras = import_keras()
    if isinstance(found, type):
        found = _made(name, found)
    if isinstance(found, keras.metrics.Metric):
        kind: Literal["function", "metric", "loss"] = "metric"
    elif isinstance(found, keras.losses.Loss):
        kind = "loss"
    elif callable(found):
        kind = "function"
    else:
        raise ProbeError(
            f"{name} is of type {type(found).__name__}; expected a function of (y_true, y_pred), "
            "or a Keras metric or loss"
        )
    numbers = (getattr(found, key, None) for key in ("num_classes", "ignore_class"))
    classes, ignored = (n if isinstance(n, int) else None for n in numbers)
    return Subject(name, found, kind, classes, ignored, element)


def _made(name: str, kind: type) -> Any:
    try:
        return kind()
    except TypeError as error:
        raise ProbeError(
            f"{name} is a class that cannot be made without arguments ({error}); make one in the "
            f"file, such as mine = {kind.__name__}(…), and name that"
        ) from None
