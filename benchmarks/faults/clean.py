"""Clean pipelines, and the warnings that are right there: written down before the first run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.faults import commands
from benchmarks.faults.data import catalog_job
from benchmarks.faults.fault import CleanPipeline
from benchmarks.faults.inference import LITTLE, copied, segmented
from benchmarks.faults.logs import csv_log, fit_code, healthy, own_curves, own_log, pasted
from benchmarks.faults.metric import probed
from benchmarks.faults.model import shown
from benchmarks.faults.pipeline import CLASSES, MASK, SHAPE, TISSUE_CLASSES, Pipeline, tissue
from benchmarks.faults.tables import in_turn, write_table
from benchmarks.faults.training import logged
from benchmarks.faults.volumes import TRUTH, write_image, write_label, write_specimen
from flows.jobs import AuditJob, TrainJob
from flows.training_run import plan_training
from segmentation.synthetic import synthetic_stack

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.faults.fault import Document

OTHER_SEED = 300
FEW = {"SPLIT-TINY-VAL": "five specimens a part: their mean Dice is known to ±0.06 at best"}
FEWER = FEW | {"SPLIT-CLASS-SUPPORT": "the split by shares leaves two or three specimens a part"}
ONE = {"EVAL-SMALL-N": "there is one specimen, so nothing is known of others"}
# Written down after the first run, in which it was found, and found true by hand.
TIPS = {"EVAL-OUTLIER-IMAGES": "so small a network misses the ends of structures in some sections"}


def whole_catalog(pipeline: Pipeline, _folder: Path) -> AuditJob:
    """Sixteen specimens, four classes, the split fixed."""
    return AuditJob(target=pipeline.catalog)


def split_by_maskmill(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """Sixteen other specimens, and no split."""
    volumes = Pipeline(folder, seed=OTHER_SEED).volumes
    return catalog_job(folder, [{k: v[k] for k in v if k != "split"} for v in volumes])


def five_classes(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The synapse as a class of its own."""
    volumes = []
    for number, old in enumerate(pipeline.specimens):
        stack = synthetic_stack(SHAPE, seed=pipeline.seed + number)
        new = write_specimen(folder, old.name, old.part, *stack, classes=TISSUE_CLASSES)
        volumes.append(new.volume)
    return catalog_job(folder, volumes)


def one_class(pipeline: Pipeline, folder: Path) -> list[Document]:
    """What `maskmill train --only-class mitochondria` finds before it starts."""
    job = TrainJob(catalog=pipeline.catalog, out=str(folder / "bundle"), only_class="mitochondria")
    return list(plan_training(job).data.findings)


def five_folds(pipeline: Pipeline, folder: Path) -> list[Document]:
    """What `maskmill train --folds 5` finds before it starts."""
    volumes = [{k: v[k] for k in v if k != "split"} for v in pipeline.volumes]
    catalog = str(catalog_job(folder, volumes).target)
    job = TrainJob(catalog=catalog, out=str(folder / "bundle"), folds=5)
    return list(plan_training(job).data.findings)


