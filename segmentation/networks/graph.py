"""A Keras graph as a flat list of steps, whatever models are nested in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras


class GraphError(ValueError):
    """The model has no graph that can be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a layer or operation.

    Attributes
    ----------
    operation : keras.Operation
        The layer, or an operation such as ``x + y``.
    inputs, outputs : tuple of int
        Numbers of the tensors it reads and makes; every tensor has one number.
    shapes : tuple of tuple
        Shapes of the outputs, with the batch; None where the size is free.
    constants : tuple
        Its other arguments.
    """

    operation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    constants: tuple[Any, ...] = ()

    @property
    def kind(self) -> str:
        """``Conv2D`` for Keras's layers, ``ops.Add`` for its operations, else the full path."""
        cls = type(self.operation)
        if cls.__module__.startswith("keras.src.layers."):
            return cls.__name__
        if cls.__module__.startswith("keras.src.ops."):
            return f"ops.{cls.__name__}"
        return f"{cls.__module__}.{cls.__name__}"

    @property
    def label(self) -> str:
        """Kind and name, for messages."""
        return f"{type(self.operation).__name__} '{self.operation.name}'"


@dataclass(frozen=True, slots=True)
class Graph:
    """Steps in an order in which they can run, and the tensors at both ends."""

    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[tuple[int | None, ...], ...]

    @property
    def dimensions(self) -> int:
        """Number of spatial axes of the input."""
        return len(self.input_shapes[0]) - 2


def read_graph(model: keras.Model) -> Graph:
    """Flatten a functional or sequential model.

    Raises
    ------
    GraphError
        If the model is written as a subclass, or a sequential model was never built.
    """
    functional = _functional(model)
    numbers = count()
    inputs = tuple(next(numbers) for _ in functional.inputs)
    steps: list[Step] = []
    outputs = _read(functional, inputs, numbers, steps)
    shapes = tuple(tuple(tensor.shape) for tensor in functional.inputs)
    return Graph(tuple(steps), inputs, outputs, shapes)


def _functional(model: Any) -> Any:
    cls = type(model)
    if cls.__module__.startswith("keras.src."):
        inner = getattr(model, "_functional", model)
        if hasattr(inner, "_nodes_by_depth"):
            return inner
    raise GraphError(
        f"model '{model.name}' is a {cls.__name__} whose graph cannot be read; "
        "expected a functional or a built sequential Keras model"
    )


def _nodes(functional: Any) -> Iterator[Any]:
    # Keras has no public name for the sorted graph; Function.call walks it in this way.
    depths = functional._nodes_by_depth
    for depth in sorted(depths, reverse=True):
        yield from (node for node in depths[depth] if not node.is_input)


def _read(
    functional: Any, inputs: Sequence[int], numbers: Iterator[int], steps: list[Step]
) -> tuple[int, ...]:
    """Append the steps of one model; return the numbers of its outputs."""
    known = {id(tensor): n for tensor, n in zip(functional.inputs, inputs, strict=True)}
    for node in _nodes(functional):
        sources = tuple(known[id(tensor)] for tensor in node.input_tensors)
        if _is_model(node.operation):
            results = _read(_functional(node.operation), sources, numbers, steps)
        else:
            results = tuple(next(numbers) for _ in node.outputs)
            steps.append(_step(node, sources, results))
        known.update((id(tensor), n) for tensor, n in zip(node.outputs, results, strict=True))
    return tuple(known[id(tensor)] for tensor in functional.outputs)


def _is_model(operation: Any) -> bool:
    own = type(operation).__module__.startswith("keras.src.models.")
    return own and hasattr(operation, "inputs")


def _step(node: Any, sources: tuple[int, ...], results: tuple[int, ...]) -> Step:
    tensors = {id(tensor) for tensor in node.input_tensors}
    values = (*node.arguments.args, *node.arguments.kwargs.values())
    constants = tuple(v for v in values if not _holds(v, tensors))
    shapes = tuple(tuple(tensor.shape) for tensor in node.outputs)
    return Step(node.operation, sources, results, shapes, constants)


def _holds(value: Any, tensors: set[int]) -> bool:
    """Whether an argument is one of the step's input tensors, or a list of them."""
    members = value if isinstance(value, list | tuple) else (value,)
    return any(id(member) in tensors for member in members)
