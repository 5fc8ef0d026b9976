"""Files and names that want something: they do nothing, and are told apart in one message."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flows import artifacts
from segmentation.bundle import BundleError, load_model
from segmentation.networks import model_contents
from segmentation.networks.model_file import ModelFileError, read_model
from segmentation.predictor import KerasPredictor
from tests.test_flows.hostile_models import (
    CODE,
    NAMES,
    WEIGHTS,
    archive,
    both_in_one,
    description,
    layer,
    link,
    members,
)
from tests.test_flows.images import (
    VOXEL_SIZE,
    add_card,
    make_image,
    make_label,
    maskmill,
    refused,
    thresholds,
    unchanged,
    voxels_like,
    write_card,
)
from tests.test_flows.report_outline import Outline

VOXELS = voxels_like((3, 40, 36))
CLASSES = ("--classes", "background,dim,bright", "--intensity-range", "0,200")
# What a name, a class or a path may try.
SCRIPT = "<script>document.title='owned'</script>"
PICTURE = "<img src=x onerror=\"document.title='owned'\">"
BREAKOUT = "'\"--></style></title></svg>" + PICTURE
LINK = "[x](javascript:alert(1))"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """An image with truth and a bundle. Nothing may change in it."""
    folder = tmp_path_factory.mktemp("shelf")
    make_label(make_image(folder, VOXELS, voxel_size=VOXEL_SIZE), VOXELS % 3)
    write_card(folder / "bundle")
    np.save(folder / "truth.npy", VOXELS % 3)
    return folder


def unreadable(path, match):
    with pytest.raises(ModelFileError, match=match):
        read_model(path)


# --- models


@pytest.mark.parametrize("kind", CODE)
def test_code_in_a_model_is_not_run(tmp_path, kind):
    hidden, match = CODE[kind]
    unreadable(archive(tmp_path / "a.keras", members(hidden)), match)
    path = both_in_one(tmp_path / "a.h5", description(hidden))
    unreadable(path, match)
    assert zipfile.is_zipfile(path)


@pytest.mark.parametrize("kind", NAMES)
def test_members_stay_in_their_folder(tmp_path, kind):
    path = archive(tmp_path / "in" / "a.keras", members(), [(NAMES[kind], b"owned")])
    with unchanged(tmp_path):
        unreadable(path, "holds the member '.*'; expected config.json, metadata.json, model.weigh")


@pytest.fixture(autouse=True)
def folder_in_between(tmp_path):
    (tmp_path / "in").mkdir()


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_member_that_is_a_link(tmp_path, name):
    content = members()
    del content[name]
    path = archive(tmp_path / "a.keras", content, [link(name, "/etc/passwd")])
    unreadable(path, f"holds {name} twice or as a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path):
    """One reader would take the first, another the last."""
    second = [("config.json", json.dumps(description(CODE["a program"][0])))]
    path = archive(tmp_path / "a.keras", members(), second)
    unreadable(path, "holds config.json twice or as a link")


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_not_in_the_file(tmp_path, kind):
    write, match = WEIGHTS[kind]
    unreadable(archive(tmp_path / "a.keras", members(write=write)), match)


def test_an_archive_that_unfolds(tmp_path, monkeypatch):
    """16 MiB of zeros in 16 KiB, with the limit set to where a test can reach it."""
    monkeypatch.setattr(model_contents, "SMALL_BYTES", 2**20)
    content = members() | {"model.weights.h5": bytes(2**24)}
    path = archive(tmp_path / "a.keras", content, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**15
    unreadable(path, r"and unfolds to 16,\d\d\d,\d\d\d, more than 50 times as many")
    monkeypatch.setattr(model_contents, "MAX_DESCRIPTION_BYTES", 100)
    unreadable(archive(tmp_path / "b.keras", members()), "has a config.json of more than")


@pytest.mark.parametrize("missing", ["config.json", "model.weights.h5"])
def test_a_member_that_is_not_there(tmp_path, missing):
    content = {name: data for name, data in members().items() if name != missing}
    unreadable(archive(tmp_path / "a.keras", content), f"lacks {missing}; save the model again")


@pytest.mark.parametrize(
    "config", [b"", b"{", b"[" * 200_000, b"7", b"[]", b'"' + b"\xff" * 9 + b'"']
)
def test_a_description_that_is_none(tmp_path, config):
    path = archive(tmp_path / "a.keras", members() | {"config.json": config})
    unreadable(path, "is not a whole Keras model; save it with")


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.hdf5"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x89HDF\r\n"])
def test_files_that_are_no_model(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    unreadable(tmp_path / name, "is not a whole Keras model|lacks config.json")


def test_a_suffix_of_another_format(tmp_path):
    path = archive(tmp_path / "a.zip", members())
    unreadable(path, "ends in '.zip'; Keras models end in .keras or .h5")


def test_how_a_model_was_compiled_does_no_harm(tmp_path):
    """Its loss may be the user's own: it is neither looked for nor refused."""
    own = {"class_name": "function", "config": "dice_loss", "module": "losses"}
    content = members() | {
        "config.json": json.dumps(description() | {"compile_config": {"loss": own}}).encode()
    }
    # Keras is asked, and misses what the layer of this test lacks; nothing of ours refuses it.
    unreadable(archive(tmp_path / "a.keras", content), "cannot be loaded by Keras")


