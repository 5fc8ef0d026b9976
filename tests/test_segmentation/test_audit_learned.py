"""Scores of what was learned from are said to flatter."""

from segmentation.audit.learned import learned_findings


def result(learned, scored=100):
    items = [f"stack.zarr 0:{learned}"] * bool(learned)
    return {"learned": {"unit": "voxels", "learned": learned, "scored": scored, "items": items}}


def test_what_was_learned_from_is_named_with_its_share():
    (found,) = learned_findings(result(40))
    assert (found.code, found.severity) == ("EVAL-ON-TRAINING", "warning")
    assert "40 of the 100 voxels that were scored (40%)" in found.statement
    assert "stack.zarr 0:40" in found.statement
    assert found.evidence[0].rows == (("learned from", 40), ("not learned from", 60))


def test_scores_of_other_data_are_left_in_peace():
    assert not list(learned_findings(result(0)))
    assert not list(learned_findings({}))
