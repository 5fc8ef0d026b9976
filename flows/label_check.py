"""Label values against the classes."""

from __future__ import annotations

from flows.errors import RequestError


def check_values(
    found: dict[int, int], num_classes: int, ignore_label: int | None, called: str = "truth"
) -> None:
    """Refuse values outside 0..num_classes - 1, but for the ignore label.

    Raises
    ------
    RequestError
        With up to five of the values and their counts.
    """
    outside = {v: n for v, n in found.items() if not 0 <= v < num_classes and v != ignore_label}
    if outside:
        shown = ", ".join(f"{v} ({n:,} voxels)" for v, n in list(outside.items())[:5])
        raise RequestError(
            f"{called} has {_sign(outside)}values outside the classes 0 to {num_classes - 1}: "
            f"{shown}; import it with those classes, or leave one value out with --ignore-label"
        )


def _sign(values: dict[int, int]) -> str:
    return "negative " if min(values) < 0 else ""