def test_every_door_for_models_refuses_code(tmp_path):
    content, message = HIDDEN["lambda"]
    bundle = add_card(tmp_path / "bundle", content)
    refused(tmp_path, "pack", bundle / "model.keras", tmp_path / "new", *CLASSES, match=message)
    refused(tmp_path, "audit", bundle, match=message)
    # What workers and trainings open a bundle with.
    for load in (KerasPredictor, load_model):
        with unchanged(tmp_path), pytest.raises(BundleError, match=message):
            load(bundle)
    assert not Path("owned").exists()


# What a bundle with a true card may hide, and what is said of it.
LAMBDA = CODE["lambda layer"][0]
HIDDEN = {
    "lambda": (members(LAMBDA), "uses Lambda, which Keras does not have, or which runs code"),
    "custom": (members(layer("Sharpen", "my_layers")), r"uses Sharpen \(of my_layers\)"),
    "traversal": (members() | {"../../owned": b"owned"}, r"holds the member '\.\./\.\./owned'"),
    "link": (members(write=WEIGHTS["a link outside"][0]), "in place of weights"),
}


@pytest.fixture(scope="module")
def hostile_shelf(tmp_path_factory):
    """An image with truth, a catalog of it, and bundles that hide something."""
    folder = tmp_path_factory.mktemp("hostile")
    make_label(make_image(folder, VOXELS, voxel_size=VOXEL_SIZE), VOXELS % 3)
    parts = enumerate(("train", "validation", "test"))
    volumes = [
        {"image": "stack.zarr", "label": "truth", "region": f"z={z}:{z + 1}", "split": part}
        for z, part in parts
    ]
    (folder / "catalog.yaml").write_text(json.dumps({"volumes": volumes}))
    (folder / "images").mkdir()
    for name, (content, _) in HIDDEN.items():
        add_card(folder / name, content)
    return folder


@pytest.mark.parametrize("kind", HIDDEN)
def test_nothing_is_begun_with_a_hostile_bundle(hostile_shelf, kind):
    """No run folder, no staged label, no bundle, and no table of predictions."""
    shelf, bundle, (_, message) = hostile_shelf, hostile_shelf / kind, HIDDEN[kind]
    image = shelf / "stack.zarr"
    for arguments in (
        ("segment", image, "--model", bundle, "--name", "cells"),
        ("segment", image, "--model", bundle, "--name", "cells", "--executor", "serial"),
        ("plan", image, "--model", bundle),
        ("classify", shelf / "images", "--model", bundle),
        ("train", shelf / "catalog.yaml", "--out", shelf / "new", "--pretrained", bundle),
    ):
        refused(shelf, *arguments, match=message)
    assert not (shelf.parent / "owned").exists()


