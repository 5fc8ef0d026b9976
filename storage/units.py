"""Units of length: the many spellings in files, and the UDUNITS names that OME-Zarr asks for."""

from __future__ import annotations

from storage.errors import StorageError

# UDUNITS name: (symbol in OME-XML, metres).
_LENGTHS = {
    "angstrom": ("Å", 1e-10),
    "picometer": ("pm", 1e-12),
    "nanometer": ("nm", 1e-9),
    "micrometer": ("µm", 1e-6),
    "millimeter": ("mm", 1e-3),
    "centimeter": ("cm", 1e-2),
    "inch": ("in", 0.0254),
    "meter": ("m", 1.0),
}
_SPELLINGS = {
    **{symbol: name for name, (symbol, _) in _LENGTHS.items()},
    "um": "micrometer",
    "\N{GREEK SMALL LETTER MU}m": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "\N{ANGSTROM SIGN}": "angstrom",
}


def length_unit(text: str) -> str | None:
    """UDUNITS name of a spelling (``um``, ``µm``, ``micron``, ``micrometre``); None if unknown."""
    folded = text.strip().replace("metre", "meter")
    for spelling in (folded, folded.lower(), folded.lower().rstrip("s")):
        if spelling in _LENGTHS:
            return spelling
        if spelling in _SPELLINGS:
            return _SPELLINGS[spelling]
    return None


def require_length_unit(text: str) -> str:
    """UDUNITS name of a spelling.

    Raises
    ------
    StorageError
        If the unit is not a known length.
    """
    name = length_unit(text)
    if name is None:
        raise StorageError(f"unit {text!r} is not a length; use one of {', '.join(_LENGTHS)}")
    return name


def unit_symbol(name: str | None) -> str | None:
    """Symbol of a UDUNITS name as OME-XML writes it; None for a unit it does not know."""
    return _LENGTHS[name][0] if name in _LENGTHS else None


def convert_length(value: float, unit: str, target: str) -> float:
    """A length in another unit; both are UDUNITS names.

    Raises
    ------
    StorageError
        If one of them is not known here, and is not the other.
    """
    if unit == target:
        return value
    for name in (unit, target):
        if name not in _LENGTHS:
            raise StorageError(
                f"unit {name!r} cannot be converted; expected one of {', '.join(_LENGTHS)}"
            )
    return value * _LENGTHS[unit][1] / _LENGTHS[target][1]
