"""Networks by name: one that is best for little time, and those of the source cases, repaired.

The source cases describe U-Nets whose last features were squeezed through as many ReLU channels
as there are classes before the head saw them: a third of the trainings died of it. Here the head
sees the features as they are; the rest is as described.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.networks.source_unet import build_source_unet
from segmentation.networks.unet import build_unet

if TYPE_CHECKING:
    import keras

    from segmentation.networks.unet import Head

PRESETS = ("default", "unet4", "unet-binary", "unet-one-class")
# Networks with a sigmoid head of one channel.
ONE_CLASS = ("unet-binary", "unet-one-class")

DEFAULT_WIDTH = {"yx": 32, "zyx": 16}
SOURCE_WIDTH = 64
DEFAULT_DEPTH = 4


def check_preset(preset: str, axes: str, num_classes: int) -> None:
    """Check that a preset exists and suits the data; Keras is not needed for it.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    axes : "yx" or "zyx"
        Spatial axes of the network.
    num_classes : int
        Classes, the background included.

    Raises
    ------
    ValueError
        If it does not.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}")
    if preset != "default" and axes != "yx":
        raise ValueError(
            f"preset {preset} is a network of sections, but axes are {axes!r}; "
            "use axes yx, or preset default"
        )
    if preset in ONE_CLASS and num_classes != 2:
        raise ValueError(
            f"preset {preset} tells one class from the background, but there are {num_classes} "
            "classes with the background; isolate one class, or use preset unet4 or default"
        )


def build_network(
    preset: str,
    axes: str,
    *,
    channels: int,
    num_classes: int,
    width: int | None = None,
    depth: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build an untrained network.

    ================ =================== ============ ================ ================
    preset           BatchNorm           Dropout      way up           head
    ================ =================== ============ ================ ================
    default          before each ReLU    none         1x1, repeat      softmax
    unet4            after each ReLU     0.5, twice   repeat, 2x2 ReLU softmax
    unet-binary      none                none         repeat, 2x2 ReLU sigmoid, 1 class
    unet-one-class   none                none         transposed 2x2   sigmoid, 1 class
    ================ =================== ============ ================ ================

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    axes : "yx" or "zyx"
        Spatial axes; all but the default work on sections, yx.
    channels : int
        Input channels.
    num_classes : int
        Classes, the background included.
    width : int, optional
        Features at full resolution: 32 for the default (16 in 3D), 64 for the others.
    depth : int, optional
        Number of poolings, 4 if not given.
    seed : int
        Of the initial weights and of Dropout.

    Returns
    -------
    keras.Model
        Input (batch, *axes, channels), any size that is a multiple of 2**depth; output
        probabilities (batch, *axes, num_classes), or one channel for a sigmoid head. Layers are
        named by place: ``down0a``, ``bottomb``, ``merge0a``, ``head``.

    Raises
    ------
    ValueError
        If the preset does not suit the data, or a number is out of range.
    """
    check_preset(preset, axes, num_classes)
    if width is None:
        width = DEFAULT_WIDTH[axes] if preset == "default" else SOURCE_WIDTH
    depth = DEFAULT_DEPTH if depth is None else depth
    one_class = preset in ONE_CLASS
    outputs = 1 if one_class else num_classes
    head: Head = "sigmoid" if one_class else "softmax"
    if preset in ("unet4", "unet-binary"):
        return build_source_unet(
            channels,
            outputs,
            width=width,
            depth=depth,
            head=head,
            regularised=not one_class,
            seed=seed,
        )
    return build_unet(
        axes,
        channels=channels,
        num_classes=outputs,
        width=width,
        depth=depth,
        head=head,
        batch_norm=not one_class,
        upsampling="transpose" if one_class else "nearest",
        seed=seed,
    )
