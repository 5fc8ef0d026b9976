"""The U-Net of `segmentation.networks.unet` in PyTorch, with the weights of a Keras one.

Layers keep their Keras names, so that a weight is found by name. Keras counts channels last and
PyTorch first: a kernel (y, x, in, out) becomes (out, in, y, x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    import keras


class TorchUNet(nn.Module):
    """Two-dimensional U-Net; logits, as PyTorch's users take them.

    Parameters
    ----------
    layers : dict
        Modules by their Keras name.
    depth : int
        Number of poolings.
    """

    def __init__(self, layers: dict[str, nn.Module], depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.depth = depth

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes, y, x), from images (batch, channels, y, x)."""
        features, skips = images, []
        for level in range(self.depth):
            features = self._double(features, f"down{level}")
            skips.append(features)
            features = self.layers[f"pool{level}"](features)
        features = self._double(features, "bottom")
        for level in reversed(range(self.depth)):
            if f"up{level}_halve" in self.layers:
                features = self.layers[f"up{level}_halve"](features)
            features = self.layers[f"up{level}"](features)
            features = torch.cat([skips[level], features], dim=1)
            features = self._double(features, f"merge{level}")
        logits: torch.Tensor = self.layers["head"](features)
        return logits

    def _double(self, features: torch.Tensor, name: str) -> torch.Tensor:
        for step in ("a", "b"):
            features = self.layers[f"{name}{step}"](features)
            norm = f"{name}{step}_norm"
            if norm in self.layers:
                features = self.layers[norm](features)
            features = torch.relu(features)
        return features


def torch_unet(model: keras.Model) -> TorchUNet:
    """Convert a two-dimensional U-Net of `build_unet`, in evaluation mode.

    Raises
    ------
    ValueError
        If a layer has no counterpart here, or a kernel is even: PyTorch pads it elsewhere.
    """
    layers = {layer.name: _converted(layer) for layer in model.layers}
    kept = {name: module for name, module in layers.items() if module is not None}
    depth = sum(name.startswith("pool") for name in kept)
    return TorchUNet(kept, depth).eval()


def _converted(layer: Any) -> nn.Module | None:
    """The module of a layer; None where `TorchUNet.forward` has it."""
    convert = {
        "Conv2D": _convolution,
        "Conv2DTranspose": _transposed,
        "BatchNormalization": _batch_norm,
        "MaxPooling2D": lambda pool: nn.MaxPool2d(tuple(pool.pool_size)),
        "UpSampling2D": lambda up: nn.Upsample(scale_factor=tuple(map(float, up.size))),
    }
    kind = type(layer).__name__
    if kind in ("InputLayer", "ReLU", "Concatenate", "Dropout"):
        return None
    if kind not in convert:
        raise ValueError(f"{layer.name} is a {kind}; expected a layer of build_unet in 2D")
    return convert[kind](layer)


def _convolution(layer: Any) -> nn.Conv2d:
    kernel = _array(layer.kernel)
    height, width, inputs, outputs = kernel.shape
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"{layer.name} has a kernel of {height} × {width}; expected odd sizes")
    module = nn.Conv2d(
        inputs,
        outputs,
        (height, width),
        padding="same",
        dilation=tuple(layer.dilation_rate),
        bias=layer.use_bias,
    )
    _fill(module.weight, kernel.transpose(3, 2, 0, 1))
    if module.bias is not None:
        _fill(module.bias, _array(layer.bias))
    return module


def _transposed(layer: Any) -> nn.ConvTranspose2d:
    kernel = _array(layer.kernel)
    height, width, outputs, inputs = kernel.shape
    module = nn.ConvTranspose2d(inputs, outputs, (height, width), stride=(height, width))
    _fill(module.weight, kernel.transpose(3, 2, 0, 1))
    _fill(module.bias, _array(layer.bias))
    return module


def _batch_norm(layer: Any) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(int(layer.gamma.shape[0]), eps=layer.epsilon)
    _fill(module.weight, _array(layer.gamma))
    _fill(module.bias, _array(layer.beta))
    _fill(module.running_mean, _array(layer.moving_mean))
    _fill(module.running_var, _array(layer.moving_variance))
    return module


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable, np.float32)


def _fill(target: torch.Tensor | None, values: np.ndarray) -> None:
    if target is None:
        raise ValueError("the module has no such weight; expected one as in Keras")
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))
