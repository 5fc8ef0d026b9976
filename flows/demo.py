"""Everything once: a synthetic stack, a small network, masks through Prefect and Ray, scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import RequestError
from flows.jobs import SegmentJob, TrainJob
from flows.prefect_server import prefect_server

if TYPE_CHECKING:
    from flows.jobs import DemoJob

SHAPE = (24, 512, 512)
VOXEL_SIZE = (0.05, 0.01, 0.01)
TRAINED = 12
VALIDATED = 14


def run_demo(job: DemoJob) -> dict[str, Any]:
    """Make a stack, train on half of it, segment all of it, score the unseen sections.

    Raises
    ------
    RequestError
        If the folder is not empty.
    """
    folder = Path(job.out)
    if folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder} is not empty; give an empty folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    image = str(folder / "stack.zarr")
    with prefect_server():
        result = _segment(folder, image)
    _tell("4/5 comparing stored bytes with the records, scoring the unseen sections")
    _verify(image)
    unseen = _unseen(image)
    _tell("5/5 auditing the run")
    audit = _audit(folder, result["run"])
    places = {key: result[key] for key in ("mask", "run", "report", "published")}
    return unseen | places | {"evaluation": unseen["report"]} | audit


def _segment(folder: Path, image: str) -> dict[str, Any]:
    """Stack, network and mask; what the run says of itself."""
    _tell("1/5 making a noisy four-class stack, 24 × 512 × 512 voxels")
    _make_stack(image)
    _tell(f"2/5 training a small U-Net on sections 0 to {TRAINED - 1}")
    _train(folder)
    _tell("3/5 segmenting the stack through Prefect and Ray")
    from flows.segment import segment_volume

    result: dict[str, Any] = segment_volume(
        SegmentJob(
            image=image,
            model=str(folder / "bundle"),
            name="cells",
            truth="truth",
            # A demonstration of the pipeline shows all of it.
            executor="ray",
        )
    )
    return result


def _make_stack(image: str) -> None:
    import numpy as np

    from segmentation.synthetic import CLASSES, synthetic_stack
    from storage.convert import import_image, import_labels

    voxels, labels = synthetic_stack(SHAPE, seed=1)
    folder = Path(image).parent
    np.save(folder / "stack.npy", voxels)
    np.save(folder / "truth.npy", labels)
    import_image(
        [str(folder / "stack.npy")], image, axes="zyx", voxel_size=VOXEL_SIZE, unit="micrometer"
    )
    names = [name for _, name, _ in CLASSES]
    import_labels(
        [str(folder / "truth.npy")], image, name="truth", classes=tuple(names), axes="zyx"
    )


def _train(folder: Path) -> None:
    from flows.train import train_model

    catalog = {
        "volumes": [
            {
                "image": "stack.zarr",
                "label": "truth",
                "group": "synthetic",
                "region": f"z={start}:{stop}",
                "split": split,
            }
            for start, stop, split in (
                (0, TRAINED, "train"),
                (TRAINED, VALIDATED, "validation"),
            )
        ]
    }
    # JSON is YAML too.
    (folder / "catalog.yaml").write_text(json.dumps(catalog, indent=2))
    train_model(
        TrainJob(
            catalog=str(folder / "catalog.yaml"),
            out=str(folder / "bundle"),
            width=8,
            depth=3,
            crop=(128, 128),
            batch_size=8,
            steps=240,
            steps_per_epoch=80,
            learning_rate=5e-3,
            class_share=0.7,
            class_weights="sqrt",
            augment="flips",
            seed=0,
        )
    )


def _verify(image: str) -> None:
    from flows.check import verify_labels
    from flows.jobs import VerifyJob

    verify_labels(VerifyJob(image=image, labels="cells"))


def _unseen(image: str) -> dict[str, Any]:
    from flows.evaluation_run import run_evaluation
    from flows.jobs import EvaluateJob

    return run_evaluation(
        EvaluateJob(
            image=image,
            labels="cells",
            truth="truth",
            region=f"z={VALIDATED}:{SHAPE[0]}",
            executor="serial",
        )
    )


def _audit(folder: Path, run: str) -> dict[str, Any]:
    """What the audit finds in the run, and its page."""
    from flows.audit import run_audit
    from flows.jobs import AuditJob

    found = run_audit(AuditJob(target=run, report=str(folder / "audit.html")))
    return {"findings": found["findings"], "audit": found["report"]}


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
