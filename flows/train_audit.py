"""What the audit finds at the end of a training: data, course, network and scores."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from segmentation.audit.evaluation import evaluation_findings
from segmentation.audit.finding import documents_in_order
from segmentation.audit.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.train_recalibration import Crops
    from flows.train_session import Session
    from segmentation.audit.finding import Finding
    from segmentation.training.fit import TrainingResult

# Batches of crops that the network is shown: more would tell little more.
SHOWN_BATCHES = 4


def training_audit(
    session: Session,
    result: TrainingResult,
    document: dict[str, Any],
    crops: Sequence[Crops],
    exact: Any,
) -> list[dict[str, Any]]:
    """Findings with their usual thresholds, in plain form, the gravest first.

    Parameters
    ----------
    session : Session
        After its last step.
    result : TrainingResult
        Its epochs.
    document : dict
        What is known of the network; its scores are read.
    crops : sequence of (images, labels)
        As they lie.
    exact : keras.Model or None
        The network with the BatchNorm statistics of the crops; None where it has none to take.
    """
    found = [
        *_course(session, result, document),
        *_network(session, result, crops, exact),
        *evaluation_findings(document["test"] or document["validation"], Thresholds().evaluation),
    ]
    told = {finding["code"] for finding in session.run.data.findings}
    new = [finding.to_dict() for finding in found if finding.code not in told]
    return [dict(one) for one in documents_in_order([*session.run.data.findings, *new])]


def _course(
    session: Session, result: TrainingResult, document: dict[str, Any]
) -> Iterator[Finding]:
    from segmentation.audit.training import training_findings

    yield from training_findings(
        result.epochs,
        monitor=document["monitor"],
        classes=[c.name for c in session.run.data.classes],
        settings=asdict(session.training.settings),
        thresholds=Thresholds().train,
    )


def _network(
    session: Session, result: TrainingResult, crops: Sequence[Crops], exact: Any
) -> Iterator[Finding]:
    from segmentation.audit.model_behaviour import behaviour_findings
    from segmentation.audit.model_calibration import Calibration
    from segmentation.audit.model_graph import graph_findings

    network, classes = session.network, session.run.data.classes
    yield from graph_findings(
        network.model,
        head=network.head,
        num_classes=len(classes),
        train_images=None,
        steps=result.best.steps,
        thresholds=Thresholds().model,
    )
    shown = crops[:SHOWN_BATCHES]
    ignored = session.training.settings.ignore_label
    yield from behaviour_findings(
        network.model,
        Calibration(
            tuple(images for images, _ in shown),
            tuple(_known(labels, ignored) for _, labels in shown),
        ),
        class_names=[c.name for c in classes],
        head=network.head,
        thresholds=Thresholds(),
        exact=exact,
    )


def _known(labels: Any, ignore_label: int | None) -> Any:
    """Labels in which what does not count is no class."""
    known = labels.astype("int64")
    if ignore_label is not None:
        known[labels == ignore_label] = -1
    return known
