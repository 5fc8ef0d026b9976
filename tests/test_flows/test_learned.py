"""What a bundle's card tells of the data that are scored now."""

from dataclasses import dataclass, field

import pytest

from flows.learned import learned_images, learned_voxels
from segmentation.region import Region


@dataclass
class Card:
    """As much of a card as is read."""

    training: dict = field(default_factory=dict)


def item(image, start, stop):
    return {"image": image, "region": {"start": start, "stop": stop}}


STACKS = [
    item("data/a.zarr", [0, 0, 0], [10, 8, 8]),
    item("data/a.zarr", [10, 0, 0], [12, 8, 8]),
    item("b.zarr", [0, 0, 0], [4, 8, 8]),
]
SPLIT = {"items": STACKS, "folds": [{"train": [0], "validation": [1], "test": [2]}]}


@pytest.mark.parametrize(
    ("image", "start", "stop", "learned"),
    [
        ("a.zarr", (0, 0, 0), (16, 8, 8), 640),  # all of the training part
        ("a.zarr", (8, 4, 0), (16, 8, 8), 64),  # two sections of it, half of each
        ("a.zarr", (10, 0, 0), (12, 8, 8), 0),  # validation chose the epoch, but taught nothing
        ("b.zarr", (0, 0, 0), (4, 8, 8), 0),
        ("c.zarr", (0, 0, 0), (4, 8, 8), 0),
    ],
)
def test_voxels_of_the_training_part(image, start, stop, learned):
    region = Region(start, stop)
    found = learned_voxels(Card({"split": SPLIT, "fold": None}), image, region)
    assert (found["learned"], found["scored"]) == (learned, region.voxels)
    assert bool(found["items"]) == bool(learned)


def test_a_fold_knows_its_own_part_and_an_ensemble_all_of_them():
    folds = [{"train": [0]}, {"train": [2]}]
    split, region = SPLIT | {"folds": folds}, Region((0, 0, 0), (4, 8, 8))
    assert learned_voxels(Card({"split": split, "fold": 0}), "b.zarr", region)["learned"] == 0
    assert learned_voxels(Card({"split": split, "fold": 1}), "b.zarr", region)["learned"] == 256
    assert learned_voxels(Card({"split": split}), "b.zarr", region)["learned"] == 256


def test_planes_of_another_number_of_axes_and_unknown_trainings_are_passed_over():
    assert learned_voxels(Card({"split": SPLIT}), "a.zarr", Region((0, 0), (8, 8)))["learned"] == 0
    assert learned_voxels(Card(), "a.zarr", Region((0, 0, 0), (8, 8, 8)))["learned"] == 0


def test_images_by_their_names():
    split = {
        "items": [{"image": "x/1.png"}, {"image": "2.png"}],
        "folds": [{"train": [0], "validation": [], "test": [1]}],
    }
    found = learned_images(Card({"split": split}), ["1.png", "2.png", "3.png"])
    assert (found["learned"], found["scored"], found["items"]) == (1, 3, ["1.png"])
