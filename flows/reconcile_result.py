"""What became of many volumes, as data and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flows.errors import IncompleteRunError

# Failures that a message names one by one.
SHOWN = 20
BUSY = "another command is at work on it"
WORDS = {
    "done": "segmented",
    "current": "up to date",
    "busy": "in the hands of another command",
    "failed": "failed",
    "set_aside": "set aside after failing again and again",
}


@dataclass(slots=True)
class Tally:
    """What became of the images.

    Attributes
    ----------
    done, current, busy : list of str
        URLs of images: segmented here, up to date before, and in the hands of another.
    failed, set_aside : list of dict
        ``image`` and ``error``.
    """

    done: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    set_aside: list[dict[str, str]] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """As the command prints it with ``--json``."""
        return {name: list(getattr(self, name)) for name in Tally.__slots__}


def finish(tally: Tally, *, needs_all: bool = False) -> dict[str, Any]:
    """What became of the images, if all is well.

    Parameters
    ----------
    needs_all : bool
        Whether an image in the hands of another is too few.

    Raises
    ------
    IncompleteRunError
        If some have failed; each in a line.
    """
    result = tally.result()
    lines = [f"{one['image']}: {one['error']}" for one in tally.failed]
    if needs_all:
        lines += [f"{url}: {BUSY}" for url in tally.busy]
    if not lines:
        return result
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise IncompleteRunError(
        "\n  ".join([f"{summary(result)}; the same job tries again:", *lines[:SHOWN], *more]),
        result,
    )


def summary(result: dict[str, Any]) -> str:
    """How many images became what, in one line."""
    parts = [f"{len(result[key])} {said}" for key, said in WORDS.items() if result[key]]
    return ", ".join(parts) or "no image was found"


def rows(result: dict[str, Any]) -> list[dict[str, str]]:
    """A row for every image that is not as it was before."""
    told = [{"image": url, "state": WORDS["done"], "why": ""} for url in result["done"]]
    told += [{"image": url, "state": WORDS["busy"], "why": ""} for url in result["busy"]]
    for key in ("failed", "set_aside"):
        told += [
            {"image": one["image"], "state": WORDS[key], "why": one["error"]} for one in result[key]
        ]
    return told


def reconciled_text(result: dict[str, Any]) -> str:
    """What the command prints."""
    is_idle = not (result["done"] or result["busy"] or result["failed"])
    lines = [f"nothing to do: {summary(result)}" if is_idle else summary(result)]
    lines += [f"{url}: segmented" for url in result["done"]]
    lines += [f"{url}: {BUSY}" for url in result["busy"]]
    for one in result["set_aside"]:
        lines.append(f"{one['image']}: set aside, --retry tries it again; {one['error']}")
    return "".join(f"{line}\n" for line in lines)
