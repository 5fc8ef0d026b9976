"""From merged statistics to result.json: scores of everything that was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.report.contents import result_definitions
from flows.voxel_result import found_in, voxel_result
from segmentation.metrics.boundary import boundary_iou
from segmentation.metrics.comparison import check_comparable, compare_groups
from segmentation.metrics.component_counts import component_counts
from segmentation.metrics.instances import instance_scores, object_hits
from segmentation.metrics.paired import mcnemar_exact
from segmentation.metrics.partitions import partition_scores
from segmentation.metrics.summary import resampling_units, unit_names
from segmentation.metrics.surface import SurfaceCounts, surface_scores

if TYPE_CHECKING:
    from flows.collect import Statistics
    from flows.evaluation import Evaluation
    from segmentation.objects import ObjectTables

SCHEMA = 1
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
HIT = 0.5


def evaluation_result(evaluation: Evaluation, statistics: Statistics) -> dict[str, Any]:
    """Everything `evaluate` says."""
    cases = [(case.name, case.group) for case in evaluation.cases]
    names, base = evaluation.names, evaluation.cases[0].base
    result: dict[str, Any] = {"schema": SCHEMA, "digest": evaluation.digest}
    result |= {"labels": evaluation.job.labels, "truth": _truth_digests(evaluation)}
    result |= voxel_result(statistics, cases, names)
    result |= {"axes": base.axes, "voxel_size": list(base.voxel_size), "unit": base.unit}
    result |= {"image_axes": base.axes[-evaluation.measures.image_axes :]}
    result["ignore_label"] = evaluation.job.ignore_label
    if statistics.surfaces:
        result["surface"] = _surface(evaluation, statistics)
    objects = statistics.merged_objects() if evaluation.measures.objects else []
    if objects:
        result |= _objects(evaluation, objects[0])
    if evaluation.job.against is not None:
        result["comparison"] = _comparison(evaluation, statistics, objects)
    result["findings"] = found_in(result)
    return result | {"definitions": result_definitions(result)}


def _truth_digests(evaluation: Evaluation) -> list[str]:
    return [case["truth"][:16] for case in evaluation.identity["cases"]]


def _surface(evaluation: Evaluation, statistics: Statistics) -> dict[str, Any]:
    measures = evaluation.measures
    options = measures.surface
    if options is None:
        return {}
    counts = SurfaceCounts.merge(statistics.surfaces)
    tolerances = measures.tolerances
    classes = surface_scores(
        counts, options=options, tolerances=tolerances, class_names=evaluation.names
    )
    boundaries = boundary_iou(statistics.sums["boundary"])
    for entry in classes:
        entry["boundary_iou"] = boundaries[entry["value"]]
    return {
        "tolerances": list(tolerances),
        "cap": options.cap,
        "unit": evaluation.cases[0].base.unit,
        "classes": classes,
    }


def _objects(evaluation: Evaluation, objects: ObjectTables) -> dict[str, Any]:
    """Sections ``instances`` and, where both labels have classes, ``components``."""
    base, names = evaluation.cases[0].base, evaluation.names
    tables = objects.tables
    classes: dict[str, Any] = {}
    if objects.has_classes:
        classes = {
            "truth_classes": [objects.truth_classes] * len(tables),
            "mask_classes": [objects.mask_classes] * len(tables),
        }
    scored = instance_scores(
        tables,
        class_names=names if objects.has_classes else [names[1]],
        thresholds=THRESHOLDS,
        **classes,
    )
    found: dict[str, Any] = {
        "instances": {
            "thresholds": list(THRESHOLDS),
            "connectivity": "faces",
            "images": len(tables),
            "classes": scored,
            **partition_scores(tables),
        }
    }
    if objects.has_classes:
        size = base.voxel_size[-evaluation.measures.image_axes :] if base.unit else None
        found["components"] = component_counts(
            tables, class_names=names, voxel_size=size, **classes
        )
    return found


def _comparison(
    evaluation: Evaluation, statistics: Statistics, objects: list[ObjectTables]
) -> dict[str, Any]:
    """The mask against the other one, unit by unit."""
    cases = [(case.name, case.group) for case in evaluation.cases]
    volumes = [statistics.volumes(mask, cases) for mask in (0, 1)]
    (unit, first), (_, second) = map(resampling_units, volumes)
    check_comparable(*(_compared(evaluation, mask, unit_names(volumes[mask])) for mask in (0, 1)))
    labels = (evaluation.job.labels, str(evaluation.job.against))
    result = compare_groups(first, second, evaluation.names, names=labels, unit=unit)
    paired = statistics.sums["paired"].tolist()
    return result | {
        "units": unit_names(volumes[0]),
        "voxels": [
            {
                "value": value,
                "name": name,
                "neither": paired[value][0][0],
                "second_only": paired[value][0][1],
                "first_only": paired[value][1][0],
                "both": paired[value][1][1],
            }
            for value, name in enumerate(evaluation.names)
        ],
        "objects": _object_comparison(objects) if objects else None,
    }


def _compared(evaluation: Evaluation, mask: int, units: list[str]) -> dict[str, Any]:
    """What has to be the same of both masks for their scores to be comparable."""
    base = evaluation.cases[0].masks[mask].volumes[0]
    return {
        "truth": _truth_digests(evaluation),
        "units": units,
        "classes": evaluation.names,
        "voxel_size": list(base.voxel_size),
        "unit": base.unit,
    }


def _object_comparison(objects: list[ObjectTables]) -> dict[str, Any]:
    """Truth objects found in one mask and not in the other, with McNemar's test."""
    counts = {"first_only": 0, "second_only": 0, "both": 0, "neither": 0}
    for first, second in zip(objects[0].tables, objects[1].tables, strict=True):
        found = []
        for table, source in ((first, objects[0]), (second, objects[1])):
            classes = source.has_classes
            ids, hits = object_hits(
                table,
                HIT,
                truth_classes=source.truth_classes if classes else None,
                mask_classes=source.mask_classes if classes else None,
            )
            found.append(dict(zip(ids.tolist(), hits.tolist(), strict=True)))
        for index, hit in found[0].items():
            other = found[1].get(index, False)
            key = {(1, 1): "both", (1, 0): "first_only", (0, 1): "second_only"}
            counts[key.get((int(hit), int(other)), "neither")] += 1
    p = mcnemar_exact(counts["first_only"], counts["second_only"])
    return counts | {"p": p, "test": f"McNemar, exact, objects found at IoU {HIT:g}"}
