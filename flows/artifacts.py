"""What a flow leaves with Prefect: progress, the per-class table, the worst section, the report."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.progress import Progress
from flows.report.markdown import render_markdown, table_rows
from flows.report.safe import cell_safe, markdown_safe
from flows.report.worst_picture import picture_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flows.report.png import Picture


def leave_artifacts(result: dict[str, Any], *, key: str, name: str, report: str) -> None:
    """Table, scores in words and the link to the report of a run.

    Parameters
    ----------
    result : dict
        result.json.
    key : str
        First digits of the run's digest.
    name : str
        Of the mask volume.
    report : str
        Path or URL of report.html.
    """
    rows = table_rows(result)
    if rows:
        leave_table(rows, key=f"maskmill-{key}-classes", description=name)
    create_markdown_artifact(render_markdown(result), key=f"maskmill-{key}-scores")
    leave_link(report, key=f"maskmill-{key}-report")


def leave_picture(picture: Picture | None, *, key: str) -> None:
    """The worst section of a run, if sections were scored.

    Parameters
    ----------
    picture : Picture or None
    key : str
        First digits of the run's digest.
    """
    if picture is not None:
        create_markdown_artifact(
            picture_markdown(picture), key=f"maskmill-{key}-worst", description="worst section"
        )


def leave_table(rows: Sequence[Mapping[str, Any]], *, key: str, description: str) -> None:
    """A table in whose cells and description a page finds nothing to interpret."""
    safe = [
        {name: cell_safe(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    ]
    create_table_artifact(safe, key=key, description=markdown_safe(description))


def leave_link(report: str, *, key: str) -> None:
    """The link to a report: its address is quoted, so that it ends where the path ends."""
    scheme, found, path = report.partition("://")
    link = f"{scheme}://{quote(path)}" if found else f"file://{quote(report)}"
    create_link_artifact(link, link_text="report", key=key)


@contextmanager
def artifact_progress(label: str, total: int, done: int) -> Iterator[Progress]:
    """Progress on the terminal, and as an artifact."""
    artifact: Any = create_progress_artifact(
        100.0 * done / max(total, 1), key="maskmill-progress", description=label
    )

    def tell(percent: float) -> None:
        update_progress_artifact(artifact, percent)

    with Progress(label, total, done, tell) as progress:
        yield progress


def progress_artifact(label: str) -> Callable[[float], None]:
    """An artifact that shows a percentage; call it with every new one."""
    artifact: Any = create_progress_artifact(0.0, key="maskmill-progress", description=label)

    def tell(percent: float) -> None:
        update_progress_artifact(artifact, percent)

    return tell


def leave_training(found: dict[str, Any], *, key: str, name: str) -> None:
    """Scores per class of the part to judge by, and the link to the report of a training.

    Parameters
    ----------
    found : dict
        What the command says of the training.
    key : str
        First digits of its digest.
    name : str
        Of the bundle.
    """
    rows = [{"class": label, "dice": dice} for label, dice in found["dice"].items()]
    described = f"{name}, {found['scored_on']}"
    leave_table(rows, key=f"maskmill-{key}-classes", description=described)
    leave_link(found["report"], key=f"maskmill-{key}-report")
