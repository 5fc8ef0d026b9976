"""Jobs: texts of the command line become values, and what is wrong is said in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError  # noqa: TID251 what jobs are made of

from flows.errors import RequestError
from flows.fields import Bytes, Seconds, parse_bytes
from flows.jobs import (
    ImportLabelsJob,
    InfoJob,
    PackJob,
    SegmentJob,
    TrainJob,
    make_job,
)

SEGMENT = {"image": "a.zarr", "model": "identity", "name": "cells"}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * 1024**3),
        ("8gib", 8 * 1024**3),
        ("500MB", 500_000_000),
        ("1.5 KiB", 1536),
        ("2TB", 2 * 10**12),
        ("1TiB", 2**40),
        ("4096", 4096),
        ("7 B", 7),
    ],
)
def test_sizes(text, size):
    assert make_job(SegmentJob, SEGMENT | {"memory": text}).memory == size


@given(
    st.integers(1, 2**50),
    st.sampled_from([("B", 1), ("KB", 10**3), ("GB", 10**9), ("KiB", 2**10), ("TiB", 2**40)]),
)
def test_whole_sizes_are_exact(number, unit):
    name, size = unit
    assert parse_bytes(f"{number}{name}") == number * size


@pytest.mark.parametrize("text", ["8 gigs", "-1GiB", "GiB", "1e9", ""])
def test_what_is_no_size(text):
    with pytest.raises(RequestError, match="is not a size; write 8GiB, 500MB or a number of bytes"):
        make_job(SegmentJob, SEGMENT | {"memory": text})


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Bytes, ["8GiB", "500 mb", "1.5KiB", "4096", "7 B", 4096, "8 gigs", "-1GiB", "GiB", 0, ""]),
        (Seconds, ["24h", "30 m", "7D", "90", 0.5, "1 week", "-3s", "h", -1]),
    ],
)
def test_a_form_takes_what_the_job_takes(kind, texts):
    """Prefect judges a deployment's parameters by their schema, before the job does."""
    adapter = TypeAdapter(kind)
    form = Draft202012Validator(adapter.json_schema())
    for text in texts:
        try:
            adapter.validate_python(text)
        except ValidationError:
            assert not form.is_valid(text), text
        else:
            assert form.is_valid(text), text


def test_lists_are_split_at_commas():
    job = make_job(
        PackJob,
        {
            "model": "a.keras",
            "bundle": "b",
            "classes": "background, membrane",
            "intensity_percentiles": "1,99.5",
        },
    )
    assert job.classes == ("background", "membrane")
    assert job.intensity_percentiles == (1.0, 99.5)
    assert make_job(SegmentJob, SEGMENT | {"channels": "2,0"}).channels == (2, 0)
    assert make_job(TrainJob, {"catalog": "a", "out": "b", "crop": "64,32"}).crop == (64, 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"executor": "dask"}, "--executor 'dask': input should be 'auto', 'ray' or 'serial'"),
        ({"workers": "0"}, "--workers '0': input should be greater than or equal to 1"),
        ({"workers": "two"}, "--workers 'two': input should be a valid integer"),
        ({"channels": "0,x"}, "--channels 'x': input should be a valid integer"),
        ({"memory": "0B"}, "--memory '0B': input should be greater than 0"),
        ({"ignore_label": "-1"}, "--ignore-label '-1': input should be greater than or equal to 0"),
        ({"colour": "red"}, "--colour extra inputs are not permitted"),
    ],
)
def test_values_that_are_refused(fields, message):
    with pytest.raises(RequestError) as raised:
        make_job(SegmentJob, SEGMENT | fields)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(RequestError) as raised:
        make_job(SegmentJob, {"workers": 0})
    assert str(raised.value) == (
        "IMAGE is missing; give IMAGE.zarr; --workers 0: input should be greater than or equal to "
        "1; --model is missing; give bundle, or 'identity'; "
        "--name is missing; give name of the mask volume"
    )


def test_jobs_do_not_change():
    job = InfoJob(target="a")
    with pytest.raises(ValueError, match="frozen"):
        job.target = "b"


def test_jobs_survive_the_way_through_json():
    """As a deployment's parameters do."""
    job = make_job(SegmentJob, SEGMENT | {"channels": "0,1", "memory": "1GiB", "region": "z=0:1"})
    assert SegmentJob(**job.model_dump(mode="json")) == job
    labels = make_job(
        ImportLabelsJob, {"sources": ["a"], "image": "b", "name": "c", "classes": "x,y"}
    )
    assert ImportLabelsJob(**labels.model_dump(mode="json")) == labels


def test_a_form_begins_with_what_has_to_be_given():
    fields = SegmentJob.model_json_schema()["properties"]
    shown = sorted(fields, key=lambda name: fields[name]["position"])
    assert shown[:4] == ["image", "model", "name", "region"]
    assert [fields[name]["position"] for name in shown] == list(range(len(fields)))
