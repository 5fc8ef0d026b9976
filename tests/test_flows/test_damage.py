"""Planted damage is found, named and mended, and nothing else is made again."""

import pytest

from benchmarks.damage.__main__ import table
from benchmarks.damage.plants import PLANTS, flip, lost_record
from benchmarks.damage.scene import make_scene
from benchmarks.damage.trial import Trial, copy_of, try_damage
from tests.test_flows.runs import small_cells

DAMAGES = 60
SHAPE = (40, 44, 30)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Cells so small that a tiny volume has many of them."""
    with small_cells():
        yield


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene") / "whole", shape=SHAPE, memory=2**17)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_every_kind_of_damage(scene, tmp_path, plant):
    trial = try_damage(copy_of(scene, tmp_path / "copy"), plant, 0, seed=7)
    assert trial.passed, trial


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sixty_damages(scene, tmp_path):
    for number in range(DAMAGES):
        plant = PLANTS[number % len(PLANTS)]
        trial = try_damage(copy_of(scene, tmp_path / "copy"), plant, number // len(PLANTS), seed=1)
        assert trial.passed, trial


def test_there_are_enough_objects_to_choose_from(scene):
    stages = {one.stage for one in scene.objects()}
    assert {"metadata", "infer", "pyramid-1", "pyramid-2"} <= stages
    assert len([one for one in scene.objects() if one.stage == "infer"]) >= 12


@pytest.mark.parametrize("plant", [flip, lost_record])
def test_a_verification_that_finds_nothing_fails_the_trial(scene, tmp_path, monkeypatch, plant):
    monkeypatch.setattr("benchmarks.damage.trial.verify_labels", lambda job: {"problems": []})
    trial = try_damage(copy_of(scene, tmp_path / "copy"), plant, 0, seed=7)
    assert (trial.found, trial.passed, trial.restored) == (False, False, True)


def test_a_repair_that_does_too_much_or_nothing_fails_the_trial(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.damage.trial.repair_labels", lambda job: {})
    trial = try_damage(copy_of(scene, tmp_path / "copy"), flip, 0, seed=7)
    assert (trial.found, trial.restored, trial.exact, trial.sound) == (True, False, False, False)


def test_the_table():
    good = Trial("flip", 0, ["0/c/0"], True, True, 1, True, True, 1.0)
    bad = Trial("flip", 1, ["0/c/1"], False, True, 3, False, True, 2.0)
    lines = table([good, bad]).splitlines()
    assert lines[2] == "| flip | 2 | 1 of 2 | 2 of 2 | 4 | 1 of 2 |"
    assert lines[3].startswith("| all | 2 | 1 of 2 |")
    assert lines[-1] == "3 s in all"
