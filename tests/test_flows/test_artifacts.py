"""The picture of the worst section: which one, what is seen of it, and that a page holds it."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from flows import artifacts
from flows.artifacts import leave_picture
from flows.pictures import Scene, worst_picture
from flows.report.png import Picture, to_png
from flows.report.worst_picture import GAP, PANEL_SIDE, picture_markdown, side_by_side
from segmentation.region import Region
from storage.volume import open_image, open_label
from tests.test_flows.images import make_image, make_label
from tests.test_flows.report_outline import NASTY

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plane(color, shape=(20, 30)):
    return to_png(np.broadcast_to(np.uint8(color), (*shape, 3)).copy())


def test_panels_stand_side_by_side():
    picture = Picture("z 3", (("image", plane(RED)), ("mask", plane(BLUE))))
    found = side_by_side(picture)
    assert found.shape == (20, 30 + GAP + 30, 3)
    assert (found[:, :30] == RED).all()
    assert (found[:, 30 : 30 + GAP] == 255).all()
    assert (found[:, 30 + GAP :] == BLUE).all()


def test_large_panels_become_smaller():
    picture = Picture("z 3", (("image", plane(RED, (500, 800))),) * 4)
    assert side_by_side(picture).shape == (PANEL_SIDE * 500 // 800, 4 * PANEL_SIDE + 3 * GAP, 3)


def test_the_page_holds_the_picture_itself():
    text = picture_markdown(Picture(NASTY, (("image", plane(RED)), ("mask", plane(BLUE)))))
    assert "<script>" not in text
    (address,) = re.findall(r"!\[image · mask\]\(data:image/webp;base64,([^)]*)\)", text)
    with Image.open(io.BytesIO(base64.b64decode(address))) as image:
        assert image.size == (30 + GAP + 30, 20)


@pytest.fixture
def scene(tmp_path):
    """Three sections whose intensities are 10, 20, 30, with a mask and a truth of one class."""
    voxels = np.repeat(np.uint8([10, 20, 30]), 64 * 64).reshape(3, 64, 64)
    voxels[:, :32] = 0
    image = make_image(tmp_path, voxels, axes="zyx")
    labels = np.zeros((3, 64, 64), np.uint8)
    labels[:, 16:48] = 1
    make_label(image, labels, classes=("background", "cell"))
    make_label(image, labels, name="cells", classes=("background", "cell"))
    truth, mask = open_label(image, "truth"), open_label(image, "cells")
    return Scene(open_image(image), mask, truth, Region((0, 0, 0), (3, 64, 64)), {1: RED})


def rows(*scores):
    """Sections of one volume with their macro-foreground Dice."""
    return [
        {"image": 0, "index": index, "macro_foreground_dice": score}
        for index, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("scores", "caption"),
    [
        ((0.9, 0.25, 0.5), "z 1: macro-foreground Dice 0.25"),
        ((None, 0.75, 0.5), "z 2: macro-foreground Dice 0.5"),
        ((0.5, 0.5, 0.5), "z 0: macro-foreground Dice 0.5"),
    ],
)
def test_the_section_with_the_lowest_score_is_drawn(scene, scores, caption):
    """An undefined score is no low one, and of several the first counts."""
    picture = worst_picture(scene, {"slices": {"rows": rows(*scores)}})
    assert picture.caption.startswith(caption)
    assert [name for name, _ in picture.panels] == ["image", "truth", "mask", "errors"]


@pytest.mark.parametrize(
    "result",
    [{}, {"slices": None}, {"slices": {"rows": rows(None, None, None)}}],
)
def test_without_scores_there_is_none(scene, result):
    assert worst_picture(scene, result) is None


def test_no_picture_leaves_no_artifact(monkeypatch):
    left = []
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda text, **given: left.append((text, given))
    )
    leave_picture(None, key="12345678")
    assert left == []
    picture = Picture("z 3", (("image", plane(RED)),))
    leave_picture(picture, key="12345678")
    ((text, given),) = left
    assert text == picture_markdown(picture)
    assert given["key"] == "maskmill-12345678-worst"
