"""What an ended run of a deployment leaves: the command that goes on, ready to be copied."""

import re
import shlex
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import FlowRun  # noqa: TID251 what a hook gets
from prefect.states import Crashed, Failed  # noqa: TID251 what a hook gets

from flows import deployment_hooks, jobs, verbs
from flows.command import read_config
from flows.deployment_hooks import VERBS, resume_text, say_how_to_resume
from flows.jobs import ClassifyJob, EvaluateJob, ReconcileJob, SegmentJob, TrainJob
from flows.segment import segment_volume
from tests.test_flows.report_outline import NASTY

JOBS = {
    "segment-volume": SegmentJob(image="a.zarr", model="b", name="cells", truth="truth"),
    "evaluate-volume": EvaluateJob(image="a.zarr", labels="cells", truth="truth"),
    "train-model": TrainJob(catalog="c.yaml", out="bundle", shares=(0.6, 0.2, 0.2)),
    "classify-images": ClassifyJob(images="folder", model="b"),
    "reconcile": ReconcileJob(target="s3://bucket/plates/", model="b", name="cells"),
}
FENCED = re.compile(r"^(`{3,})(\w+)\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """Fenced blocks of Markdown by their language."""
    return {language: content for _, language, content in FENCED.findall(text)}


@pytest.mark.parametrize("flow", JOBS)
def test_the_command_and_its_fields_are_the_job(flow, tmp_path):
    given = JOBS[flow].model_dump(mode="json", exclude_unset=True)
    found = blocks(resume_text(flow, given, "Failed", "3 shards failed"))
    config = tmp_path / "job.yaml"
    config.write_text(found["yaml"])
    model = type(JOBS[flow])
    assert model(**read_config(str(config), model)) == JOBS[flow]
    assert shlex.split(found["sh"]) == ["maskmill", VERBS[flow], "--config", "job.yaml"]


def test_every_verb_exists():
    known = {verb[0]: verb[1] for verb in verbs.table(jobs)}
    assert {VERBS[flow]: type(job) for flow, job in JOBS.items()}.items() <= known.items()


def test_a_flow_without_a_verb_names_its_deployment_alone():
    text = resume_text("reprocess", {"datasets": ["a.zarr"]}, "Crashed", "")
    assert "Run the deployment again" in text
    assert blocks(text) == {}


def test_text_from_outside_stays_text(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    job = {"image": f"```\n{NASTY}\n````", "name": "wJalrXUtnFEMI"}
    text = resume_text("segment-volume", job, NASTY, f"{NASTY} wJalrXUtnFEMI")
    assert "wJalrXUtnFEMI" not in text
    assert "<script>" not in FENCED.sub("", text)
    assert set(blocks(text)) == {"yaml", "sh"}


class Client:
    """What the hook sends."""

    def __init__(self):
        self.sent = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def create_artifact(self, artifact):
        self.sent.append(artifact)


@pytest.mark.parametrize(
    "state", [Failed(message="3 shards failed"), Crashed(message="not heard of")]
)
def test_a_run_of_a_deployment_leaves_an_artifact_of_its_own(monkeypatch, state):
    client = Client()
    monkeypatch.setattr(deployment_hooks, "get_client", lambda *, sync_client: client)
    run = flow_run(deployment_id="11111111-2222-3333-4444-555555555555")
    say_how_to_resume(segment_volume, run, state)
    (artifact,) = client.sent
    assert artifact.flow_run_id == run.id
    assert artifact.type == "markdown"
    assert state.message in artifact.data
    assert "maskmill segment" in artifact.data
    assert "workers" not in artifact.data


def test_a_run_by_hand_leaves_it_to_the_command_line(monkeypatch):
    monkeypatch.setattr(deployment_hooks, "get_client", SimpleNamespace)
    say_how_to_resume(segment_volume, flow_run(), Failed())


def flow_run(**fields):
    """A run of the flow with a job of which one field was left empty."""
    job = JOBS["segment-volume"].model_dump(mode="json", exclude_unset=True) | {"workers": None}
    flow_id = "00000000-0000-0000-0000-000000000000"
    return FlowRun(name="r", flow_id=flow_id, parameters={"job": job}, **fields)


def test_all_flows_say_it_however_they_end():
    from flows.classify import classify_images
    from flows.evaluate import evaluate_volume
    from flows.reconcile import reconcile_volumes
    from flows.reprocess import reprocess_volumes
    from flows.train import train_model

    deployed = [segment_volume, evaluate_volume, train_model, classify_images]
    for one in (*deployed, reprocess_volumes, reconcile_volumes):
        assert one.on_failure_hooks == [say_how_to_resume]
        assert one.on_crashed_hooks == [say_how_to_resume]
        assert one.on_cancellation_hooks == [say_how_to_resume]
