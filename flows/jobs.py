"""Jobs: what can be asked for. The same models are the command line and deployment parameters."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import RequestError
from flows.fields import (
    AUTO_MEANS,
    Bytes,
    ExecutorChoice,
    Floats,
    Ints,
    Names,
    Precision,
    Seconds,
    SkipBelow,
    SkipLevel,
    SkipSample,
    argument,
    is_argument,
    needed_first,
)


class Job(BaseModel):
    """Base of all jobs: frozen, unknown fields are an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=needed_first
    )


class ImportJob(Job):
    """Stacks of TIFF, PNG, NPY, NPZ or HDF5 as an OME-Zarr image."""

    sources: tuple[str, ...] = argument("files or one folder", min_length=1)
    image: str = argument("IMAGE.zarr to make")
    axes: str | None = Field(None, description="axes of the source, such as zyx or czyx")
    voxel_size: Floats | None = Field(
        None, description="size of a voxel along the spatial axes, such as 0.045,0.0046,0.0046"
    )
    unit: str | None = Field(None, description="unit of the voxel size, such as micrometer")
    dataset: str | None = Field(None, description="dataset in an HDF5 or NPZ file")


class ImportLabelsJob(Job):
    """A label of an image that is there, published as given."""

    sources: tuple[str, ...] = argument("files or one folder", min_length=1)
    image: str = argument("IMAGE.zarr that the label belongs to")
    name: str = Field(description="name under labels/")
    classes: Names | None = Field(None, description="class names by value, background first")
    instances: bool = Field(False, description="the values are object ids, not classes")
    axes: str | None = Field(None, description="axes of the source, such as zyx")
    dataset: str | None = Field(None, description="dataset in an HDF5 or NPZ file")


class ExportJob(Job):
    """A mask volume, or the image, as OME-TIFF."""

    image: str = argument("IMAGE.zarr")
    output: str = argument("OUT.tif")
    labels: str | None = Field(None, description="label to export; the image if left out")
    level: int = Field(0, ge=0, description="resolution level")


class InfoJob(Job):
    """What an image or a bundle holds."""

    target: str = argument("IMAGE.zarr or BUNDLE")


class PackJob(Job):
    """An existing Keras model as a bundle."""

    model: str = argument("MODEL.keras or MODEL.h5")
    bundle: str = argument("folder to make")
    classes: Names = Field(description="class names by value, background first")
    intensity_percentiles: Floats | None = Field(
        None, description="percentiles of the volume that become 0 and 1, such as 1,99"
    )
    intensity_range: Floats | None = Field(
        None, description="fixed intensities that become 0 and 1, such as 0,255"
    )
    axes: Literal["yx", "zyx"] | None = Field(None, description="spatial axes of the network")
    voxel_size: Floats | None = Field(None, description="voxel size it was trained at")
    unit: str | None = Field(None, description="unit of the voxel size")
    precision: Precision = Field(
        "float32", description="arithmetic in which masks are computed, where a run names none"
    )


