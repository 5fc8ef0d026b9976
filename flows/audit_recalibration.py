"""A bundle with other BatchNorm statistics, and whether it is any better."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.new_bundle import deliver, new_bundle
from segmentation.audit.finding import Finding, Table
from segmentation.bundle import save_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from flows.audit_images import Shown
    from flows.jobs import AuditJob
    from flows.model import Model
    from segmentation.audit.model_batch_norm import Comparison

# How much better the score must get before a bundle is said to be better; that of `maskmill train`.
HELPS = 0.005


def check_recalibration(job: AuditJob) -> Path | None:
    """Folder for the new bundle, if one is wanted; refused before the work, not after it.

    Raises
    ------
    RequestError
        If there are no images for it, or no place.
    """
    if job.recalibrate is None:
        if job.fast:
            raise RequestError("--fast says how to recalibrate; give --recalibrate OUT with it")
        return None
    if job.on is None:
        raise RequestError(
            "--recalibrate takes BatchNorm's statistics from images; give them with --on IMAGE.zarr"
        )
    return new_bundle(job.recalibrate)


def write_recalibrated(
    folder: Path, network: Any, model: Model, shown: Shown, *, fast: bool, url: str
) -> Finding:
    """Take the statistics of some images, write the bundle, and say whether it helps.

    Parameters
    ----------
    folder : Path
        Of the new bundle.
    network : keras.Model
        Of the old one; it stays as it is.
    model : Model
        The old bundle.
    shown : Shown
        Images that the statistics are taken from.
    fast : bool
        One pass over all layers at once.
    url : str
        Where the new bundle goes when it is whole.

    Raises
    ------
    RequestError
        If the network has no BatchNorm, or one whose statistics cannot be taken.
    """
    from segmentation.audit.model_batch_norm import compare
    from segmentation.networks.variants import has_batch_norm
    from segmentation.training.recalibration import recalibrated

    card = model.card
    if card is None or not has_batch_norm(network):
        raise RequestError(
            f"{model.folder} has no BatchNorm layer, so there is nothing to recalibrate; "
            "leave --recalibrate out"
        )
    try:
        copy = recalibrated(network, shown.calibration.batches, fast=fast)
    except ValueError as error:
        raise RequestError(str(error)) from error
    found = compare(
        network,
        copy,
        shown.calibration,
        class_names=[c.name for c in card.classes],
        head=card.head,
    )
    note = _note(model, shown, found, fast=fast)
    save_bundle(folder, copy, replace(card, training={**card.training, "recalibration": note}))
    return _outcome(deliver(folder, url), found, note)


def _note(model: Model, shown: Shown, found: Comparison, *, fast: bool) -> dict[str, Any]:
    """Provenance of the new bundle."""
    return {
        "recalibrated_from": model.digest,
        "mode": "fast" if fast else "exact",
        **shown.source,
        "measure": found.measure,
        "before": found.before,
        "after": found.after,
        "changed": found.changed,
    }


def _outcome(folder: str, found: Comparison, note: dict[str, Any]) -> Finding:
    """Told whatever came of it: a recalibrated bundle is not a better one by itself."""
    verdict, advice = _verdict(found)
    rows = tuple((name, _cell(value)) for name, value in note.items())
    return Finding(
        code="MODEL-BN-GAP",
        severity="info",
        statement=f"A bundle with the BatchNorm statistics of these images was written; "
        f"{found.changed:.1%} of the {found.unit}s get another class with it, {verdict}.",
        rule="The same images are predicted with the old and with the new bundle"
        + ("" if found.gain is None else f"; {found.measure} changes by {found.gain:+.3f}")
        + ".",
        advice=advice.format(folder=folder),
        proves_not="That it does the same on images of other specimens: the statistics are those "
        "of these images, and were scored on them.",
        evidence=(Table("Recalibration", ("what", "value"), rows),),
    )


def _cell(value: Any) -> Any:
    return " × ".join(map(str, value)) if isinstance(value, list) else value


def _verdict(found: Comparison) -> tuple[str, str]:
    use = "Use {folder} in place of the old bundle: `maskmill segment IMAGE.zarr --model {folder}`."
    if found.unit == "image":
        use = use.replace("segment IMAGE.zarr", "classify IMAGES")
    if found.gain is None:
        return "and without truth it is not known which is right", (
            "Compare both bundles on an image with truth, and keep the better one: add --truth."
        )
    scores = f"{found.before:.3f} before and {found.after:.3f} after"
    if found.gain > HELPS:
        return f"and it helps: {found.measure} is {scores}", use
    return f"and it does not help: {found.measure} is {scores}", (
        "Keep the old bundle, and remove {folder}."
    )