def single_images(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """Sixty images of membranes that have nothing to do with each other, in one stack."""
    planes = [tissue(OTHER_SEED + number, (1, 96, 96)) for number in range(60)]
    voxels, labels = (np.concatenate(part) for part in zip(*planes, strict=True))
    image = folder / "images.zarr"
    write_image(image, voxels)
    write_label(image, (labels == 1).astype(np.uint8), CLASSES[:2])
    entry = {"image": str(image), "label": TRUTH, "group": "images", "images_along": "z"}
    return catalog_job(folder, [entry])


def one_stack(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """A single stack: sections to train, to validate and to test, with a gap between."""
    stack = tissue(OTHER_SEED, (24, 128, 128))
    new = write_specimen(folder, "only one", "train", *stack, classes=CLASSES).volume
    parts = (("z=0:12", "train"), ("z=13:18", "validation"), ("z=19:24", "test"))
    return catalog_job(folder, [new | {"region": r, "split": part} for r, part in parts])


def table_with_split(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """Pictures of two classes in an order of chance, 100 to validate and 100 to test."""
    parts = [*["train"] * 100, *["validation"] * 100, *["test"] * 100]
    return AuditJob(target=write_table(folder, in_turn(300), parts))


def table_of_patients(_pipeline: Pipeline, folder: Path) -> AuditJob:
    """Three pictures of each patient, and no split."""
    labels = [label for label in in_turn(60) for _ in range(3)]
    return AuditJob(target=write_table(folder, labels, [None] * 180, per_group=3))


def trained_network(pipeline: Pipeline, _folder: Path) -> AuditJob:
    """The network as it was trained, on an image of the test part."""
    return shown(pipeline, pipeline.bundle)


def training_result(pipeline: Pipeline, _folder: Path) -> list[Document]:
    """The findings of the training itself."""
    return list(pipeline.training["findings"])


def training_log(pipeline: Pipeline, _folder: Path) -> AuditJob:
    """The history that the training left."""
    return AuditJob(target=str(pipeline.bundle / "training" / "history.csv"))


def clean_run(pipeline: Pipeline, _folder: Path) -> AuditJob:
    """The run with truth."""
    return AuditJob(target=pipeline.run)


def run_without_truth(pipeline: Pipeline, folder: Path) -> AuditJob:
    """The same without truth, in many small tiles."""
    return AuditJob(target=segmented(copied(pipeline, folder), pipeline.bundle, memory=LITTLE))


def five_specimens(pipeline: Pipeline, folder: Path) -> AuditJob:
    """All specimens of the test part, segmented and evaluated by a catalog."""
    volumes = []
    for s in pipeline.specimens:
        if s.part == "test":
            new = write_specimen(folder, s.name, "test", s.voxels, s.labels, classes=CLASSES)
            segmented(new.image, pipeline.bundle)
            volumes.append(new.volume)
    catalog = str(catalog_job(folder, volumes).target)
    return AuditJob(target=commands.evaluate(image=catalog, labels=MASK, split="test")["run"])


def sixteen_bits(pipeline: Pipeline, folder: Path) -> AuditJob:
    """A run over an image of 16 bits, whose percentiles the bundle takes."""
    old = pipeline.specimens[-1]
    voxels = old.voxels.astype(np.uint16) * 200 + 1000
    new = write_specimen(folder, old.name, "test", voxels, old.labels, classes=CLASSES)
    return AuditJob(target=segmented(new.image, pipeline.bundle, truth=TRUTH))


def solid_network(_pipeline: Pipeline, folder: Path) -> list[Document]:
    """A small network of three dimensions, trained on one class; the findings of its training."""
    specimens = Pipeline(folder, seed=OTHER_SEED).volumes
    fields: dict[str, Any] = {"axes": "zyx", "crop": (4, 64, 64), "width": 6, "depth": 1}
    fields |= {"batch_size": 4, "steps": 160, "steps_per_epoch": 20, "learning_rate": 1e-2}
    fields |= {"augment": "flips", "only_class": "membrane"}
    catalog = str(catalog_job(folder, specimens).target)
    return list(commands.train(catalog=catalog, out=str(folder / "bundle"), **fields)["findings"])


STOPPING = "EarlyStopping(monitor='val_loss', patience=5, restore_best_weights=True)"
DIVIDED = FEWER | {
    "SPLIT-GROUP-DIVIDED": "there is one specimen, and its sections stand on all sides"
}
RARE = FEW | {"DATA-IMBALANCE": "a synapse is rare: one voxel of a hundred"}
PICTURES = {"SPLIT-TINY-VAL": "nine patients a part: even nine right of nine prove 0.70 at most"}
CLEAN = (
    CleanPipeline("16 specimens, 4 classes", whole_catalog, FEW),
    CleanPipeline("16 other specimens, split by maskmill", split_by_maskmill, FEWER, quick=False),
    CleanPipeline("5 classes, one of them rare", five_classes, RARE, quick=False),
    CleanPipeline("one class alone", one_class, FEW),
    CleanPipeline("five folds", five_folds, FEWER),
    CleanPipeline("60 images of 2 classes", single_images, FEWER),
    CleanPipeline("one stack, divided by sections", one_stack, DIVIDED),
    CleanPipeline("table of 300 pictures", table_with_split),
    CleanPipeline("table of 60 patients", table_of_patients, PICTURES),
    CleanPipeline("Keras's BinaryAccuracy", probed("BINARY_ACCURACY")),
    CleanPipeline("Keras's OneHotIoU", probed("ONE_HOT_IOU")),
    CleanPipeline("the default loss", probed("sound_loss")),
    CleanPipeline("a healthy CSV log", logged(lambda: csv_log(healthy(seed=5)))),
    CleanPipeline(
        "a healthy pasted log", logged(lambda: pasted(healthy(seed=6), fit_code(STOPPING)))
    ),
    CleanPipeline("a healthy log of maskmill", logged(lambda: own_log(own_curves(seed=7)))),
    CleanPipeline("findings of the training", training_result, FEW, quick=False),
    CleanPipeline("history of the training", training_log, quick=False),
    CleanPipeline("the trained network", trained_network, quick=False),
    CleanPipeline("run with truth", clean_run, ONE | TIPS, quick=False),
    CleanPipeline("run without truth, small tiles", run_without_truth, quick=False),
    CleanPipeline("evaluation of five specimens", five_specimens, TIPS, quick=False),
    CleanPipeline("run over 16 bits", sixteen_bits, ONE, quick=False),
    CleanPipeline("a network of 3 dimensions, one class", solid_network, FEW, quick=False),
)