class TrainJob(Job):
    """A network trained on the volumes of a catalog."""

    catalog: str = argument("CATALOG.yaml")
    out: str | None = Field(None, description="bundle to make")
    only_class: str | None = Field(None, description="learn this class alone")
    other_classes: Literal["background", "ignore"] = Field(
        "background", description="what voxels of other classes are, with --only-class"
    )
    ignore_label: int | None = Field(None, ge=0, description="truth value that does not count")
    folds: int | None = Field(None, ge=3, description="cross-validation: networks to train")
    shares: Floats = Field(
        (0.7, 0.15, 0.15),
        description="of train, validation and test, for volumes without a split of their own",
    )
    allow_overlap: bool = Field(
        False, description="accept the same image in two parts, and say so in the report"
    )
    preset: Literal[
        "default", "unet4", "unet-binary", "unet-one-class", "classifier", "classifier-source"
    ] = Field("default", description="architecture; of a catalog of samples classifier")
    image_size: Ints | None = Field(
        None, description="extents along y,x that a classifier's images are brought to"
    )
    axes: Literal["yx", "zyx"] = Field("yx", description="2D sections or 3D blocks")
    width: int | None = Field(
        None, ge=1, le=256, description="features at full resolution; the preset's by default"
    )
    depth: int | None = Field(
        None, ge=1, le=6, description="number of poolings; the preset's by default"
    )
    pretrained: str | None = Field(None, description="bundle to start from")
    freeze_until: str | None = Field(
        None, description="layer of the pretrained network up to which weights stay as they are"
    )
    crop: Ints | None = Field(None, description="crop extents, such as 256,256")
    batch_size: int = Field(4, ge=1, description="crops a step")
    steps: int = Field(1800, ge=1, description="steps in all")
    steps_per_epoch: int = Field(200, ge=1, description="steps between two validations")
    learning_rate: float = Field(3e-3, gt=0, description="its peak; a cosine takes it to 0")
    loss: str = Field(
        "cross-entropy+dice",
        description="cross-entropy, focal, dice, jaccard, tversky, or several joined by +",
    )
    class_weights: Literal["none", "sqrt", "inverse"] = Field(
        "none", description="weight of a voxel in cross-entropy, by how often its class occurs"
    )
    class_share: float = Field(
        0.5, ge=0, le=1, description="share of crops laid around a voxel of a class drawn at random"
    )
    augment: Literal["none", "flips", "standard"] = Field(
        "standard", description="how crops are varied"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the arithmetic; auto takes bfloat16 where the hardware has it"
    )
    monitor: str = Field(
        "val_macro_foreground_dice",
        description="score that chooses the epoch: this, val_dice_CLASS or val_cross_entropy",
    )
    direction: Literal["max", "min"] | None = Field(
        None, description="whether more or less of it is better; what it is by nature by default"
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without a better one after which training stops"
    )
    overfit_one: bool = Field(
        False, description="check only: 200 steps on one sample have to reach a Dice of 0.99"
    )
    intensity_percentiles: Floats = Field(
        (1.0, 99.0), description="percentiles of each volume that become 0 and 1"
    )
    seed: int = Field(0, ge=0, description="of weights, split, crops and augmentation")
    executor: Literal["ray", "serial"] = Field("ray", description="where networks are trained")
    workers: int | None = Field(None, ge=1, description="folds trained at once")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each training asks for")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")
    memory: Bytes | None = Field(None, description="memory of one training, such as 8GiB")


class VolumeJob(Job):
    """Fields that every job over one volume shares."""

    image: str = argument("IMAGE.zarr")
    region: str | None = Field(None, description="such as z=0:12,y=100:612, in voxels of level 0")
    executor: ExecutorChoice = Field("auto", description=f"where shards are computed; {AUTO_MEANS}")
    workers: int | None = Field(None, ge=1, description="worker processes; one per two CPUs")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each worker asks for")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")
    memory: Bytes | None = Field(None, description="memory of one worker, such as 8GiB")
    runs: str | None = Field(None, description="where run records go; IMAGE.zarr.runs by default")


class PlanJob(VolumeJob):
    """What decides the plan of a segmentation."""

    model: str = Field(description="bundle, or 'identity'")
    channels: Ints | None = Field(None, description="image channels the network gets")
    any_voxel_size: bool = Field(False, description="accept a voxel size other than the bundle's")
    precision: Precision | None = Field(
        None, description="arithmetic of the network; the bundle's own by default"
    )
    out: str | None = Field(None, description="OTHER.zarr to hold labels/ instead of the image")
    truth: str | None = Field(None, description="label to evaluate against")
    ignore_label: int | None = Field(None, ge=0, description="truth value that does not count")
    probabilities: bool = Field(False, description="keep uint8 probabilities beside the run")
    skip_below: SkipBelow = None
    skip_level: SkipLevel = None
    skip_sample: SkipSample = None


class DryRunJob(PlanJob):
    """Shards, tiles, memory, bytes, time and cost of a segmentation, without starting it."""

    price_per_hour: float | None = Field(
        None, ge=0, description="price of one worker for an hour, in any currency"
    )
    scratch: str | None = Field(
        None,
        description="folder or prefix for what is measured and removed again; a local temporary "
        "folder by default",
    )


class SegmentJob(PlanJob):
    """The mask volume of an image, with scores where truth is given."""

    name: str = Field(description="name of the mask volume")
    force: bool = Field(False, description="make a new version although there is one")


