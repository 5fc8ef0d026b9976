"""Classifications that are refused: one message, exit code 2, nothing changed."""

import pytest

from tests.test_flows.images import maskmill, refused, write_card
from tests.test_flows.samples import write_classifier, write_images, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three images, a classifier and a segmentation bundle."""
    folder = tmp_path_factory.mktemp("place")
    write_images(folder / "images", [0, 100, 255])
    write_classifier(folder / "classifier")
    write_card(folder / "unet")
    (folder / "empty").mkdir()
    (folder / "file").touch()
    return folder


def command(place, images="images", model="classifier", **options):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return ("classify", place / images, "--model", place / model, *flags)


TRUTH = {
    # rows, columns, message
    "unknown": (
        [("s0.png", 0), ("s7.png", 1), ("t.png", 1)],
        ("image", "label"),
        r"names s7\.png, t\.png.* among the 3 images, such as 's0\.png'",
    ),
    "twice": (
        [("s0.png", 0), ("s1.png", 1), ("s0.png", 1)],
        ("image", "label"),
        r"names s0\.png more than once; keep one row for each image",
    ),
    "class": (
        [("s0.png", "grey")],
        ("image", "class"),
        r"the class 'grey' for s0\.png; expected one of dark, bright",
    ),
    "label": ([("s0.png", 2)], ("image", "label"), r"the label 2 for s0\.png; expected 0 to 1"),
    "number": ([("s0.png", "x")], ("image", "label"), r"the label 'x'.*expected a whole number"),
    "nothing": ([("s0.png", "p")], ("image", "group"), "gives no class to any image"),
    "column": ([("s0.png", 1)], ("name", "label"), r"expected a CSV table with the column image"),
}


@pytest.mark.parametrize("case", TRUTH)
def test_a_truth_table_that_does_not_fit(place, case):
    rows, columns, match = TRUTH[case]
    table = write_table(place / f"{case}.csv", rows, columns)
    refused(place, *command(place, truth=table), match=match)


CASES = {
    "empty": ({"images": "empty"}, "holds no images; give a folder"),
    "absent": ({"images": "nowhere"}, "does not exist or holds no images"),
    "model": ({"model": "empty"}, "is not a bundle"),
    "segmentation": ({"model": "unet"}, "a class to every voxel; use it with `maskmill segment`"),
    "truth": ({"truth": "nowhere.csv"}, r"the table nowhere\.csv cannot be read"),
    "out": ({"out": "file/below"}, "cannot be written.*give --out FOLDER"),
    "format": ({"format": "xlsx"}, "--format 'xlsx'.*'csv' or 'parquet'"),
    "batch": ({"batch_size": 0}, "--batch-size '?0'?.*greater than or equal to 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_request_that_is_wrong(place, case):
    options, match = CASES[case]
    options = options | ({"out": place / options["out"]} if "out" in options else {})
    refused(place, *command(place, **options), match=match)


def test_identity_is_no_classifier(place):
    arguments = ("classify", place / "images", "--model", "identity")
    refused(place, *arguments, match="identity is no classifier")


def test_a_table_of_images_that_are_not_there(place):
    table = write_table(place / "images" / "list.csv", [("s0.png",), ("s8.png",)], ("image",))
    refused(place, *command(place, table), match=r"holds no image 's8\.png'; it holds 3")


@pytest.mark.slow
def test_an_unreadable_image_exits_3_and_the_rest_is_there(tmp_path, prefect_harness):
    write_images(tmp_path / "images", [0, 255])
    (tmp_path / "images" / "s1.png").write_bytes(b"")
    write_classifier(tmp_path / "bundle")
    arguments = ("classify", tmp_path / "images", "--model", tmp_path / "bundle")
    answer = maskmill(*arguments, "--out", tmp_path / "out", "--executor=serial", "--json")
    assert answer.code == 3, answer.err
    document = answer.document
    assert document["exit_code"] == 3
    assert [one["id"] for one in document["unreadable"]] == ["s1.png"]
    assert document["samples"] == 1
    assert "s1.png is not a PNG file" in answer.err
    assert (tmp_path / "out" / "predictions.csv").read_text().count("\n") == 2
