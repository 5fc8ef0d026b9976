"""The classification as a flow, with Prefect around its stages, and as a command."""

import json

import pytest
from prefect.client.orchestration import get_client  # noqa: TID251 what the flow leaves behind

from flows.jobs import ClassifyJob
from tests.test_flows.images import maskmill, maskmill_process
from tests.test_flows.samples import write_classifier, write_images, write_table

pytestmark = pytest.mark.slow

GREYS = (0, 40, 90, 160, 220, 255)


@pytest.fixture
def fields(tmp_path):
    names = write_images(tmp_path / "images", GREYS)
    truth = write_table(tmp_path / "truth.csv", zip(names, (0, 0, 0, 1, 1, 1), strict=True))
    return {
        "images": str(tmp_path / "images"),
        "model": str(write_classifier(tmp_path / "bundle")),
        "truth": str(truth),
        "out": str(tmp_path / "out"),
    }


def flags(fields):
    return [fields["images"], *(f"--{k}={v}" for k, v in fields.items() if k != "images")]


def test_prefect_sees_the_stages(prefect_harness, fields):
    from flows.classify import classify_images

    result = classify_images(ClassifyJob(**fields, executor="serial"))
    assert result["accuracy"]["value"] == 1
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs()
        left = {artifact.key: artifact for artifact in client.read_artifacts()}
    names = [run.name.rsplit("-", 1)[0] for run in runs]
    assert {"plan", "predict", "score", "report"} <= set(names)
    assert {run.state_name for run in runs} == {"Completed"}
    key = f"maskmill-{result['digest'][:8]}"
    assert [row["class"] for row in json.loads(left[f"{key}-classes"].data)] == ["dark", "bright"]
    assert f"{key}-report" in left
    # The command finds that it was done before, and starts no server for that.
    again = maskmill("classify", *flags(fields), "--json").document
    assert again.pop("already_done")
    assert again == json.loads(json.dumps(result))


def test_the_command_on_ray(fields):
    """A process of its own, its own Prefect server and Ray cluster."""
    answer = maskmill_process("classify", *flags(fields), "--workers=1")
    assert answer.code == 0, answer.err
    for words in ("Sensitivity", "Specificity", "dark", "predictions.csv", "EVAL-SMALL-N"):
        assert words in answer.out
