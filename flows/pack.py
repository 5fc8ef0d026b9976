"""An existing Keras model as a bundle: how most users arrive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.new_bundle import deliver, new_bundle
from segmentation.bundle import ClassInfo, bundle_digest, save_bundle
from storage.ome_labels import default_color
from storage.units import require_length_unit

if TYPE_CHECKING:
    from flows.jobs import PackJob


def pack_model(job: PackJob) -> dict[str, Any]:
    """Check the graph, derive and measure halo and stride, write the bundle.

    Raises
    ------
    RequestError, BundleError
        If the model cannot become a bundle, or the folder cannot hold it.
    """
    folder = new_bundle(job.bundle)
    if not Path(job.model).is_file():
        raise RequestError(f"{job.model} is not a file; expected a .keras or .h5 model")
    if (job.voxel_size is None) != (job.unit is None):
        raise RequestError("--voxel-size and --unit go together; give both or neither")
    from segmentation.networks.model_file import read_model
    from segmentation.packing import free_size, make_card

    model = free_size(read_model(job.model))
    axes = job.axes or ("yx" if len(model.inputs[0].shape) == 4 else "zyx")
    card = make_card(
        model,
        [ClassInfo(v, name, default_color(v)) for v, name in enumerate(job.classes)],
        axes=axes,
        intensity=_intensity(job, int(model.inputs[0].shape[-1])),
        voxel_size=job.voxel_size,
        unit=require_length_unit(job.unit) if job.unit else None,
        training={"packed": Path(job.model).name},
    )
    save_bundle(folder, model, replace(card, precision=job.precision))
    digest = bundle_digest(folder)
    return {
        "bundle": deliver(folder, job.bundle),
        "digest": digest,
        "axes": axes,
        "channels": card.channels,
        "head": card.head,
        "precision": job.precision,
        "stride": list(card.stride),
        "halo": list(card.halo),
        "exact": card.exact,
        "inexact_reasons": list(card.inexact_reasons),
        "mismatch": card.mismatch,
    }


def _intensity(job: PackJob, channels: int) -> dict[str, Any]:
    if (job.intensity_percentiles is None) == (job.intensity_range is None):
        raise RequestError(
            "give --intensity-percentiles 1,99 (of each volume) or --intensity-range 0,255 "
            "(fixed): what becomes 0 and 1 in the network's input"
        )
    low, high = _pair(job.intensity_percentiles or job.intensity_range or ())
    if job.intensity_percentiles is not None:
        return {"rule": "percentiles", "low": low, "high": high}
    return {"rule": "fixed", "low": [low] * channels, "high": [high] * channels}


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] < values[1]:
        raise RequestError(f"intensities {values} are not two rising numbers, such as 1,99")
    return values[0], values[1]