def test_a_real_model_is_read_as_it_was(tmp_path):
    """What is refused above does not take whole models with it."""
    from segmentation.networks.model_file import write_model

    model = thresholds(0.25, 0.75)
    write_model(model, tmp_path / "a.keras")
    assert [type(one) for one in read_model(tmp_path / "a.keras").layers] == [
        type(one) for one in model.layers
    ]


# --- names

HOSTILE_NAMES = (
    *("../outside", "a/../../b", "..", ".", "/etc/passwd", "a\x00b", "a\nb", "-rf", "~", "a b"),
    *(
        "x" * 300,
        SCRIPT,
        LINK,
        "$(touch owned)",
        "`id`",
        "a;b",
        "a|b",
        "*",
        "%2e%2e",
        "ａ",
        "\udcff",
    ),
)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_names_of_labels(shelf, tmp_path, name):
    image = shelf / "stack.zarr"
    message = "is not usable|is not in .*labels there|does not exist|is not a Zarr"
    for arguments in (
        ("segment", image, "--model", "identity", f"--name={name}"),
        ("import-labels", shelf / "stack.npy", image, f"--name={name}"),
        ("export", image, tmp_path / "a.tif", f"--labels={name}"),
        ("evaluate", image, f"--labels={name}", "--truth", "truth", "--executor", "serial"),
        ("verify", image, f"--labels={name}"),
        ("rollback", image, f"--labels={name}"),
        ("prune", image, f"--labels={name}", "--yes"),
        ("repair", image, f"--labels={name}", "--executor", "serial"),
    ):
        refused(shelf, *arguments, match=message)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


@pytest.mark.parametrize("listed", [["../../other"], ["truth", ".."], ["/etc"], [""], [7, None]])
def test_a_list_of_labels_that_leads_outside(shelf, tmp_path, listed):
    """Nothing is read, published, pruned or rolled back by such a list."""
    shutil.copytree(shelf / "stack.zarr", tmp_path / "in" / "stack.zarr")
    (tmp_path / "other").mkdir()
    path = tmp_path / "in" / "stack.zarr" / "labels" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["ome"]["labels"] = listed
    path.write_text(json.dumps(document))
    image = tmp_path / "in" / "stack.zarr"
    for arguments in (
        ("info", image),
        ("verify", image, "--labels", "truth"),
        ("prune", image, "--yes", "--older-than", "0s"),
        ("rollback", image, "--labels", "truth"),
    ):
        refused(tmp_path, *arguments, match="has the path .*; expected")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J", "x" * 200])
def test_names_of_classes_that_cannot_be_shown(shelf, tmp_path, name):
    classes = ("--classes", f"background,{name},c")
    label = ("import-labels", shelf / "truth.npy", shelf / "stack.zarr", "--name", "new")
    refused(shelf, *label, *classes, match="(name .* is|classes .* are) not usable")


# --- pages


