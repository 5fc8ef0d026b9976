"""The readers of documents that others may have written."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz import documents as valid
from benchmarks.fuzz.mutate import changed_bytes, changed_text, changed_tree
from benchmarks.fuzz.subject import Subject
from flows.errors import RequestError
from segmentation.bundle import BundleError, Card
from segmentation.networks.model_file import ModelFileError
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random


def subjects(folder: Path) -> list[Subject]:
    """All readers; those of files work in a folder, which is filled with what they need."""
    of_files = (_logs, _bundles, _runs, _catalogs, _volumes)
    return [*_metadata(), *_jobs(), *chain.from_iterable(make(folder) for make in of_files)]


def one_of(*choices: Any) -> Any:
    """Makes changed copies of one of several documents."""
    return lambda random: changed_tree(random, random.choice(choices))


def text_of(text: str) -> Any:
    """Makes changed copies of a text."""
    return partial(_changed, text=text)


def _changed(random: Random, text: str) -> str:
    return changed_text(random, text)


def _metadata() -> Iterator[Subject]:
    from storage.ome import parse_image
    from storage.ome_labels import parse_label_classes, parse_labels_list

    image = one_of(valid.IMAGE, valid.IMAGE, valid.IMAGE, valid.PLATE, valid.WELL, valid.LABELS)
    yield Subject("parse_image", image, lambda tree: parse_image(tree, "x.zarr"), (StorageError,))
    yield Subject("parse_label_classes", one_of(valid.LABEL), parse_label_classes, (StorageError,))
    yield Subject("parse_labels_list", one_of(valid.LABELS), parse_labels_list, (StorageError,))


def _jobs() -> Iterator[Subject]:
    from flows.audit import parse_thresholds
    from flows.jobs import EvaluateJob, SegmentJob, TrainJob, make_job
    from segmentation.audit.thresholds import Thresholds
    from segmentation.region import parse_region

    def read(tree: Any) -> None:
        for model in (SegmentJob, EvaluateJob, TrainJob):
            if isinstance(tree, dict) and tree.keys() <= model.model_fields.keys():
                make_job(model, tree)

    jobs = one_of(valid.SEGMENT_JOB, valid.EVALUATE_JOB, valid.TRAIN_JOB)
    yield Subject("make_job", jobs, read, (RequestError,))
    yield Subject(
        "thresholds",
        text_of(valid.THRESHOLDS),
        lambda text: Thresholds.changed(parse_thresholds(text.split(","))),
        (RequestError, ValueError),
    )
    yield Subject(
        "parse_region",
        text_of(valid.REGION),
        lambda text: parse_region(text, "zyx", (3, 40, 36)),
        (ValueError,),
    )


def _logs(folder: Path) -> Iterator[Subject]:
    from flows.audit_log import log_findings
    from flows.jobs import AuditJob
    from segmentation.audit.thresholds import Thresholds

    path = folder / "log.txt"

    def read(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        log_findings(AuditJob(target=str(path)), Thresholds())

    yield Subject("log table", text_of(valid.TABLE_LOG), read, (RequestError,))
    yield Subject("Keras log", text_of(valid.KERAS_LOG), read, (RequestError,))


def _bundles(folder: Path) -> Iterator[Subject]:
    from segmentation.bundle import load_card
    from segmentation.networks.model_file import _check_description, _description

    bundle, model = folder / "bundle", folder / "model.keras"
    bundle.mkdir()
    (bundle / "model.keras").write_bytes(valid.WEIGHTS)
    archive = _archive()

    def read_card(text: str) -> None:
        (bundle / "card.json").write_text(text, encoding="utf-8", errors="replace")
        load_card(bundle)

    def read_model(data: bytes) -> None:
        model.write_bytes(data)
        _check_description(model, _description(model))

    def read_names(tree: Any) -> None:
        _check_description(model, tree)

    yield Subject("Card.from_dict", one_of(valid.CARD), _card, (BundleError,))
    yield Subject("load_card", text_of(json.dumps(valid.CARD)), read_card, (BundleError,))
    yield Subject("model names", one_of(valid.MODEL), read_names, (ModelFileError,))
    yield Subject(
        "model archive", lambda r: changed_bytes(r, archive), read_model, (ModelFileError,)
    )


def _card(tree: Any) -> Card:
    return Card.from_dict(tree if isinstance(tree, dict) else {})


def _archive() -> bytes:
    """A whole model file without Keras."""
    import h5py

    weights, archive = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/conv/vars/0"] = [1.0, 2.0]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("config.json", json.dumps(valid.MODEL))
        target.writestr("metadata.json", "{}")
        target.writestr("model.weights.h5", weights.getvalue())
    return archive.getvalue()


def _runs(folder: Path) -> Iterator[Subject]:
    from flows.run_document import read_run
    from storage.blobs import Blobs
    from storage.records import parse_records

    run = Blobs(str(folder / "run"))
    key = f"records/infer/{valid.HEADER['attempt']}-000000.jsonl"

    def read_text(text: str) -> None:
        run.write("run.json", text.encode(errors="replace"))
        read_run(run)

    def read_lines(data: bytes) -> None:
        list(parse_records(key, data, valid.DIGEST, "infer"))

    both = one_of(valid.RUN, valid.EVALUATION)
    yield Subject("run.json", lambda r: json.dumps(both(r)), read_text, (RequestError,))
    yield Subject("run.json text", text_of(json.dumps(valid.RUN)), read_text, (RequestError,))
    yield Subject("records", _records, read_lines)


def _records(random: Random) -> bytes:
    """Records that were changed before their checksum was made, or after it."""
    from storage.records import line_checksum

    if random.random() < 0.5:
        body = json.dumps(changed_tree(random, valid.RECORD)).encode()
        return b"\n".join(
            [json.dumps(valid.HEADER).encode(), line_checksum(body) + b" " + body, b""]
        )
    body = json.dumps(valid.RECORD).encode()
    header = json.dumps(changed_tree(random, valid.HEADER)).encode()
    data = b"\n".join([header, line_checksum(body) + b" " + body, b""])
    return changed_bytes(random, data)


def _catalogs(folder: Path) -> Iterator[Subject]:
    from flows.catalog_fields import check_fields, class_names, read_content
    from flows.command import read_config
    from flows.jobs import SegmentJob, make_job
    from flows.samples import read_samples, read_table

    path, table, truth = (folder / name for name in ("catalog.yaml", "table.csv", "truth.csv"))
    truth.write_text(valid.TABLE)
    (folder / "images").mkdir()
    for name in "ab":
        (folder / "images" / f"{name}.png").write_bytes(b"")

    def read_catalog(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        content = read_content(str(path))
        class_names(content)
        for number, fields in enumerate(content["volumes"], 1):
            check_fields(number, fields)

    def read_sample_catalog(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        read_samples(str(path))

    def read_rows(text: str) -> None:
        table.write_text(text, encoding="utf-8", errors="replace")
        read_table(str(table))

    def read_job(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        make_job(SegmentJob, read_config(str(path), SegmentJob))

    yield Subject("catalog", text_of(valid.CATALOG), read_catalog, (RequestError,))
    # A path may be longer than any of a file system: the error is the system's own.
    yield Subject(
        "sample catalog",
        text_of(valid.SAMPLES),
        read_sample_catalog,
        (RequestError, StorageError, OSError),
    )
    yield Subject("sample table", text_of(valid.TABLE), read_rows, (RequestError,))
    config = "".join(f"{key}: {json.dumps(value)}\n" for key, value in valid.SEGMENT_JOB.items())
    yield Subject("read_config", text_of(config), read_job, (RequestError,))


def _volumes(folder: Path) -> Iterator[Subject]:
    import numpy as np

    from storage.convert import import_image
    from storage.volume import NotZarrError, open_image

    np.save(folder / "stack.npy", np.arange(3 * 40 * 36, dtype="uint16").reshape(3, 40, 36))
    url = str(folder / "stack.zarr")
    import_image([str(folder / "stack.npy")], url)
    places = [folder / "stack.zarr" / name for name in ("zarr.json", "0/zarr.json")]
    whole = {place: place.read_text() for place in places}

    def make(random: Random) -> tuple[Path, str]:
        place = random.choice(places)
        if random.random() < 0.2:
            return place, changed_text(random, whole[place])
        return place, json.dumps(changed_tree(random, json.loads(whole[place])))

    def read(case: tuple[Path, str]) -> None:
        place, text = case
        place.write_text(text, encoding="utf-8", errors="replace")
        try:
            open_image(url)
        finally:
            place.write_text(whole[place])

    yield Subject("open_image", make, read, (StorageError, NotZarrError))
