"""Findings on labels: values that are no classes, planes per class, shapes, lost components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.label_values import LabelValues

SHOWN = 8


def label_findings(
    labels: Sequence[LabelValues],
    class_names: Sequence[str],
    *,
    ignore_label: int | None = None,
    origin: str = "",
) -> list[Finding]:
    """Labels whose values are not those of the classes, and labels that are no whole numbers.

    Parameters
    ----------
    labels : sequence of LabelValues
        Of all items.
    class_names : sequence of str
        By value, counted from 0.
    ignore_label : int, optional
        Value that does not count.
    origin : str
        What made the labels as they are here, such as the name of an augmentation, if known.
    """
    ignored = () if ignore_label is None else (ignore_label,)
    known = frozenset((*range(len(class_names)), *ignored))
    return [*_range(labels, class_names, known), *_fractional(labels, origin), *_floats(labels)]


def _range(
    labels: Sequence[LabelValues], class_names: Sequence[str], known: frozenset[int]
) -> Iterator[Finding]:
    wrong = [label for label in labels if label.outside(known)]
    if not wrong:
        return
    outside = sum(sum(label.outside(known).values()) for label in wrong)
    voxels = sum(sum(count for _, count in label.counts) for label in wrong)
    values = sorted({value for label in wrong for value in label.outside(known)})
    shown = listed([str(value) for value in values])
    last = len(class_names) - 1
    yield Finding(
        "DATA-LABEL-RANGE",
        "error",
        f"The labels of {len(wrong)} of {len(labels)} items hold the values {shown} in "
        f"{outside:,} voxels ({outside / voxels:.1%}), and no class has such a value.",
        f"found if any value is not one of the classes 0 to {last} "
        f"({', '.join(class_names)}); {len(values)} values are not. Overlap metrics of Keras leave "
        f"such voxels out without a word: {outside / voxels:.1%} of these labels",
        _remedy(wrong, len(class_names)),
        "Which class the voxels belong to: only who drew the labels knows that.",
        (_values(wrong, known),),
    )


def _values(wrong: Sequence[LabelValues], known: frozenset[int]) -> Table:
    rows = tuple(
        (label.name, value, voxels, value in known)
        for label in wrong[:SHOWN]
        for value, voxels in label.counts[:SHOWN]
    )
    return Table("Values of the labels", ("item", "value", "voxels", "a class"), rows)


def _remedy(wrong: Sequence[LabelValues], num_classes: int) -> str:
    """The likely cause, and the table that maps the values to classes."""
    found = sorted({value for label in wrong for value, _ in label.counts})
    again = "import it again with `maskmill import-labels`"
    if any(label.many for label in wrong):
        return f"These are ids of objects. Make a label of classes, such as (ids > 0), and {again}."
    if found[0] < 0:
        return (
            "Mark voxels that do not count with a positive value, such as 255, and give it as "
            "--ignore-label 255 to `maskmill train` and evaluate."
        )
    if found[-1] == 255 and found[:-1] in ([], [0]):
        return f"This is a mask of black and white: map 0 → 0 and 255 → 1, and {again}."
    if found[0] > 0 and found[-1] == num_classes:
        table = ", ".join(f"{value} → {value - 1}" for value in found)
        return f"The classes are counted from 1: map {table}, and {again}."
    return (
        f"Name every class (--classes) and {again}; or, if the value marks voxels that do not "
        "count, give it as --ignore-label to `maskmill train` and evaluate."
    )


def _fractional(labels: Sequence[LabelValues], origin: str) -> Iterator[Finding]:
    wrong = [label for label in labels if label.fractional]
    if not wrong:
        return
    voxels, made = sum(label.fractional for label in wrong), f" after {origin}" if origin else ""
    rows = tuple((one.name, one.dtype, one.fractional, one.example) for one in wrong[:SHOWN])
    yield Finding(
        "DATA-FRACTIONAL-LABELS",
        "error",
        f"The labels of {len(wrong)} of {len(labels)} items{made} have {voxels:,} voxels between "
        f"two classes, such as {wrong[0].example:g}: no class is there to be learned.",
        f"found if any value of a label is no whole number; {voxels:,} values are none",
        "A mask was resized, turned or smoothed by mixing neighbours. Do it again so that every "
        "voxel takes the nearest one, and import it with `maskmill import-labels`.",
        "That rounding repairs it: between the classes 0 and 2 it invents the class 1.",
        (Table("Labels", ("item", "type", "voxels between classes", "such as"), rows),),
    )


def _floats(labels: Sequence[LabelValues]) -> Iterator[Finding]:
    wrong = [label for label in labels if not label.integral and not label.fractional]
    if wrong:
        yield Finding(
            "DATA-FRACTIONAL-LABELS",
            "error",
            f"The labels of {len(wrong)} of {len(labels)} items are stored as {wrong[0].dtype}, "
            "although all their values are whole numbers.",
            f"found if a label is not stored as integers; {len(wrong)} are not",
            "Save them as integers, such as array.astype('uint8'), and import them with maskmill "
            "import-labels.",
            "That a value is wrong: only the way it is stored is.",
            (Table("Labels", ("item", "type"), tuple((w.name, w.dtype) for w in wrong[:SHOWN])),),
        )


def one_hot_findings(labels: Mapping[str, tuple[int, float]]) -> list[Finding]:
    """Labels with one plane per class, and whether the plane of the background is missing.

    A Dice that is pooled over the channels is 2 c / (1 + c) at most if no class is set in the
    share 1 - c of the voxels: of the sums of truth and prediction, c N and N, only c N can agree.

    Parameters
    ----------
    labels : mapping
        Planes, and the share of voxels in which none is set, by name of the item.
    """
    unset = {name: found for name, found in labels.items() if found[1] > 0}
    whole = {name: found for name, found in labels.items() if not found[1] > 0}
    return [*_zero_rows(unset), *_one_hot(whole)]


def _zero_rows(labels: Mapping[str, tuple[int, float]]) -> Iterator[Finding]:
    if not labels:
        return
    rows = tuple((name, planes, 1 - free, cap(1 - free)) for name, (planes, free) in labels.items())
    name, planes, share, most = min(rows, key=lambda row: row[2])
    yield Finding(
        "DATA-ONEHOT-ZERO-ROWS",
        "error",
        f"The label of {name} has {planes} planes, and in {1 - share:.1%} of its voxels no class "
        f"is set: a Dice over all planes cannot exceed {most:.3f}, however good the mask.",
        f"found if the planes of a voxel do not add up to 1; the cap is 2c / (1 + c) for the share "
        f"c = {share:.3f} in which they do",
        "Put a plane for the background in front, take the argmax over the planes, and import the "
        "result with `maskmill import-labels`: one whole number a voxel.",
        "That the classes themselves are drawn wrongly.",
        (Table("One plane per class", ("item", "planes", "share set", "most Dice"), rows),),
    )


def cap(share: float) -> float:
    """Largest Dice pooled over channels where only a share of the voxels has a class."""
    return 2 * share / (1 + share)


def _one_hot(labels: Mapping[str, tuple[int, float]]) -> Iterator[Finding]:
    if labels:
        rows = tuple((name, planes) for name, (planes, _) in labels.items())
        yield Finding(
            "DATA-ONEHOT-VS-INT",
            "error",
            f"The labels of {listed(list(labels))} have {rows[0][1]} planes, one per class, where "
            "one whole number a voxel is expected.",
            "found if a label has channels and otherwise the shape of its image",
            "Take the argmax over the planes, and import the result with `maskmill import-labels`.",
            "That a class is wrong: the labels only have another form.",
            (Table("One plane per class", ("item", "planes"), rows),),
        )


def shape_findings(shapes: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Labels that do not lie on their images, or images of several kinds.

    Parameters
    ----------
    shapes : sequence of tuple of str
        Name of the item, what it has, and what it would have to have.
    """
    if not shapes:
        return []
    name, given, expected = shapes[0]
    return [
        Finding(
            "DATA-SHAPE-MISMATCH",
            "error",
            f"{name} has {given}; expected {expected}"
            + (f"; {len(shapes) - 1} more are wrong like it." if len(shapes) > 1 else "."),
            "found if label and image differ in shape, or images in channels; "
            f"{len(shapes)} items do",
            "Import the label that was drawn on this image with `maskmill import-labels`; do not "
            "resize it to fit.",
            "That the other items lie where they should: equal shapes can still be shifted.",
            (Table("Shapes", ("item", "has", "expected"), tuple(shapes)),),
        )
    ]
