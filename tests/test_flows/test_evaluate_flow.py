"""The evaluation as a flow, with Prefect around its stages."""

import json

import pytest
from prefect.client.orchestration import get_client  # noqa: TID251 what the flow leaves behind

from flows.jobs import EvaluateJob
from tests.test_flows.images import maskmill
from tests.test_flows.runs import segment

pytestmark = pytest.mark.slow


def task_runs():
    with get_client(sync_client=True) as client:
        return {run.id: run for run in client.read_task_runs()}


def test_prefect_sees_the_stages_of_an_evaluation(prefect_harness, tiny_image):
    from flows.evaluate import evaluate_volume

    segment(image=tiny_image, truth="truth", memory=2**17)
    before = task_runs()
    fields = {"image": tiny_image, "labels": "mask", "truth": "truth", "executor": "serial"}
    result = evaluate_volume(EvaluateJob(**fields, instances=True))
    assert result["shards"]["done"] > 4
    runs = [run for key, run in task_runs().items() if key not in before]
    names = sorted(run.name.rsplit("-", 1)[0] for run in runs)
    assert names == ["aggregate", "count", "join", "plan", "report"]
    assert {run.state_name for run in runs} == {"Completed"}
    key = result["digest"][:8]
    with get_client(sync_client=True) as client:
        left = {artifact.key: artifact for artifact in client.read_artifacts()}
    rows = json.loads(left[f"maskmill-{key}-classes"].data)
    assert [row["class"] for row in rows] == ["background", "membrane", "synapse"]
    assert "Macro-foreground" in left[f"maskmill-{key}-scores"].data
    # Without Prefect the same command finds that all of it was done.
    flags = (f"--{name}={value}" for name, value in fields.items() if name != "image")
    again = maskmill("evaluate", tiny_image, *flags, "--instances", "--json").document
    assert again.pop("already_done")
    assert again == json.loads(json.dumps(result))
