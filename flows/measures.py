"""From the flags of an evaluation to what is counted; flags that do not fit are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flows.cases import Case, class_names
from flows.errors import RequestError
from segmentation.evaluation import COMPONENTS, IDS, Measures
from segmentation.metrics.surface import SurfaceOptions
from storage.ome_labels import parse_label_classes

if TYPE_CHECKING:
    from flows.jobs import EvaluateJob

# Where none are given, in shortest sides of a voxel: sections may lie far apart.
TOLERANCES = (2.0, 5.0)
CAP = 20.0


def measures_of(job: EvaluateJob, cases: tuple[Case, ...]) -> tuple[Measures, list[str]]:
    """What is counted, and the names of the classes by value.

    Raises
    ------
    RequestError, ValueError
        If the flags do not fit each other or the labels.
    """
    names = class_names(cases)
    truth_named = {bool(parse_label_classes(case.truth.attributes)) for case in cases}
    if len(truth_named) > 1:
        raise RequestError("some truths name classes and some hold object ids; import them alike")
    ids = not truth_named.pop()
    if ids and not job.instances and names is None:
        raise RequestError(
            "neither mask nor truth names its classes; import the truth with --classes, or "
            "compare object ids with --instances"
        )
    binary = ids and job.instances
    if binary:
        names = ["background", _object_name(names)]
    axes = image_axes(job, cases)
    measures = Measures(
        num_classes=len(names or ()),
        ignore_label=job.ignore_label,
        binary=binary,
        image_axes=axes,
        objects=_kinds(job, cases[0], ids=ids),
    )
    if job.surface:
        surface = _surface(job, cases[0], measures)
        tolerances = _tolerances(job, cases[0], axes)
        measures = replace(measures, surface=surface, tolerances=tolerances)
    return measures, names or []


def _object_name(names: list[str] | None) -> str:
    """What the mask calls its one class, else ``object``."""
    return names[1] if names and len(names) == 2 else "object"


def _kinds(job: EvaluateJob, case: Case, *, ids: bool) -> tuple[str, ...]:
    """How objects are read from the truth and from every mask."""
    if not job.instances:
        return ()
    named = [bool(parse_label_classes(mask.attributes)) for mask in case.masks]
    masks = [COMPONENTS if has_classes or not ids else IDS for has_classes in named]
    return (IDS if ids else COMPONENTS, *masks)


def images_along(job: EvaluateJob, case: Case) -> int | None:
    """Axis along which every index is an image of its own.

    Raises
    ------
    RequestError
        If the mask has no such axis.
    """
    if job.images_along is None:
        return None
    axes = case.base.axes
    if job.images_along not in axes:
        raise RequestError(
            f"--images-along {job.images_along}: the mask has the axes {axes}; choose one of them"
        )
    return axes.index(job.images_along)


def image_axes(job: EvaluateJob, cases: tuple[Case, ...]) -> int:
    """Trailing axes of one image: 2 or 3.

    Raises
    ------
    RequestError
        If the volumes differ in their axes.
    """
    axes = {case.base.axes for case in cases}
    if len(axes) > 1:
        raise RequestError(f"the volumes have the axes {sorted(axes)}; expected the same of all")
    along = images_along(job, cases[0])
    dimensions = len(cases[0].base.axes)
    return min(3, dimensions) if along is None else dimensions - along - 1


def _surface(job: EvaluateJob, case: Case, measures: Measures) -> SurfaceOptions:
    tolerances = _tolerances(job, case, measures.image_axes)
    size = case.base.voxel_size[-measures.image_axes :]
    cap = job.cap or max(CAP * min(size), max(size), *tolerances)
    if cap < max(tolerances):
        raise RequestError(
            f"--cap {cap:g} is below the tolerance {max(tolerances):g}; give a cap of at least that"
        )
    return SurfaceOptions(
        num_classes=measures.num_classes,
        voxel_size=size,
        cap=cap,
        ignore_label=measures.ignored_class,
    )


def _tolerances(job: EvaluateJob, case: Case, axes: int) -> tuple[float, ...]:
    """Distances in the unit of the voxel size, ascending."""
    if case.base.unit is None and set(case.base.voxel_size[-axes:]) == {1.0}:
        raise RequestError(
            f"{case.base.url} has no voxel size, so distances between surfaces mean nothing; "
            "import the image with --voxel-size and --unit"
        )
    if job.tolerances is not None:
        if not job.tolerances or min(job.tolerances) <= 0:
            raise RequestError(f"--tolerances {job.tolerances}: expected lengths above 0")
        return tuple(sorted(job.tolerances))
    shortest = min(case.base.voxel_size[-axes:])
    return tuple(shortest * factor for factor in TOLERANCES)
