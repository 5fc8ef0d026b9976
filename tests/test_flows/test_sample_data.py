"""What a classifier is trained on: who looks like whom, and which part everyone is in."""

import numpy as np
import pytest

from flows.errors import RequestError
from flows.sample_data import prepare_samples, usual_size
from flows.sample_split import across_groups
from tests.test_flows.sample_tables import SIDE, train_job, write_samples


def data_of(folder, change=lambda rows, images: None, count=24, **fields):
    return prepare_samples(train_job(write_samples(folder, count, change=change), None, **fields))


def test_s4_1_a_table_sorted_by_class_has_both_classes_in_every_part(tmp_path):
    data = data_of(tmp_path)
    labels = data.labels
    assert labels.tolist() == sorted(labels.tolist())
    parts = data.parts()
    for part in (parts.train, parts.validation, parts.test):
        assert set(labels[list(part)]) == {0, 1}
    # The tail of the table, which a share of validation would have been.
    assert set(parts.validation) != set(range(24 - len(parts.validation), 24))


def test_parts_share_no_sample_and_no_group(tmp_path):
    data = data_of(tmp_path, folds=3)
    groups = [sample.group for sample in data.samples.samples]
    tested = []
    for fold in range(3):
        parts = data.parts(fold)
        numbers = [*parts.train, *parts.validation, *parts.test]
        assert sorted(numbers) == list(range(24))
        for one, other in ((parts.train, parts.validation), (parts.train, parts.test)):
            assert not {groups[n] for n in one} & {groups[n] for n in other}
        tested += parts.test
    assert sorted(tested) == list(range(24))


def copy_across(rows, images):
    """Sample 4, brighter and in another group, once more as sample 1."""
    images["001.png"] = (images["004.png"] // 2 + 60).astype(np.uint8)


def test_images_that_look_alike_are_found_across_groups_and_kept_together(tmp_path):
    data = data_of(tmp_path, copy_across, folds=3)
    assert across_groups(data.samples.samples, data.likeness) == [(1, 4)]
    assert data.split["linked"] == [["g0", "g2"]]
    assert [(pair["first"], pair["second"]) for pair in data.split["look_alikes"]] == [
        ("001.png", "004.png")
    ]
    for fold in range(3):
        parts = data.parts(fold)
        assert any(
            {0, 1, 4, 5} <= set(part) for part in (parts.train, parts.validation, parts.test)
        )


def test_without_copies_nothing_is_joined(tmp_path):
    data = data_of(tmp_path)
    assert (data.likeness.pairs, data.split["linked"]) == ({}, [])


def give_parts(rows, images):
    copy_across(rows, images)
    for row in rows:
        number = int(row["group"][1:])
        row["split"] = ("train", "validation", "train", "train", "test", "train")[number % 6]
    for row in rows[:2]:
        row["split"] = "validation"


def test_images_that_look_alike_in_different_parts_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"001.png \(validation\) and 004.png \(train\)"):
        data_of(tmp_path, give_parts)


def test_they_are_accepted_for_an_experiment(tmp_path):
    data = data_of(tmp_path, give_parts, allow_overlap=True)
    assert data.split["rule"] == "fixed by the catalog"
    assert 1 in data.parts().validation
    assert 4 in data.parts().train


def test_a_part_without_a_class_is_refused(tmp_path):
    def rare(rows, _images):
        for row in rows[1:]:
            row["class"] = "yes"

    with pytest.raises(RequestError, match="the class no has no image in the validation part"):
        data_of(tmp_path, rare)


def test_more_folds_than_groups_are_refused(tmp_path):
    with pytest.raises(RequestError, match="use at most 4 folds"):
        data_of(tmp_path, count=8, folds=5)


def test_the_split_is_the_same_for_the_same_table(tmp_path):
    first, again = data_of(tmp_path / "a"), data_of(tmp_path / "b")
    assert first.split == again.split
    other = data_of(tmp_path / "c", copy_across)
    assert other.split["digest"] != first.split["digest"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(16, 16)] * 3 + [(40, 40)], (16, 16)),
        ([(10, 20), (12, 40), (14, 60)], (12, 40)),
        ([(1024, 1024)] * 2, (256, 256)),
        ([(512, 1024)] * 2, (128, 256)),
    ],
)
def test_the_usual_size(sizes, expected):
    assert usual_size(sizes) == expected


def test_the_size_can_be_asked_for(tmp_path):
    data = data_of(tmp_path, image_size=(32, 24))
    assert (data.image_size, data.resized) == ((32, 24), 24)
    assert data_of(tmp_path).image_size == (SIDE, SIDE)
    with pytest.raises(RequestError, match="--image-size"):
        data_of(tmp_path, image_size=(32,))


def test_images_that_cannot_be_learned_from_are_all_named(tmp_path):
    def spoil(_rows, images):
        images["003.png"] = np.full((SIDE, SIDE), 9, np.uint8)

    catalog = write_samples(tmp_path, 6, change=spoil)
    (tmp_path / "images" / "005.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"2 of 6 images.*003\.png.*no contrast.*005\.png"):
        prepare_samples(train_job(catalog, None))


def test_grey_in_colour_is_grey_and_a_mixture_too(tmp_path):
    def colour(_rows, images):
        images["000.png"] = np.repeat(images["000.png"][..., None], 3, axis=2)

    assert data_of(tmp_path / "a", colour).channels == 1

    def red(_rows, images):
        images["000.png"] = images["000.png"][..., None] * np.array([1, 0, 0], np.uint8)

    assert data_of(tmp_path / "b", red).channels == 1

    def all_red(_rows, images):
        for name, voxels in images.items():
            images[name] = voxels[..., None] * np.array([1, 0, 0], np.uint8)

    assert data_of(tmp_path / "c", all_red).channels == 3


def test_percentiles_that_are_none_are_refused(tmp_path):
    with pytest.raises(RequestError, match="expected two numbers between 0 and 100"):
        data_of(tmp_path, intensity_percentiles=(50.0, 5.0))
