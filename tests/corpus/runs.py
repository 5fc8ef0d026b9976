"""``run.json`` of a segmentation that is wrong in one place."""

from __future__ import annotations

from tests.corpus.edits import DELETED, Edit

EDITS = (
    Edit("", [], "run.json is no JSON object; restore it"),
    Edit("", None, "run.json is no JSON object; restore it"),
    Edit("schema", 9, "run.json has schema 9; this version reads 1"),
    Edit("schema", DELETED, "run.json has schema None; this version reads 1"),
    Edit("digest", DELETED, "run.json has the digest None, which cannot be used"),
    Edit("digest", "../../x", "run.json has the digest '../../x', which cannot be used"),
    Edit("job", 7, "run.json has the job 7, which cannot be used"),
    Edit("identity", "x", "run.json has the identity 'x', which cannot be used"),
    Edit("directory", "../../outside", "has the directory '../../outside', which cannot be used"),
    Edit("directory", "a/b", "has the directory 'a/b', which cannot be used"),
    Edit("directory", 7, "has the directory 7, which cannot be used"),
    Edit("target", ["x"], r"has the target \['x'\], which cannot be used"),
    Edit("intensity", {"low": [1]}, "has the intensity .*, which cannot be used"),
    Edit("plan", DELETED, "has the plan None, which cannot be used"),
    Edit("plan/shape", "abc", "has the plan .*, which cannot be used"),
    Edit("plan/cell", [0, 0, 0], "has the plan .*, which cannot be used"),
    Edit("plan/region/stop", [9, 9, 9999], "has the plan .*, which cannot be used"),
    Edit("plan/tiling", 7, "has the plan .*, which cannot be used"),
    Edit("plan/batch", "many", "has the plan .*, which cannot be used"),
    Edit("plan/tiling/tile", [2**70] * 3, "has the plan .*, which cannot be used"),
)

# Only what rewrites or audits a run reads its kind.
KIND_EDITS = (
    Edit("kind", "cook", "holds a run of the kind 'cook'; expected"),
    Edit("kind", [], r"holds a run of the kind \[\]; expected"),
)
