"""What is compared with what: truth and masks of every volume, opened and checked.

Everything that would make a comparison meaningless is refused here, before a voxel is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.catalog import read_catalog
from flows.errors import RequestError
from flows.prepare import image_digest, open_truth, runs_url
from flows.run import INFER
from flows.run_document import SEGMENT, read_run
from flows.work import PROBABILITIES
from segmentation.plan import ShardPlan, trivial_plan
from segmentation.region import Region, parse_region
from storage.blobs import Blobs
from storage.coverage import missing_objects
from storage.label_names import LABELS
from storage.manifest import RunManifest
from storage.ome_labels import parse_label_classes
from storage.stores import join_url
from storage.volume import Image, Volume, open_image, open_label

if TYPE_CHECKING:
    from flows.jobs import EvaluateJob

LARGEST_SHARD = 2**26  # voxels; a run's own shards may be larger than counting needs
SAME_SIZE = 1e-6  # relative difference of voxel sizes that is rounding
CATALOGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Case:
    """One volume of an evaluation.

    Attributes
    ----------
    image, truth : Image
        Intensities, and the label to evaluate against.
    masks : tuple of Image
        The mask volume, and the one it is compared with.
    group : str
        Specimen.
    plan : ShardPlan
        Shards that are counted: those of the run that made the mask, where they are not large.
    run : str or None
        Folder of the run that made the mask.
    """

    image: Image
    truth: Image
    masks: tuple[Image, ...]
    group: str
    plan: ShardPlan
    run: str | None

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.image.url.rstrip("/").rsplit("/", 1)[-1]

    @property
    def base(self) -> Volume:
        """Level 0 of the mask."""
        return self.masks[0].volumes[0]

    @property
    def probabilities(self) -> Volume | None:
        """Stored probabilities of the run, classes as channels, if it kept them."""
        url = join_url(self.run, PROBABILITIES) if self.run else None
        if url is None or not Blobs(url).exists("zarr.json"):
            return None
        return open_image(url).volumes[0]


def open_cases(job: EvaluateJob) -> tuple[Case, ...]:
    """The volumes of a job.

    Raises
    ------
    RequestError, StorageError, ValueError
        If something is not there, or does not fit.
    """
    if not job.image.endswith(CATALOGS):
        if job.truth is None:
            raise RequestError("--truth is missing; give label to evaluate against")
        if job.split is not None:
            raise RequestError("--split chooses volumes of a catalog; this is one image")
        image = open_image(job.image)
        return (_case(job, image, None, job.region, image.url.rsplit("/", 1)[-1]),)
    if job.region is not None:
        raise RequestError("--region belongs to one image; a catalog gives each volume its own")
    entries = [e for e in read_catalog(job.image).entries if job.split in (None, e.split)]
    if not entries:
        raise RequestError(f"the catalog has no volume with split: {job.split}; name at least one")
    return tuple(
        _case(job, entry.image, entry.label if job.truth is None else None, entry.region, group)
        for entry, group in ((entry, _short(entry.group)) for entry in entries)
    )


def _short(group: str) -> str:
    return group.rstrip("/").rsplit("/", 1)[-1]


def _case(
    job: EvaluateJob, image: Image, truth: Image | None, region: Region | str | None, group: str
) -> Case:
    mask = open_label(image.url, job.labels)
    base = mask.volumes[0]
    if truth is None:
        truth = open_truth(image.url, str(job.truth), base.shape)
    others = (open_label(image.url, job.against),) if job.against else ()
    for other in (truth, *others):
        _check_fit(mask, other, "truth" if other is truth else "the other mask")
    if not job.any_image_version:
        _check_image(image, mask)
    wanted = (
        parse_region(region, base.axes, base.shape) if not isinstance(region, Region) else region
    )
    run = _run_of(job, mask)
    for label in (mask, *others):
        _check_covered(job, label, wanted)
    plan = _plan(mask.volumes[0], wanted, run)
    return Case(image, truth, (mask, *others), group, plan, run)


def _check_fit(mask: Image, other: Image, called: str) -> None:
    """Refuse labels of another shape, voxel size, origin or unit."""
    ours, theirs = mask.volumes[0], other.volumes[0]
    for name, first, second in (
        ("axes", ours.axes, theirs.axes),
        ("shape", ours.shape, theirs.shape),
        ("unit", ours.unit, theirs.unit),
    ):
        if first != second:
            raise RequestError(
                f"{called} {other.url} has the {name} {second} and the mask {first}; "
                "only labels of the same image can be compared"
            )
    own, others = mask.metadata.levels[0], other.metadata.levels[0]
    for name, here, there in (
        ("voxel size", own.scale, others.scale),
        ("origin", own.translation, others.translation),
    ):
        if not all(map(_same_length, here, there)):
            raise RequestError(
                f"{called} {other.url} has the {name} {there} and the mask {here}; "
                "they do not lie on the same voxels"
            )


def _same_length(first: float, second: float) -> bool:
    return abs(first - second) <= SAME_SIZE * max(abs(first), abs(second))


def _check_image(image: Image, mask: Image) -> None:
    """Refuse a mask that was made from the image as it was before."""
    made_from = mask.attributes.get("maskmill", {}).get("identity", {}).get("image")
    if made_from is not None and made_from != image_digest(image):
        raise RequestError(
            f"{image.url} was changed after {mask.url} was made from it, so that truth and mask "
            "may belong to different versions of the image; segment it again, or, where it was "
            "only copied, accept that with --any-image-version"
        )


def _run_of(job: EvaluateJob, mask: Image) -> str | None:
    """Folder of the run that made a mask, if its records are there."""
    container, _, directory = mask.url.rstrip("/").rpartition(f"/{LABELS}/")
    url = join_url(runs_url(job, container), directory)
    return url if Blobs(url).exists("run.json") else None


def _check_covered(job: EvaluateJob, mask: Image, region: Region) -> None:
    """Refuse a mask that does not hold every voxel: a missing one would count as background."""
    run = _run_of(job, mask)
    if run is not None:
        document = read_run(Blobs(run), (SEGMENT,))
        plan = ShardPlan.from_dict(document["plan"])
        if not plan.region.contains(region):
            raise RequestError(
                f"{mask.url} covers the region from {plan.region.start} to {plan.region.stop} "
                "only; evaluate it with that --region, or segment the rest"
            )
        done = RunManifest(Blobs(run), document["digest"]).completed(INFER, len(plan))
        if not done.all():
            raise RequestError(
                f"{mask.url} is not finished: {int((~done).sum())} of {len(done)} shards have no "
                "record; run the same segment command to go on"
            )
    missing = missing_objects(mask.volumes[0], region.slices)
    if missing and not job.missing_is_background:
        raise RequestError(
            f"{mask.url} is not fully covered: {len(missing)} stored chunks are missing, "
            f"{missing[0]} first, and would be read as background; restore them, or accept that "
            "with --missing-is-background"
        )


def _plan(base: Volume, region: Region, run: str | None) -> ShardPlan:
    """The shards of the run that made the mask, else shards of a few cells."""
    if run is not None:
        plan = ShardPlan.from_dict(read_run(Blobs(run), (SEGMENT,))["plan"])
        if Region((0,) * len(base.shape), plan.shard_shape).voxels <= LARGEST_SHARD:
            return trivial_plan(base.shape, region, plan.cell, plan.shard_shape)
    return trivial_plan(base.shape, region, base.shards or base.chunks)


def class_names(cases: tuple[Case, ...]) -> list[str] | None:
    """Names by value that all masks and truths agree on; None where none of them has any.

    Raises
    ------
    RequestError
        If a value has two names, or mask and truth have no class in common.
    """
    names: dict[int, str] = {}
    for case in cases:
        labelled = [(label, _named(label)) for label in (case.truth, *case.masks)]
        _check_common(labelled)
        for label, named in labelled:
            for value, name in named.items():
                if names.setdefault(value, name) != name:
                    raise RequestError(
                        f"the value {value} is {names[value]!r} in one label and {name!r} in "
                        f"{label.url}; import them with the same classes"
                    )
    return [names.get(v, f"class_{v}") for v in range(max(names) + 1)] if names else None


def _named(label: Image) -> dict[int, str]:
    return {c.value: c.name for c in parse_label_classes(label.attributes)}


def _check_common(labelled: list[tuple[Image, dict[int, str]]]) -> None:
    (_, truth), *masks = labelled
    for mask, named in masks:
        ours, theirs = ({n for v, n in d.items() if v} for d in (named, truth))
        if named and truth and not ours & theirs:
            raise RequestError(
                f"{mask.url} has the classes {', '.join(sorted(ours)) or 'none'} and the truth "
                f"{', '.join(sorted(theirs)) or 'none'}: no class in common; import the truth with "
                "the classes of the mask"
            )


def case_identity(case: Case) -> dict[str, Any]:
    """What the statistics of a case depend on."""
    return {
        "truth": image_digest(case.truth),
        "masks": [image_digest(mask) for mask in case.masks],
        "region": {"start": list(case.plan.region.start), "stop": list(case.plan.region.stop)},
        "voxel_size": list(case.base.voxel_size),
        "unit": case.base.unit,
        "group": case.group,
    }
