"""Tables of samples: what is read, and one message for whatever is wrong."""

import numpy as np
import pytest
import yaml

from flows.errors import RequestError
from flows.samples import (
    Sample,
    check_known,
    is_sample_catalog,
    read_samples,
    read_table,
    table_classes,
)
from storage.convert import import_image
from storage.errors import StorageError
from tests.test_flows.sample_tables import write_samples, write_table

NAMES = ("no", "yes")


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return str(path)


def test_a_table_with_everything(tmp_path):
    path = table(
        tmp_path,
        "image,label,class,group,split,note\na.png,0,no,p1,train,x\n\n b.png , 1 , yes , , , \n",
    )
    assert read_table(path) == (
        Sample("a.png", 0, "p1", "train"),
        Sample("b.png", 1, "b.png", None),
    )
    assert table_classes(path) == NAMES


def test_a_table_of_images_alone_has_no_labels(tmp_path):
    path = table(tmp_path, "image\na.png\nb.png\n")
    assert [sample.label for sample in read_table(path, NAMES)] == [None, None]


def test_a_row_without_a_class_has_no_label(tmp_path):
    path = table(tmp_path, "image,class\na.png,yes\nb.png,\n")
    assert [sample.label for sample in read_table(path, NAMES)] == [1, None]


def test_classes_are_counted_in_the_order_of_their_labels(tmp_path):
    path = table(tmp_path, "image,label,class\na,1,ant\nb,0,zebra\n")
    assert table_classes(path) == ("zebra", "ant")
    assert [sample.label for sample in read_table(path)] == [1, 0]


def test_classes_without_labels_are_counted_in_the_order_of_the_alphabet(tmp_path):
    path = table(tmp_path, "image,class\na,zebra\nb,ant\n")
    assert table_classes(path) == ("ant", "zebra")
    assert [sample.label for sample in read_table(path)] == [1, 0]


def test_a_byte_order_mark_is_no_part_of_the_head(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfimage,class\na,yes\n")
    assert read_table(str(path), NAMES)[0].label == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"columns \[\] and 0 rows; expected a CSV table with the column image"),
        ("name,class\na,yes\n", "expected a CSV table with the column image"),
        ("image,image\na,b\n", "expected a CSV table"),
        ("image,class\n", "0 rows"),
        ("image,class\na,yes,more\n", "more or fewer cells than its head in the lines 2"),
        ("image,class\n,yes\nb,no\n", "names no image in the lines 2"),
        ("image,class\na,yes\nb,no\na,no\n", "names a more than once"),
        ("image,class\na,perhaps\n", "class 'perhaps' for a; expected one of no, yes"),
        ("image,label\na,2\n", "label 2 for a; expected 0 to 1"),
        ("image,label\na,-1\n", "label '-1' for a; expected a whole number"),
        ("image,label,class\na,0,yes\n", "label 0 and the class 'yes', which is 1"),
        ("image,split\na,dev\n", "split 'dev' for a; expected one of train"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        read_table(table(tmp_path, text), NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,0\nb,1\n", "no column class"),
        ("image,class\na,yes\nb,yes\n", "expected two or more"),
        ("image,label,class\na,1,no\nb,2,yes\n", "counted from 0"),
        ("image,label,class\na,0,no\nb,0,yes\n", "one name for each label"),
    ],
)
def test_classes_that_cannot_be_named_are_refused(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        table_classes(table(tmp_path, text))


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        read_table(str(tmp_path / "none.csv"))


def test_many_names_are_counted(tmp_path):
    samples = read_table(table(tmp_path, "image\n" + "".join(f"{n}\n" for n in range(8))))
    with pytest.raises(RequestError, match=r"truth.csv names 1, 2, 3, 4, 5 and 2 more, not among"):
        check_known(samples, ["0"], "truth.csv")
    check_known(samples[:1], ["0"], "truth.csv")


def test_a_catalog_opens_its_images(tmp_path):
    catalog = write_samples(tmp_path, 6)
    found = read_samples(str(catalog))
    assert found.classes == NAMES
    assert [sample.label for sample in found.samples] == [0, 0, 0, 1, 1, 1]
    assert found.images.names == tuple(sample.name for sample in found.samples)
    assert found.images.read("000.png").shape == (16, 16, 1)
    assert is_sample_catalog(str(catalog))


def test_the_catalog_names_the_classes_in_its_own_order(tmp_path):
    found = read_samples(str(write_samples(tmp_path, 4, classes=["yes", "no"])))
    assert [sample.label for sample in found.samples] == [1, 1, 0, 0]


def test_planes_of_a_stack_are_samples(tmp_path):
    np.save(tmp_path / "v.npy", np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8))
    import_image([str(tmp_path / "v.npy")], str(tmp_path / "s.zarr"), axes="zyx")
    rows = [{"image": n, "class": ("no", "yes")[n % 2]} for n in (2, 1)]
    write_table(tmp_path / "t.csv", rows)
    catalog = tmp_path / "c.yaml"
    catalog.write_text(yaml.safe_dump({"samples": "t.csv", "images": "s.zarr"}))
    found = read_samples(str(catalog))
    assert found.images.names == ("2", "1")
    assert found.images.read("2")[0, 0, 0] == 128


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"samples": "truth.csv", "volumes": []}, "has the field 'volumes'"),
        ({"images": "images"}, "names no table"),
        ({"samples": 3}, "names no table"),
        ({"samples": "truth.csv", "classes": ["yes"]}, "at least two different names"),
        ({"samples": "truth.csv", "classes": ["a", "b"]}, "class 'no'"),
    ],
)
def test_what_is_wrong_with_a_catalog_is_said(tmp_path, content, message):
    catalog = write_samples(tmp_path, 4)
    catalog.write_text(yaml.safe_dump({"images": "images"} | content))
    with pytest.raises(RequestError, match=message):
        read_samples(str(catalog))


def test_samples_without_a_class_are_named(tmp_path):
    def forget(rows, _images):
        rows[2]["class"] = ""

    with pytest.raises(RequestError, match=r"gives no class to 002\.png"):
        read_samples(str(write_samples(tmp_path, 4, change=forget)))


def test_images_that_are_not_there_are_named(tmp_path):
    def lose(_rows, images):
        del images["001.png"]

    with pytest.raises(StorageError, match=r"001\.png"):
        read_samples(str(write_samples(tmp_path, 4, change=lose)))


def test_a_catalog_of_volumes_is_none_of_samples(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("volumes: []\n")
    assert not is_sample_catalog(str(path))
    assert not is_sample_catalog(str(tmp_path / "none.yaml"))
    path.write_text("- 1\n")
    with pytest.raises(RequestError, match=r"expected samples: TABLE\.csv"):
        read_samples(str(path))
