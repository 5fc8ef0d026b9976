import pytest

from storage.errors import StorageError
from storage.units import convert_length, length_unit, require_length_unit, unit_symbol


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("\u03bcm", "micrometer"),
        ("\\u00B5m", "micrometer"),
        ("microns", "micrometer"),
        ("Micrometre", "micrometer"),
        ("nm", "nanometer"),
        ("nanometers", "nanometer"),
        ("Å", "angstrom"),
        ("\u212b", "angstrom"),
        ("pixel", None),
        ("", None),
    ],
)
def test_spellings(text, name):
    assert length_unit(text) == name


def test_unknown_unit_is_refused():
    with pytest.raises(StorageError, match="unit 'pixel' is not a length; use one of angstrom"):
        require_length_unit("pixel")


def test_symbols_and_conversion():
    assert unit_symbol("micrometer") == "µm"
    assert unit_symbol(None) is None
    assert unit_symbol("parsec") is None
    assert convert_length(45.0, "nanometer", "micrometer") == pytest.approx(0.045)
    assert convert_length(45.0, "parsec", "parsec") == 45.0
    with pytest.raises(StorageError, match="unit 'parsec' cannot be converted; expected one of an"):
        convert_length(45.0, "parsec", "meter")
    with pytest.raises(StorageError, match="unit 'light year' cannot be converted"):
        convert_length(45.0, "meter", "light year")
