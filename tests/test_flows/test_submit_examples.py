"""The files in deploy/slurm are what `maskmill submit slurm --dry-run` prints."""

from pathlib import Path

import pytest

from flows.jobs import make_job
from flows.submit import submit
from flows.submit_job import SubmitJob

FOLDER = Path(__file__).parents[2] / "deploy" / "slurm"
SEGMENT = ("--model", "/shared/bundles/unet", "--name", "cells", "--truth", "truth")
# The submissions that docs/submit.md names.
EXAMPLES = {
    "two-machines.sbatch": (
        {"nodes": 2, "time": "04:00:00", "setup": "setup-modules.sh"},
        ("segment", "/shared/plates/fly1.zarr", *SEGMENT),
    ),
    "array.sbatch": (
        {"array": "images.txt", "gpus_per_node": 1, "setup": "setup-container.sh"},
        ("segment", "{}", *SEGMENT),
    ),
}


def rendered(name):
    """An example as it is printed now."""
    options, arguments = EXAMPLES[name]
    places = {key: str(FOLDER / options[key]) for key in ("setup", "array") if key in options}
    fields = {"target": "slurm", "arguments": arguments, "dry_run": True, "check": False}
    return submit(make_job(SubmitJob, fields | options | places))["document"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_is_printed(name):
    assert (FOLDER / name).read_text() == rendered(name)
