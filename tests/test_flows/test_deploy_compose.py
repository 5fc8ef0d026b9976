"""deploy/compose.yaml: fields that exist, nothing on the network, no secret in a file of ours."""

import copy
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.compose import problems

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


def document(name="compose.yaml"):
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def services():
    return document()["services"]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_every_field_exists(name):
    assert problems(document(name)) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ((), "service"),
        (("services", "server"), "healthchek"),
        (("services", "worker"), "depends-on"),
        (("services", "ray-head", "healthcheck"), "intervall"),
        (("services", "worker", "depends_on", "server"), "conditon"),
        (("secrets", "ray_token"), "path"),
    ],
)
def test_a_misspelt_field_fails(path, wrong):
    changed = place = copy.deepcopy(document())
    for part in path:
        place = place[part]
    place[wrong] = "x"
    assert any(f"'{wrong}'" in problem for problem in problems(changed))


def test_published_ports_are_of_the_loopback_alone():
    ports = [port for one in services().values() for port in one.get("ports", ())]
    assert sorted(ports) == ["127.0.0.1:4200:4200", "127.0.0.1:8265:8265"]
    assert "ports" not in services()["database"]


def test_images_have_a_version_and_ours_has_the_projects():
    images = {one["image"] for one in services().values()}
    assert {DEFAULT.sub(r"\1", image) for image in images} == {
        f"maskmill:{VERSION}",
        "postgres:15.18-bookworm",
    }
    (gpu,) = document("compose.gpu.yaml")["services"].values()
    assert DEFAULT.sub(r"\1", gpu["image"]) == f"maskmill:{VERSION}-gpu"


def test_our_image_runs_as_the_owner_of_the_data_and_can_gain_nothing():
    for name, one in services().items():
        if name != "database":
            assert one["user"].startswith("${MASKMILL_USER:?"), name
            assert one["cap_drop"] == ["ALL"]
            assert one["security_opt"] == ["no-new-privileges:true"]


def test_secrets_come_from_files_only():
    declared = document()["secrets"]
    assert all(one["file"].startswith("./secrets/") for one in declared.values())
    used = set()
    for name, one in services().items():
        used |= set(one.get("secrets", ()))
        for key, value in one.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|TOKEN", key):
                secret = value.removeprefix("/run/secrets/")
                assert key.endswith(("_FILE", "_PATH")), (name, key)
                assert secret in one["secrets"], (name, key)
    assert used == set(declared)
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().split()


def test_what_a_service_waits_for_exists_and_says_when_it_is_well():
    every = services()
    for name, one in every.items():
        assert one.get("profiles") or "healthcheck" in one, name
        for other, how in one.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in every[other]


def test_files_that_are_named_are_there():
    for one in services().values():
        for entry in one.get("env_file", ()):
            path = entry if isinstance(entry, str) else entry["path"]
            assert (DEPLOY / path).is_file() or not entry["required"]
        for volume in one.get("volumes", ()):
            if volume.startswith("./"):
                assert (DEPLOY / volume.partition(":")[0]).is_file(), volume


def test_processes_of_ray_get_its_settings_and_those_of_prefect_theirs():
    every = services()
    for name in ("ray-head", "worker"):
        assert "ray.env" in every[name]["env_file"]
        assert "RAY_AUTH_TOKEN_PATH" in every[name]["environment"]
    for name in ("server", "worker", "set-up"):
        assert "prefect.env" in every[name]["env_file"]


def test_worker_and_set_up_speak_of_one_work_pool():
    command = services()["worker"]["command"]
    pool = command[command.index("--pool") + 1]
    assert f"pool={pool}\n" in (DEPLOY / "set_up.sh").read_text()
    deployments = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())["deployments"]
    assert {one["work_pool"]["name"] for one in deployments} == {pool}
    queues = {one["work_pool"]["work_queue_name"] for one in deployments}
    (made,) = re.findall(r"for queue in (.*); do", (DEPLOY / "set_up.sh").read_text())
    assert queues <= set(made.split())


def test_set_up_gives_what_the_deployments_ask_of_the_environment():
    asked = set(re.findall(r"\{\{ *\$(\w+) *\}\}", (DEPLOY / "prefect.yaml").read_text()))
    assert asked <= set(services()["set-up"]["environment"])
