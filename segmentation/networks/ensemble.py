"""Several networks as one: the mean of their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


def average_networks(members: Sequence[keras.Model]) -> keras.Model:
    """One network that gives the mean of the members' probabilities.

    It is a plain Keras graph, so halo, stride and exactness are derived and measured as for any
    other, and it is used like any other.

    Parameters
    ----------
    members : sequence of keras.Model
        All with the same input and output; they are renamed ``fold0``, ``fold1``, …

    Raises
    ------
    ValueError
        If there are fewer than two, or their inputs or outputs differ.
    """
    if len(members) < 2:
        raise ValueError(f"an ensemble needs two networks or more; received {len(members)}")
    shapes = {(tuple(m.input_shape), tuple(m.output_shape)) for m in members}
    if len(shapes) > 1:
        raise ValueError(
            f"the networks have the inputs and outputs {sorted(shapes, key=str)}; expected one form"
        )
    keras = import_keras()
    inputs = keras.Input(members[0].input_shape[1:], name="image")
    outputs = []
    for number, member in enumerate(members):
        member.name = f"fold{number}"
        outputs.append(member(inputs))
    return keras.Model(inputs, keras.layers.Average(name="mean")(outputs), name="ensemble")
