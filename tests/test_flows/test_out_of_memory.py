"""A run in which memory runs out: the mask is the same, the records tell the batch."""

import pytest

from segmentation import predictor
from tests.test_flows.runs import segment, stored


def records(run):
    return list(run.manifest.records("infer", len(run.plan)))


def test_a_smaller_batch_gives_the_same_mask_and_is_recorded(
    tmp_path, tiny_image, tiny_bundle, monkeypatch
):
    fields = {"image": tiny_image, "model": tiny_bundle, "memory": 2**24}
    whole, _ = segment(**fields)
    assert whole.plan.batch > 1
    assert {record["batch"] for record in records(whole)} == {whole.plan.batch}
    expected = {k: v for k, v in stored(whole.target).items() if "/c/" in k}
    compile_ = predictor.NetworkPredictor._compile

    def starving(self, shape, wanted):
        if shape[0] > 1:
            raise MemoryError
        return compile_(self, shape, wanted)

    monkeypatch.setattr(predictor.NetworkPredictor, "_compile", starving)
    starved, _ = segment(**fields, force=True)
    assert starved.target != whole.target
    assert {record["batch"] for record in records(starved)} == {1}
    assert {k: v for k, v in stored(starved.target).items() if "/c/" in k} == expected


def test_the_identity_predictor_has_no_batch(tiny_image):
    run, _ = segment(image=tiny_image, memory=2**17)
    assert {record["batch"] for record in records(run)} == {0}


def test_a_tile_that_never_fits_fails_its_shard(tiny_image, tiny_bundle, monkeypatch):
    from flows.errors import IncompleteRunError

    def starving(self, shape, wanted):
        raise MemoryError("not a byte left")

    monkeypatch.setattr(predictor.NetworkPredictor, "_compile", starving)
    with pytest.raises(IncompleteRunError, match="MemoryError: not a byte left"):
        segment(image=tiny_image, model=tiny_bundle, memory=2**24)
