"""Other BatchNorm statistics for a trained network, kept where validation says that they help."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flows.training_run import RECALIBRATED
from segmentation.bundle import save_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.train_network import Network
    from flows.train_session import Session
    from segmentation.bundle import Card
    from segmentation.training.feed import Feed

Crops = tuple[Any, Any]
# How much better validation must get for a bundle of its own.
HELPS = 0.005
CALIBRATION_STEPS = 8


def calibration_crops(feed: Feed) -> list[Crops]:
    """Images and labels of some steps as they lie, any place alike."""
    from segmentation.training.augment import augmentation

    sampler = replace(feed.sampler, class_share=0.0)
    plain = replace(feed, sampler=sampler, augmentation=augmentation("none"))
    return [plain.batch(step) for step in range(CALIBRATION_STEPS)]


def exact_network(network: Network, crops: Sequence[Crops]) -> Any:
    """The network with the BatchNorm statistics of the crops.

    None without BatchNorm, or where part of the network was to stay as it was.
    """
    from segmentation.networks.variants import has_batch_norm
    from segmentation.training.recalibration import recalibrated

    if not has_batch_norm(network.model) or network.frozen:
        return None
    return recalibrated(network.model, [images for images, _ in crops])


def keep_if_better(
    session: Session, home: Path, card: Card, document: dict[str, Any], exact: Any
) -> dict[str, Any]:
    """Score validation with exact BatchNorm statistics; a bundle of its own where it is better.

    Parameters
    ----------
    session : Session
        After its last step.
    home : Path
        Folder of the network's bundle.
    card : Card
        Of that bundle.
    document : dict
        What is known of the network: "digest" and "validation" are read.
    exact : keras.Model
        The network with other statistics.

    Returns
    -------
    dict
        "helped", macro-foreground Dice "before" and "after", "bundle".
    """
    before = document["validation"]["macro_foreground_dice"]
    after = _macro_dice(session, exact)
    helped = None not in (before, after) and after - before > HELPS
    if helped:
        note = {"recalibrated_from": document["digest"], "before": before, "after": after}
        provenance = {**card.training, "recalibration": note}
        save_bundle(home / RECALIBRATED, exact, replace(card, training=provenance))
    name = RECALIBRATED if helped else None
    return {"helped": helped, "before": before, "after": after, "bundle": name}


def _macro_dice(session: Session, model: Any) -> Any:
    from segmentation.predictor import NetworkPredictor
    from segmentation.training.validate import row_of

    scorer = session.training.scorer
    predictor = NetworkPredictor(model, head=session.network.head, geometry=scorer.geometry)
    return row_of(scorer.score(scorer.validation, predictor)).macro_foreground_dice
