"""One row a sample, as CSV or Parquet: the same rows give the same bytes."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from segmentation.classification.predictions import DECIMALS, TOP, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segmentation.classification.predictions import Predictions

FILES = {"csv": "predictions.csv", "parquet": "predictions.parquet"}


def encode_table(
    predictions: Predictions, class_names: Sequence[str], *, kind: str, with_truth: bool
) -> bytes:
    """The file of a table.

    Parameters
    ----------
    predictions : Predictions
        In the order of the rows.
    class_names : sequence of str
        Names of the classes 0, 1, …
    kind : "csv" or "parquet"
        Of the file.
    with_truth : bool
        Whether to add the columns ``label`` and ``correct``; both are empty for a sample without
        truth.
    """
    columns = table_columns(predictions, class_names, with_truth=with_truth)
    return encode_columns(columns) if kind == "csv" else _parquet(columns)


def table_columns(
    predictions: Predictions, class_names: Sequence[str], *, with_truth: bool
) -> dict[str, list[Any]]:
    """Columns by name: id, p_CLASS for every class, prediction, group, and the truth."""
    levels, classes = predictions.levels, predictions.classes.tolist()
    columns: dict[str, list[Any]] = {"id": list(predictions.names)}
    for value, name in enumerate(class_names):
        columns[f"p_{name}"] = [level / TOP for level in levels[:, value].tolist()]
    columns["prediction"] = [class_names[value] for value in classes]
    columns["group"] = list(predictions.groups)
    if with_truth:
        labels = predictions.labels.tolist()
        columns["label"] = [None if value == UNKNOWN else class_names[value] for value in labels]
        columns["correct"] = [
            None if label == UNKNOWN else label == found
            for label, found in zip(labels, classes, strict=True)
        ]
    return columns


def encode_columns(columns: dict[str, list[Any]]) -> bytes:
    """Columns by name as CSV; probabilities with six decimals, what is unknown left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.{DECIMALS}f}" if isinstance(value, float) else str(value)


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    kinds = {"correct": pyarrow.bool_(), "fold": pyarrow.int64()}
    fields = [
        (name, kinds.get(name, pyarrow.float64() if name.startswith("p_") else pyarrow.string()))
        for name in columns
    ]
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(columns), pyarrow.schema(fields)), buffer)
    return buffer.getvalue()
