"""What became of the items of a stage: counted, quarantined, and told at the end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from flows.errors import IncompleteRunError
from flows.evidence import without_secrets
from storage.stores import join_url

if TYPE_CHECKING:
    import numpy as np

    from flows.executors import Outcome
    from storage.blobs import Blobs

SCHEMA = 1
FAILURES_SHOWN = 3


@dataclass(slots=True)
class Tally:
    """What became of the items so far.

    Attributes
    ----------
    done : numpy.ndarray
        bool, one for each item of the stage.
    failed : int
        Items whose attempts are used up.
    causes : list of str
        The first few messages.
    files : list of str
        URL of the first file about a failure.
    """

    done: np.ndarray
    failed: int = 0
    causes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def fail(self, item: int, error: str, file: str | None) -> None:
        """Count a failure; keep the first few causes and the first file about one."""
        self.failed += 1
        if len(self.causes) < FAILURES_SHOWN:
            self.causes.append(f"shard {item}: {error}")
        if file and not self.files:
            self.files.append(file)


def write_failure(
    run: Blobs, outcome: Outcome, stage: str, attempt: str, known: dict[str, Any]
) -> str | None:
    """Quarantine an item: what is known of its failure, for who looks into it.

    Returns
    -------
    str or None
        URL of the file; None if it could not be written.
    """
    content = {"schema": SCHEMA, "stage": stage, "shard": outcome.item, **known}
    content |= {"error": without_secrets(str(outcome.error))}
    content |= asdict(outcome.evidence) if outcome.evidence else {}
    key = f"failures/{outcome.item:08d}-{attempt}.json"
    try:
        run.write(key, json.dumps(content, indent=2).encode())
    except OSError:
        # On a full disk the message on the terminal is what is left.
        return None
    return join_url(run.url, key)


def incomplete(url: str, tally: Tally, *, stopped: bool) -> IncompleteRunError:
    """The error of a stage that is not finished, with the command's result so far."""
    total, missing = len(tally.done), int((~tally.done).sum())
    shards = shard_counts(total, total - missing, tally.failed)
    result = {"run": url, "shards": shards}
    if stopped:
        return IncompleteRunError(
            f"stopped at a shard border with {missing} of {total} shards to do; "
            "run the same command to go on",
            result,
        )
    return IncompleteRunError(
        f"{tally.failed} shards failed and {missing} of {total} are to do: "
        + "; ".join(tally.causes)
        + "".join(f"; details in {file}" for file in tally.files)
        + " and beside it" * (tally.failed > 1 and bool(tally.files))
        + "; run the same command to go on",
        result,
    )


def shard_counts(planned: int, done: int, failed: int = 0, *, skipped: int = 0) -> dict[str, int]:
    """``shards`` of result.json; of those that are skipped nothing is computed."""
    return {"planned": planned, "done": done, "skipped": skipped, "failed": failed}
