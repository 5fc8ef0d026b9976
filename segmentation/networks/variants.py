"""The same network in another form: other arithmetic, without dropout, part of it frozen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.networks.graph import read_graph
from segmentation.networks.rebuild import rebuild
from segmentation.networks.runtime import import_keras, reading_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
# Layers whose output is left to chance in training, by the name of what sets how much.
CHANCE = ("rate", "stddev")
CPU_INFO = Path("/proc/cpuinfo")
# Instructions of a CPU for each arithmetic, as Linux names them on x86 and on ARM.
INSTRUCTIONS = {
    "float32": frozenset[str](),
    "bfloat16": frozenset({"amx_bf16", "avx512_bf16", "bf16"}),
    "float16": frozenset({"amx_fp16", "avx512_fp16", "fphp"}),
}


def choose_precision(wanted: str, *, cpu_info: Path = CPU_INFO) -> str:
    """Arithmetic for training: "float32", "bfloat16" or "float16".

    Parameters
    ----------
    wanted : str
        One of these, or "auto": bfloat16 where the hardware computes in it faster (a GPU of
        compute capability 8 or more, a CPU with AMX), else float32.
    cpu_info : Path
        What the kernel says of the processor.
    """
    if wanted != "auto":
        return wanted
    keras = import_keras()
    if keras.backend.backend() != "tensorflow":
        return "float32"
    import tensorflow

    devices = tensorflow.config.list_physical_devices("GPU")
    if devices:
        details = [tensorflow.config.experimental.get_device_details(d) for d in devices]
        able = all(d.get("compute_capability", (0, 0))[0] >= 8 for d in details)
    else:
        able = cpu_info.is_file() and " amx_bf16" in cpu_info.read_text()
    return "bfloat16" if able else "float32"


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """A copy that computes in another arithmetic; its weights and its output stay float32.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, in float32, not compiled.
    precision : str
        "float32", "bfloat16" or "float16".
    """
    policy, last = POLICIES[precision], model.layers[-1].name

    def recast(layer: Any) -> Any:
        config = layer.get_config()
        return layer.from_config(config if layer.name == last else config | {"dtype": policy})

    return _cloned(model, recast)


def is_native(precision: str, *, cpu_info: Path = CPU_INFO) -> bool:
    """Whether this machine's CPU has instructions for an arithmetic; True where it is not known.

    Parameters
    ----------
    precision : str
        One of `POLICIES`.
    cpu_info : Path
        What the kernel says of the processor.
    """
    wanted = INSTRUCTIONS[precision]
    if not wanted or not cpu_info.is_file():
        return True
    return not wanted.isdisjoint(cpu_info.read_text().split())


def computed_in(model: keras.Model, precision: str) -> keras.Model:
    """A copy for inference whose layers compute in another arithmetic, all but its head.

    The head is the last layer that has weights and what follows it: probabilities are made and
    compared in float32. Weights stay float32 and are rounded where they are used.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, in float32, with networks nested in it or not.
    precision : str
        One of `POLICIES`; float32 gives the model itself.
    """
    if precision == "float32":
        return model
    head, policy = _head(model), {"dtype": POLICIES[precision]}

    def recast(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(config if id(layer) in head else config | policy)

    copy, pairs = rebuild(model, recast)
    with reading_weights():
        for layer, other in pairs:
            other.set_weights(layer.get_weights())
    return copy


def _head(model: keras.Model) -> set[int]:
    """The ``id`` of every layer from the output back to the first one with weights."""
    graph = read_graph(model)
    makers = {tensor: step for step in graph.steps for tensor in step.outputs}
    waiting, found = list(graph.outputs), set[int]()
    while waiting:
        step = makers.get(waiting.pop())
        if step is None:
            continue
        found.add(id(step.operation))
        if not getattr(step.operation, "weights", ()):
            waiting.extend(step.inputs)
    return found


def without_chance(model: keras.Model) -> keras.Model:
    """A copy whose dropout and noise layers do nothing, in training mode too."""

    def calm(layer: Any) -> Any:
        config = layer.get_config()
        return layer.from_config(config | {key: 0.0 for key in CHANCE if key in config})

    return _cloned(model, calm)


def has_batch_norm(model: keras.Model) -> bool:
    """Whether any layer keeps moving statistics of a batch."""
    return any(type(layer).__name__ == "BatchNormalization" for layer in model._flatten_layers())


def freeze_until(model: keras.Model, name: str) -> tuple[str, ...]:
    """Keep the weights of all layers up to one, that one included; names of the frozen layers.

    Frozen BatchNorm uses its moving statistics and keeps them.

    Raises
    ------
    ValueError
        If there is no layer of this name, or nothing would be left to train.
    """
    names = [layer.name for layer in model.layers]
    if name not in names:
        with_weights = [layer.name for layer in model.layers if layer.weights]
        raise ValueError(
            f"the network has no layer {name!r} to freeze until; it has {', '.join(with_weights)}"
        )
    frozen = model.layers[: names.index(name) + 1]
    for layer in frozen:
        layer.trainable = False
    if not model.trainable_variables:
        raise ValueError(f"nothing is left to train after {name!r}; name an earlier layer")
    return tuple(layer.name for layer in frozen if layer.weights)


def with_head(model: keras.Model, outputs: int, head: str, seed: int) -> keras.Model:
    """The network with a new last layer for other classes, on the same features.

    Parameters
    ----------
    model : keras.Model
        Its last layer is a convolution of size 1 with the activation in it.
    outputs : int
        Channels of the new output.
    head : "softmax" or "sigmoid"
        Its activation.
    seed : int
        Of its weights.

    Raises
    ------
    ValueError
        If the last layer is another.
    """
    last = model.layers[-1]
    size = getattr(last, "kernel_size", ())
    if not type(last).__name__.startswith("Conv") or set(size) != {1}:
        raise ValueError(
            f"the pretrained network ends in {type(last).__name__} '{last.name}', which cannot be "
            "exchanged for other classes; expected a convolution of size 1. Use the same classes"
        )
    keras = import_keras()
    initializer = keras.initializers.HeNormal(seed=seed)
    layer = type(last)(outputs, 1, activation=head, name=last.name, kernel_initializer=initializer)
    return keras.Model(model.inputs[0], layer(last.input), name=model.name)


def _cloned(model: keras.Model, make: Callable[[Any], Any]) -> keras.Model:
    copy = import_keras().models.clone_model(model, clone_function=make)
    copy_weights(model, copy)
    return copy


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Give one network the weights and statistics of another of the same layers."""
    with reading_weights():
        weights: Sequence[Any] = source.get_weights()
        target.set_weights(weights)
