"""Metadata of an OME-Zarr image that is wrong in one place: ``zarr.json`` of its group."""

from __future__ import annotations

from tests.corpus.edits import DELETED, Edit

IMAGE = "attributes/ome/multiscales/0"
LEVEL = f"{IMAGE}/datasets/0"
SCALE = f"{LEVEL}/coordinateTransformations/0"
DEEP: list[object] = []
for _ in range(200):
    DEEP = [DEEP]

EDITS = (
    Edit("attributes", {}, "Zarr group without OME metadata"),
    Edit("attributes", {"plate": 7}, "malformed OME metadata .AttributeError"),
    Edit("attributes", {"plate": {"wells": [7]}}, "malformed OME metadata .TypeError"),
    Edit(
        "attributes", {"plate": {"wells": [{"path": "../.."}]}}, r"has the path '../..'; expected"
    ),
    Edit("attributes", {"well": {"images": {"a": 1}}}, "malformed OME metadata .KeyError"),
    Edit("attributes", {"ome": {"labels": 7}}, "malformed OME metadata .TypeError"),
    Edit("attributes/ome/multiscales", "text", "malformed OME metadata .TypeError"),
    Edit("attributes/ome/multiscales", {"a": 1}, "malformed OME metadata .KeyError"),
    Edit("attributes/ome/multiscales", [None], "malformed OME metadata .TypeError"),
    Edit("attributes/ome/version", "9" * 5000, "is OME-Zarr 9{200}; expected 0.4 or 0.5"),
    Edit("attributes/ome/version", [0.5], r"is OME-Zarr \[0.5\]; expected 0.4 or 0.5"),
    Edit(f"{IMAGE}/axes", DELETED, "malformed OME metadata .KeyError"),
    Edit(f"{IMAGE}/axes", DEEP, "malformed OME metadata .TypeError"),
    Edit(f"{IMAGE}/axes", [], "expected y and x among them"),
    Edit(f"{IMAGE}/axes/0", 7, "malformed OME metadata .TypeError"),
    Edit(f"{IMAGE}/axes/0/name", ["z"], "malformed OME metadata .TypeError"),
    Edit(f"{IMAGE}/axes/0/name", None, "unknown axes None among"),
    Edit(f"{IMAGE}/axes/0/name", "y", "expected the order t, c, z, y, x"),
    Edit(f"{IMAGE}/axes/0/name", "\x1b[2J", r"unknown axes +\[2J among"),
    Edit(f"{IMAGE}/axes/1/unit", 7, "a unit is 7; expected a short text"),
    Edit(f"{IMAGE}/axes/1/unit", "m" * 500, "a unit is 'm+…; expected a short text"),
    Edit(f"{IMAGE}/datasets", None, "malformed OME metadata .TypeError"),
    Edit(f"{IMAGE}/datasets", [], "lists no resolution level"),
    Edit(f"{LEVEL}/path", "../../outside", "has the path '../../outside'; expected one below it"),
    Edit(f"{LEVEL}/path", "/etc", "has the path '/etc'; expected one below it"),
    Edit(f"{LEVEL}/path", "s3://bucket/0", "has the path 's3://bucket/0'; expected one below it"),
    Edit(f"{LEVEL}/path", "..\\..", "expected one below it"),
    Edit(f"{LEVEL}/path", "0\x00", "expected a short text"),
    Edit(f"{LEVEL}/path", {"a": 1}, "has the path {'a': 1}; expected a short text"),
    Edit(f"{LEVEL}/path", "nowhere", "lists the level 'nowhere', but no array can be opened"),
    Edit(f"{LEVEL}/coordinateTransformations", 7, "malformed OME metadata .TypeError"),
    Edit(f"{SCALE}/type", "affine", "expected a scale and perhaps a translation"),
    Edit(f"{SCALE}/scale", [1.0], "scale of 1 numbers for 3 axes"),
    Edit(f"{SCALE}/scale", "1.0", "scale has '1'; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", 0, "scale has 0; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", -1.0, "scale has -1.0; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", float("nan"), "scale has nan; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", float("inf"), "scale has inf; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", 10**400, "scale has 10+…; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", "0.05", "scale has '0.05'; expected a number above 0"),
    Edit(f"{SCALE}/scale/0", True, "scale has True; expected a number above 0"),
    Edit("node_type", "array", "is not a readable Zarr|is a Zarr array"),
    Edit("zarr_format", 9, "is not a Zarr|is not a readable Zarr"),
    Edit("", [], "is not a readable Zarr"),
)

ARRAY_EDITS = (
    Edit("shape", "x", "no array can be opened there"),
    Edit("shape", [3, 40], "no array can be opened there|for the 3 axes zyx"),
    Edit("shape", [-1, 40, 36], "no array can be opened there"),
    Edit("data_type", "object", "no array can be opened there"),
    Edit("data_type", {"name": "string"}, "no array can be opened there|expected numbers"),
    Edit("chunk_grid", None, "no array can be opened there"),
    Edit("codecs", [{"name": "run", "configuration": {}}], "no array can be opened there"),
    Edit("codecs", 7, "no array can be opened there"),
    Edit("", None, "no array can be opened there"),
)

LABELS_EDITS = (
    Edit("attributes/ome/labels", 7, "labels/ lists 7; expected the names"),
    Edit("attributes/ome/labels", "truth", "labels/ lists 'truth'; expected the names"),
    Edit("attributes/ome/labels", ["../../.."], "has the path '../../..'; expected one below it"),
    Edit("attributes/ome/labels", ["/etc"], "has the path '/etc'; expected one below it"),
    Edit("attributes/ome/labels", [["truth"]], r"has the path \['truth'\]; expected a short text"),
)

LABEL_EDITS = (
    Edit("attributes/ome/image-label", 7, "malformed image-label .AttributeError"),
    Edit("attributes/ome/image-label/properties", 7, "malformed image-label .TypeError"),
    Edit("attributes/ome/image-label/properties/0", 7, "malformed image-label .TypeError"),
    Edit("attributes/ome/image-label/properties/1/label-value", "x", "expected a whole label-val"),
    Edit("attributes/ome/image-label/properties/1/class", {"a": 1}, "expected a whole label-valu"),
    Edit("attributes/ome/image-label/colors", {"a": 1}, "malformed image-label .AttributeError"),
)