class ManyVolumesJob(Job):
    """Fields that every job over many volumes shares; each of them is segmented alike."""

    model: str = Field(description="bundle, or 'identity'")
    name: str = Field(description="name of the mask volumes")
    truth: str | None = Field(
        None, description="label to evaluate against, in the images that have it"
    )
    ignore_label: int | None = Field(None, ge=0, description="truth value that does not count")
    channels: Ints | None = Field(None, description="image channels the network gets")
    any_voxel_size: bool = Field(False, description="accept a voxel size other than the bundle's")
    precision: Precision | None = Field(
        None, description="arithmetic of the network; the bundle's own by default"
    )
    probabilities: bool = Field(False, description="keep uint8 probabilities beside the runs")
    skip_below: SkipBelow = None
    skip_level: SkipLevel = None
    skip_sample: SkipSample = None
    executor: Literal["ray", "serial"] = Field("ray", description="where shards are computed")
    workers: int | None = Field(None, ge=1, description="worker processes; one per two CPUs")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each worker asks for")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")
    memory: Bytes | None = Field(None, description="memory of one worker, such as 8GiB")
    runs: str | None = Field(
        None,
        description="folder with one of run records for each image; IMAGE.zarr.runs by default",
    )
    out: str | None = Field(
        None, description="folder with one OTHER.zarr for each image, to hold its labels/ instead"
    )


class ReconcileJob(ManyVolumesJob):
    """The mask volumes that are missing or outdated, of a catalog or of all images in a folder."""

    target: str = argument("CATALOG.yaml, or a folder or prefix with OME-Zarr images below it")
    retry: bool = Field(False, description="try again what was set aside because it kept failing")


class ReprocessJob(ManyVolumesJob):
    """Mask volumes of chosen images made now; readers keep the earlier ones until that is done."""

    datasets: tuple[str, ...] = Field(
        description="images, catalogs, and folders or prefixes with images below them",
        min_length=1,
    )
    region: str | None = Field(None, description="such as z=0:12,y=100:612, in voxels of level 0")
    force: bool = Field(False, description="make new versions although there are such")


class EvaluateJob(VolumeJob):
    """Scores of a mask volume against the truth."""

    image: str = argument("IMAGE.zarr, or CATALOG.yaml with several volumes and their specimens")
    workers: int | None = Field(None, ge=1, description="worker processes; one per CPU")
    labels: str = Field(description="mask volume")
    truth: str | None = Field(None, description="label to evaluate against; a catalog names its")
    ignore_label: int | None = Field(None, ge=0, description="truth value that does not count")
    split: Literal["train", "validation", "test"] | None = Field(
        None, description="volumes of the catalog to evaluate; all of them by default"
    )
    instances: bool = Field(
        False,
        description="compare objects: ids where a label has no classes, else connected components",
    )
    surface: bool = Field(False, description="compare surfaces, in the unit of the voxel size")
    tolerances: Floats | None = Field(
        None,
        description="distances that surfaces may be apart, such as 0.05,0.1; "
        "2 and 5 times the shortest side of a voxel by default",
    )
    cap: float | None = Field(
        None,
        gt=0,
        description="distance up to which surfaces are compared; 20 times that side by default",
    )
    images_along: Literal["t", "z"] | None = Field(
        None, description="axis along which every index is an image of its own, no section"
    )
    probabilities: bool = Field(False, description="score the probabilities the run has kept")
    against: str | None = Field(None, description="second mask volume, compared pairwise")
    missing_is_background: bool = Field(
        False, description="accept a mask in which stored chunks are missing"
    )
    any_image_version: bool = Field(
        False, description="accept a mask made before the image was changed, or copied"
    )


class AuditJob(Job):
    """Findings on a catalog, a bundle, a run, a training log or a metric; exit 4 on an error."""

    target: str | None = argument(
        "CATALOG.yaml, BUNDLE, folder of a RUN, LOG.csv, or a text with a Keras log; - reads it "
        "from standard input",
        default=None,
    )
    metric: str | None = Field(
        None, description="probe this metric or loss instead: module:function or FILE.py:function"
    )
    on: str | None = Field(None, description="IMAGE.zarr to look at a bundle's network with")
    truth: str | None = Field(None, description="label of that image")
    region: str | None = Field(None, description="of that image, such as z=0:12,y=100:612")
    recalibrate: str | None = Field(
        None, description="bundle to make, with the BatchNorm statistics of that image"
    )
    fast: bool = Field(
        False, description="take those statistics in one pass instead of layer by layer"
    )
    monitor: str | None = Field(None, description="of a log: score that chose the epoch")
    direction: Literal["max", "min"] | None = Field(
        None, description="of a log: whether more or less of it was taken as better"
    )
    patience: int | None = Field(None, ge=0, description="of a log: that of early stopping")
    samples: Ints | None = Field(
        None, description="of a log: samples of each evaluation it prints, such as 100,27,27"
    )
    thresholds: Names | None = Field(
        None, description="other thresholds, such as data.rare_share=0.02,model.one_class=0.95"
    )
    report: str | None = Field(None, description="page to write, with the evidence")


