"""A network built again layer by layer, networks nested in it included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras


def rebuild(
    model: keras.Model, make: Callable[[Any], Any]
) -> tuple[keras.Model, list[tuple[Any, Any]]]:
    """The same graph of other layers, and every layer with the one in its place.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.
    make : callable
        From a layer to the new one; it may be an identity. Operations without weights, such as
        ``x + y``, and inputs are used as they are.

    Returns
    -------
    (keras.Model, list of (layer, layer))
        The new weights are what `make` left: fresh ones.
    """
    keras = import_keras()
    pairs: list[tuple[Any, Any]] = []

    def made(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer
        pairs.append((layer, make(layer)))
        return pairs[-1][1]

    # A sequential model calls its layers itself; it takes no function for that.
    listed = isinstance(model, keras.Sequential)
    call = {} if listed else {"call_function": _call}
    return keras.models.clone_model(model, clone_function=made, recursive=True, **call), pairs


def _call(operation: Any, *tensors: Any, **options: Any) -> Any:
    """Call an operation in its place; an identity takes none of BatchNorm's options."""
    identity = isinstance(operation, import_keras().layers.Identity)
    return operation(*tensors, **({} if identity else options))
