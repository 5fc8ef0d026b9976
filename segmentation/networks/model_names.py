"""Classes and functions that a model's description names, and which of them may be made.

Keras looks names up in its own modules; some of those are layers that run code, open files or
start other programs' models. Only rooms of Keras that compute are allowed, without those layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Layers that run code or open files named in the description.
UNSAFE = frozenset(
    {
        *("Lambda", "__lambda__", "__typespec__"),
        *("TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"),
        *("StringLookup", "IntegerLookup", "TextVectorization"),
    }
)
# Under ``keras`` and ``keras.src``.
ROOMS = (
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses"),
    *("metrics", "models", "ops", "optimizers", "quantizers", "random", "regularizers"),
)
# Of ``keras`` itself.
ROOT = frozenset(
    {"DTypePolicy", "FloatDTypePolicy", "Functional", "KerasTensor", "Model", "Sequential"}
)
LONGEST = 80


def foreign_names(description: Any) -> Iterator[str]:
    """Classes and functions in a description that are custom, run code or open files."""
    waiting = [description]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if (name := _foreign_name(node)) is not None:
                yield name[:LONGEST]
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _foreign_name(node: dict[str, Any]) -> str | None:
    if "class_name" not in node:
        return None
    kind, module = node["class_name"], node.get("module", "")
    if kind == "function":
        return f"the function {node.get('config')}"
    if not isinstance(kind, str) or kind in UNSAFE:
        return str(kind)
    registered = node.get("registered_name") or ""
    if not isinstance(registered, str) or ">" in kind + registered:
        return f"{kind} (registered as {registered})"
    known = isinstance(module, str) and _is_known(kind, module)
    return None if known else f"{kind} (of {module or 'an unnamed module'})"


def _is_known(kind: str, module: str) -> bool:
    """Whether a class is one of Keras's own that only compute."""
    if module == "":
        return True  # Older files name classes alone, and Keras knows its layers and models.
    if module == "keras":
        return kind in ROOT
    if module == "builtins":
        return kind.startswith("__") and kind.endswith("__")
    room = module.removeprefix("keras.").removeprefix("src.").partition(".")[0]
    return module.startswith("keras.") and room in ROOMS
