"""The deployments as Prefect's own models read them: entry points, limits, schedules, pools."""

import importlib
from pathlib import Path

import pytest
import yaml
from prefect import Flow  # noqa: TID251 what an entry point has to be
from prefect.cli.deploy._models import (  # noqa: TID251 the models of `prefect deploy`
    DeploymentConfig,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.schedules import CronSchedule  # noqa: TID251 what a schedule is
from prefect.events.schemas.automations import AutomationCore  # noqa: TID251 what is created
from prefect.settings.models.flows import FlowsSettings  # noqa: TID251 what is set
from prefect.states import (  # noqa: TID251 names of states
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelling,
    InfrastructurePending,
    Late,
    Pending,
    Retrying,
    Running,
    Scheduled,
    Submitting,
)
from prefect.utilities.callables import parameter_schema  # noqa: TID251 what a page asks for

from flows.jobs import Job

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENT = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())
DEPLOYMENTS = {one["name"]: one for one in DOCUMENT["deployments"]}
NAMES = (
    *("segment-volume", "evaluate-volume", "train-model"),
    *("classify-images", "reprocess", "reconcile"),
)
HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
each_deployment = pytest.mark.parametrize("name", NAMES)


def loaded(name):
    """The flow of a deployment."""
    module, _, function = DEPLOYMENTS[name]["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), function)


def unknown_fields(deployment):
    """Fields of a deployment and of its parts that Prefect would pass over in silence."""
    parts = [
        (deployment, DeploymentConfig),
        (deployment["work_pool"], WorkPoolConfig),
        *((one, RawScheduleConfig) for one in deployment.get("schedules", [])),
    ]
    return [
        key
        for part, model in parts
        for key in part
        if key not in model.model_fields
        and key not in {field.alias for field in model.model_fields.values()}
    ]


def test_there_are_six():
    assert tuple(DEPLOYMENTS) == NAMES
    assert len(DOCUMENT["deployments"]) == len(NAMES)


@each_deployment
def test_prefect_knows_every_field(name):
    DeploymentConfig.model_validate(DEPLOYMENTS[name])
    assert unknown_fields(DEPLOYMENTS[name]) == []


def test_a_misspelt_field_is_seen():
    deployment = DEPLOYMENTS["reconcile"]
    (schedule,) = deployment["schedules"]
    assert unknown_fields(deployment | {"concurency_limit": 1}) == ["concurency_limit"]
    pool = deployment["work_pool"] | {"work_queue": "gpu"}
    assert unknown_fields(deployment | {"work_pool": pool}) == ["work_queue"]
    wrong = [schedule | {"cronn": "0 * * * *"}]
    assert unknown_fields(deployment | {"schedules": wrong}) == ["cronn"]


@each_deployment
def test_the_page_asks_for_one_described_job(name):
    flow = loaded(name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    schema = parameter_schema(flow)
    (parameter,) = schema.properties
    assert parameter == "job"
    definition = schema.definitions[schema.properties["job"]["$ref"].rpartition("/")[2]]
    assert definition["additionalProperties"] is False
    assert all(field.get("description") for field in definition["properties"].values())
    model = flow.fn.__annotations__["job"]
    model = (
        getattr(importlib.import_module("flows.jobs"), model) if isinstance(model, str) else model
    )
    assert issubclass(model, Job)


@each_deployment
def test_nothing_is_pulled_and_nonsense_is_refused(name):
    deployment = DEPLOYMENTS[name]
    assert deployment["pull"] == []
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["concurrency_limit"]["limit"] == 1
    assert "maskmill" in deployment["tags"]


@each_deployment
def test_what_uses_gpus_waits_for_its_turn(name):
    deployment = DEPLOYMENTS[name]
    assert deployment["work_pool"]["name"] == "maskmill"
    queue = deployment["work_pool"]["work_queue_name"]
    assert queue in deployment["tags"]
    assert (queue == "cpu") == (name == "evaluate-volume")


@each_deployment
def test_a_run_is_tried_again_or_comes_again(name):
    environment = DEPLOYMENTS[name]["work_pool"]["job_variables"]["env"]
    assert environment[HEARTBEAT] == "30"
    assert environment["PYTHONSAFEPATH"] == "1"
    retries = environment.get("PREFECT_FLOWS_DEFAULT_RETRIES", "0")
    assert (int(retries) > 0) != bool(DEPLOYMENTS[name].get("schedules"))
    known = {"heartbeat_frequency", "default_retries", "default_retry_delay_seconds"}
    prefix = "PREFECT_FLOWS_"
    fields = {key.removeprefix(prefix).lower() for key in environment if prefix in key}
    assert fields <= known <= set(FlowsSettings.model_fields)


def test_the_schedule_is_one_and_its_job_is_whole():
    (schedule,) = DEPLOYMENTS["reconcile"]["schedules"]
    CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert set(DEPLOYMENTS["reconcile"]["parameters"]["job"]) == {"target", "model", "name"}
    assert not any("schedules" in DEPLOYMENTS[name] for name in NAMES[:-1])
    with pytest.raises(ValueError, match="cron"):
        CronSchedule(cron="every hour", timezone="UTC")


@pytest.mark.parametrize("kind", ["process", "process-cpu", "docker", "kubernetes"])
def test_pools_of_every_kind_are_whole(kind):
    pool = DOCUMENT["definitions"]["pools"][kind]
    WorkPoolConfig.model_validate(pool)
    assert set(pool) <= set(WorkPoolConfig.model_fields)
    assert HEARTBEAT in pool["job_variables"]["env"]
    assert ("image" in pool["job_variables"]) == (not kind.startswith("process"))


ENDS = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")}


def automations():
    """The triggers that ship, once Prefect has taken them, by what they wait for."""
    documents = yaml.safe_load((DEPLOY / "automations.yaml").read_text())["automations"]
    found = [AutomationCore.model_validate(document) for document in documents]
    for one in found:
        (action,) = one.actions
        assert (action.type, action.state.value) == ("change-flow-run-state", "CRASHED")
    return [one.trigger for one in found]


def test_a_run_that_misses_three_signs_of_life_is_crashed():
    trigger, _ = automations()
    assert trigger.within.total_seconds() == 3 * 30
    heartbeat = "prefect.flow-run.heartbeat"
    assert trigger.after == {heartbeat}
    assert trigger.expect == {heartbeat, *ENDS}


def test_a_run_that_was_taken_has_to_start():
    _, trigger = automations()
    pending = {state().name for state in (Pending, Submitting, InfrastructurePending)}
    assert trigger.after == {f"prefect.flow-run.{name}" for name in pending}
    # Back in the queue is no failure to start.
    states = (
        AwaitingConcurrencySlot,
        AwaitingRetry,
        Cancelling,
        Late,
        Retrying,
        Running,
        Scheduled,
    )
    others = {f"prefect.flow-run.{state().name}" for state in states}
    assert trigger.expect == others | ENDS


def test_settings_hold_no_secret():
    lines = (DEPLOY / "prefect.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert settings[HEARTBEAT] == "30"
    assert not any("AUTH" in key or "KEY" in key or "PASSWORD" in key for key in settings)
    assert all(value and " " not in value for value in settings.values())