def poisoned(value, key=""):
    """A document in which every name and text is what a page must not interpret."""
    texts = ("name", "image", "group", "statement", "advice", "code", "first", "second", "bundle")
    if isinstance(value, dict):
        return {k: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    return f"{value}{BREAKOUT}{SCRIPT}" if isinstance(value, str) and key in texts else value


def report_pages():
    """Every kind of page, from poisoned documents."""
    from flows.report.audit_page import render_audit
    from flows.report.classification import render_classification
    from flows.report.html import render_report
    from flows.report.training import render_training
    from tests.test_flows import results, test_audit_page, test_classification_report
    from tests.test_flows.training_results import one_training

    options = results.full_options() | {"title": BREAKOUT, "provenance": {PICTURE: {SCRIPT: LINK}}}
    yield "report", render_report(poisoned(results.full_result()), **options)
    found = poisoned(test_classification_report.result())
    yield "classification", render_classification(found, title=SCRIPT, provenance={"m": PICTURE})
    findings = [test_audit_page.finding(statement=BREAKOUT, advice=f"`{SCRIPT}`", rule=PICTURE)]
    yield "audit", render_audit(test_audit_page.audit(*findings) | {"target": BREAKOUT})
    yield "training", render_training(poisoned(one_training()), title=PICTURE)


def test_pages_hold_no_tag_that_came_from_outside():
    shown = dict(report_pages())
    assert shown.keys() == {"report", "classification", "audit", "training"}
    for name, page in shown.items():
        outline = Outline(page)
        assert not {"script", "iframe", "object", "embed", "form", "base"} & set(outline.tags), name
        handlers = [key for _, found in outline.attributes for key in found if key.startswith("on")]
        assert handlers == [], name
        addresses = [one for one in outline.addresses if not one.startswith(("#", "data:image/"))]
        assert addresses == [], name
        assert "owned" in outline.text, name


@pytest.mark.slow
def test_no_script_runs_in_a_browser(tmp_path):
    """Not even without the policy that every page carries."""
    import re

    from tests.test_flows.browser import CHROMIUM, browse

    if CHROMIUM is None:
        pytest.skip("pages were NOT opened: no chromium or chromium-browser on the PATH")
    for name, page in report_pages():
        bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert bare != page
        path = tmp_path / f"{name}.html"
        path.write_text(bare, encoding="utf-8")
        assert "<title>owned" not in browse(path, "--dump-dom").stdout
    path.write_text(bare.replace("<main>", f"<main>{PICTURE}"), encoding="utf-8")
    assert "<title>owned" in browse(path, "--dump-dom").stdout


def test_artifacts_hold_no_tag_that_came_from_outside(monkeypatch):
    from tests.test_flows.results import full_result

    left = {}
    for kind in ("table", "markdown", "link"):
        monkeypatch.setattr(
            artifacts,
            f"create_{kind}_artifact",
            lambda *content, kind=kind, **more: left.setdefault(kind, (content, more)),
        )
    artifacts.leave_artifacts(
        poisoned(full_result()), key="0", name=LINK + SCRIPT, report=f"/a b/{BREAKOUT})[x](y)"
    )
    (rows,), described = left["table"]
    texts = [cell for row in rows for cell in row.values() if isinstance(cell, str)]
    texts += [described["description"], left["markdown"][0][0], left["link"][0][0]]
    assert any("owned" in text for text in texts)
    assert not any("<script" in text or "<img" in text for text in texts)
    assert described["description"].startswith("\\[x\\](")
    assert not set(left["link"][0][0]) & set(" ()<>\"'[]")


def test_a_hostile_image_and_class_from_end_to_end(tmp_path):
    """The run, its report and its terminal table, with names as bad as a file system takes them."""
    from tests.test_flows.images import segment

    place = tmp_path / "<img src=x onerror=alert(1)>"
    place.mkdir()
    image = make_image(place, VOXELS % 3 + 1, voxel_size=VOXEL_SIZE)
    make_label(image, VOXELS % 3 + 1, classes=("background", SCRIPT, LINK, PICTURE))
    run, _ = segment(image, truth="truth")
    from flows.jobs import ReportJob
    from flows.rewrite import rewrite_report

    page = Path(rewrite_report(ReportJob(run=run.url))["report"]).read_text()
    outline = Outline(page)
    assert not {"script", "img src"} & set(outline.tags)
    assert SCRIPT in outline.text
    assert maskmill("info", image).code == 0


def test_a_layer_of_another_module_is_told(tmp_path):
    path = archive(tmp_path / "a.keras", members(layer("Dense", "my_layers")))
    unreadable(path, r"uses Dense \(of my_layers\), which Keras does not have")
