"""MONAI's `SlidingWindowInferer` around the same network in PyTorch on the CPU."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.spec import tile_extents

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.spec import Spec

Settings = dict[str, Any]
# MONAI has no default window; this is a common one.
WINDOW = 256
DEFAULT: Settings = {
    "tile": WINDOW,
    "overlap": 0.25,
    "mode": "constant",
    "batch": 1,
    "channels_last": False,
}
# Isensee et al., Nature Methods 18:203 (2021): half overlap, Gaussian weights, made once.
NNUNET: Settings = DEFAULT | {"overlap": 0.5, "mode": "gaussian", "cached": True}


def candidates(spec: Spec) -> list[Settings]:
    """Window, overlap, windows at once, memory format and threads."""
    extents = tile_extents(spec)
    overlaps = (0.0,) if spec.quick else (0.0, 0.125)
    found = []
    for tile in extents:
        whole = tile == extents[-1]
        for overlap in (0.0,) if whole else overlaps:
            for batch in (1,) if spec.quick or whole else (1, 4):
                for last in (True,) if spec.quick else (False, True):
                    found.append(
                        {
                            "tile": tile,
                            "overlap": overlap,
                            "mode": "constant",
                            "batch": batch,
                            "channels_last": last,
                            "cached": True,
                        }
                    )
    return found


def prepare(spec: Spec, settings: Settings) -> Callable[[Any, Any], Settings]:
    """Convert the network; planes go through the inferer one after the other."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from benchmarks.peers.torch_unet import torch_unet

    torch.set_num_threads(settings.get("threads", spec.threads))
    network = torch_unet(spec.model())
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    network = network.to(memory_format=layout)
    tile = settings["tile"]
    inferer = SlidingWindowInferer(
        roi_size=(tile, tile),
        sw_batch_size=settings["batch"],
        overlap=settings["overlap"],
        mode=settings["mode"],
        cache_roi_weight_map=settings.get("cached", False),
    )
    half = settings.get("precision") == "bfloat16"
    computed: list[int] = []

    def call(windows: torch.Tensor) -> torch.Tensor:
        computed.append(windows.numel())
        logits: torch.Tensor = network(windows.to(memory_format=layout))
        return logits.float()

    def plane_classes(plane: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), _precision(torch, half=half):
            image = torch.from_numpy(np.moveaxis(plane, -1, 0)[np.newaxis])
            found = inferer(image, call)
            return np.asarray(found.argmax(dim=1)[0].to(torch.uint8).numpy())

    # Once as it will be: oneDNN prepares itself for every shape it meets.
    plane_classes(np.zeros((*spec.source.shape[1:], 1), np.float32))
    computed.clear()

    def run(source: Any, target: Any) -> Settings:
        for z in range(spec.planes):
            target[z] = plane_classes(spec.normalised(source[z]))
        return {"computed_voxels": sum(computed)}

    return run


def _precision(torch: Any, *, half: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
