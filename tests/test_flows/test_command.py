"""Commands made from jobs."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from flows.command import job_command, read_config
from flows.errors import RequestError
from flows.jobs import ExportJob, ImportJob, PlanJob

NOTHING = {"config": None, "json": False, "debug": False}


def given(model, *arguments):
    """Fields and extra options that a command line gives."""
    calls = []
    app = typer.Typer()
    app.command()(job_command(model, lambda fields, extra: calls.append((fields, extra))))
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return calls[0]


def test_the_last_argument_is_the_target_and_the_others_are_sources():
    fields, extra = given(ImportJob, "a", "b", "c", "--voxel-size", "1,2", "--axes", "yx")
    expected = {"sources": ["a", "b"], "image": "c", "voxel_size": "1,2", "axes": "yx"}
    assert (fields, extra) == (expected, NOTHING)
    job = ImportJob(**fields)
    assert (job.sources, job.voxel_size) == (("a", "b"), (1.0, 2.0))


def test_what_is_not_given_is_left_to_the_config():
    assert given(PlanJob) == ({}, NOTHING)


@pytest.mark.parametrize(("flag", "value"), [("", True), ("no-", False)])
def test_a_flag_wins_over_the_config_both_ways(flag, value):
    assert given(PlanJob, f"--{flag}any-voxel-size")[0] == {"any_voxel_size": value}


def test_extra_options_are_no_fields():
    fields, extra = given(ExportJob, "a", "b", "--json", "--debug", "--config", "x.yaml")
    assert fields == {"image": "a", "output": "b"}
    assert extra == {"config": "x.yaml", "json": True, "debug": True}


def test_defaults_and_the_purpose_stand_in_the_help():
    app = typer.Typer(rich_markup_mode=None)
    app.command()(job_command(ExportJob, lambda *_: None))
    text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "resolution level [default: 0]" in text
    assert "A mask volume, or the image, as OME-TIFF." in text


def test_a_config_may_use_the_spelling_of_the_flags(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("voxel-size: [1, 2]\naxes: yx\n")
    assert read_config(str(path), ImportJob) == {"voxel_size": [1, 2], "axes": "yx"}
    path.write_text("no-such: 5\n")
    with pytest.raises(RequestError, match=r"unknown fields \['no_such'\]; known are sources, i"):
        read_config(str(path), ImportJob)