class ReportJob(Job):
    """The report of a run, written again from its records."""

    run: str = argument("folder of the run")


class LabelJob(Job):
    """Fields that every job about the versions of a mask volume shares."""

    image: str = argument("IMAGE.zarr, or the OTHER.zarr that holds its masks")
    labels: str = Field(description="mask volume")
    runs: str | None = Field(None, description="where run records are; IMAGE.zarr.runs by default")


class VerifyJob(LabelJob):
    """Stored bytes of a mask volume against the records of its run."""

    sample: float = Field(1.0, gt=0, le=1, description="share of the objects to read")
    seed: int = Field(0, ge=0, description="of the objects that a sample draws")
    executor: Literal["ray", "serial"] = Field("serial", description="where objects are read")
    workers: int | None = Field(None, ge=1, description="worker processes; one per CPU")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")


class RepairJob(LabelJob):
    """A mask volume made whole again: what is missing or wrong is computed anew, nothing else."""

    executor: ExecutorChoice = Field("auto", description=f"where shards are computed; {AUTO_MEANS}")
    workers: int | None = Field(None, ge=1, description="worker processes; one per two CPUs")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each worker asks for")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")
    memory: Bytes | None = Field(None, description="memory of one worker, such as 8GiB")


class RollbackJob(LabelJob):
    """The version of a mask volume that readers saw before, published again."""

    to: str | None = Field(
        None, description="version to publish, such as NAME-1f0c9a7e; the one before by default"
    )


class PruneJob(Job):
    """Old versions and abandoned staging of mask volumes; told, and deleted with --yes."""

    image: str = argument("IMAGE.zarr, or the OTHER.zarr that holds its masks")
    labels: str | None = Field(None, description="mask volume; every one by default")
    runs: str | None = Field(None, description="where run records are; IMAGE.zarr.runs by default")
    keep: int = Field(
        2, ge=1, description="versions of each mask volume that stay, the published one among them"
    )
    older_than: Seconds = Field(
        86400.0,
        description="time since readers were last shown a version, such as 24h; what is younger "
        "stays, for those who have it open",
    )
    yes: bool = Field(False, description="delete what goes; without it nothing is changed")


class DemoJob(Job):
    """Everything once, on a synthetic stack."""

    out: str = Field("maskmill-demo", description="empty folder to work in")


class ClassifyJob(Job):
    """One prediction for every image, with sensitivity and specificity where truth is given."""

    images: str = argument("folder of PNG, TIFF or JPEG files, TABLE.csv of them, or IMAGE.zarr")
    model: str = Field(description="bundle of a classifier")
    truth: str | None = Field(
        None, description="TABLE.csv with the columns image, class or label, and perhaps group"
    )
    out: str | None = Field(
        None, description="folder for the predictions; IMAGES.runs/classify-BUNDLE-KEY by default"
    )
    format: Literal["csv", "parquet"] = Field("csv", description="of the predictions")
    batch_size: int = Field(8, ge=1, description="images a worker takes at a time")
    executor: ExecutorChoice = Field(
        "auto", description=f"where images are classified; {AUTO_MEANS}"
    )
    workers: int | None = Field(None, ge=1, description="worker processes; one per two CPUs")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each worker asks for")
    address: str | None = Field(None, description="Ray cluster to use; a local one by default")


JobType = TypeVar("JobType", bound=Job)


def make_job(model: type[JobType], fields: dict[str, Any]) -> JobType:
    """A job from loose fields, such as texts of the command line.

    Raises
    ------
    RequestError
        One line for everything that is wrong with them.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        parts = [_message(model, dict(item)) for item in error.errors()]
        raise RequestError("; ".join(parts)) from error


def _message(model: type[Job], item: dict[str, Any]) -> str:
    """One line for one thing that is wrong, with the name that the command line uses."""
    name = str(item["loc"][0]) if item["loc"] else "job"
    field = model.model_fields.get(name)
    option = f"--{name.replace('_', '-')}"
    shown = name.upper() if field is not None and is_argument(field) else option
    if field is not None and item["type"] == "missing":
        return f"{shown} is missing; give {field.description}"
    message = item["msg"].removeprefix("Value error, ")
    given = "" if item["type"] == "extra_forbidden" else f"{item['input']!r}: "
    return f"{shown} {given}{message[0].lower()}{message[1:]}"
