"""What ``deploy/`` holds, looked at by the tools of its formats and told to a real server.

hadolint and kubernetes-validate are in ``.venv-services``, like mitmproxy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.services.conftest import or_skip
from tests.services.daemons import need

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / ".venv-services" / "bin"
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
CUSTOM = ("RayCluster", "RayJob")
# A command of Prefect takes seconds, and on a busy machine half a minute.
SECONDS = 420.0


def tool(name, *arguments, **options):
    with or_skip():
        need(["python3-venv"], [TOOLS / name])
    return run(TOOLS / name, *arguments, **options)


def run(*command, env=None, **options):
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=env and {**os.environ, **env},
        timeout=SECONDS,
        check=False,
        **options,
    )


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name):
    done = tool("hadolint", "--no-color", DEPLOY / name)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (("WORKDIR /source", "WORKDIR source"), "DL3000"),
        (("USER 1000:1000", "USER root"), "DL3002"),
        (("python:3.11.14-slim-bookworm\n\nFROM ${BASE}", "x\n\nFROM python:latest"), "DL3007"),
    ],
)
def test_hadolint_finds_what_is_wrong(wrong, rule, tmp_path):
    text = (DEPLOY / "Dockerfile").read_text()
    assert wrong[0] in text
    (tmp_path / "Dockerfile").write_text(text.replace(*wrong))
    done = tool("hadolint", "--no-color", tmp_path / "Dockerfile")
    assert done.returncode == 1
    assert rule in done.stdout


def plain_documents():
    """Documents of Kubernetes' own kinds; the others are held against KubeRay's definitions."""
    for path in sorted((DEPLOY / "kuberay").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] not in CUSTOM:
                yield document


def validate(folder, documents):
    file = folder / "documents.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return tool("kubernetes-validate", "--strict", file)


def test_kubernetes_knows_every_field(tmp_path):
    documents = list(plain_documents())
    kinds = {one["kind"] for one in documents}
    assert kinds == {"Namespace", "NetworkPolicy", "Deployment", "StatefulSet", "Service"}
    done = validate(tmp_path, documents)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") == len(documents)


@pytest.mark.parametrize("kind", ["NetworkPolicy", "Deployment", "StatefulSet", "Service"])
def test_a_misspelt_field_fails(kind, tmp_path):
    document = next(one for one in plain_documents() if one["kind"] == kind)
    document["spec"]["selektor"] = {}
    done = validate(tmp_path, [document])
    assert done.returncode != 0
    assert "selektor" in done.stdout + done.stderr


def test_kustomize_makes_the_whole():
    if shutil.which("kubectl") is None:
        pytest.skip("NOT TESTED: kubectl is not found")
    done = run("kubectl", "kustomize", DEPLOY)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {one["metadata"].get("namespace", "maskmill") for one in made} == {"maskmill"}
    settings = {one["metadata"]["name"]: one["data"] for one in made if one["kind"] == "ConfigMap"}
    assert settings["maskmill-ray"]["RAY_AUTH_MODE"] == "token"
    assert settings["maskmill-prefect"]["DO_NOT_TRACK"] == "1"
    assert settings["maskmill-deployments"].keys() == {
        *("prefect.yaml", "automations.yaml", "set_up.sh")
    }


@pytest.mark.timeout(900)
def test_a_server_is_set_up_and_set_up_again(settings, tmp_path):
    program = tmp_path / "prefect"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m prefect "$@"\n')
    program.chmod(0o755)
    environment = {
        **settings,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PREFECT_CLI_PROMPT": "false",
        "MASKMILL_IMAGES": "/data/images",
        "MASKMILL_MODEL": "identity",
        "MASKMILL_NAME": "cells",
        "MASKMILL_GPU_RUNS": "2",
    }
    for _ in range(2):
        done = run("/bin/sh", DEPLOY / "set_up.sh", env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    wanted = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())["deployments"]
    assert known(settings, "deployments", "name") == sorted(one["name"] for one in wanted)
    names = ["crash-runs-that-do-not-start", "crash-runs-without-a-sign-of-life"]
    assert sorted(known(settings, "automations", "name")) == names
    limits = dict(known(settings, "work_queues", "name", "concurrency_limit"))
    assert (limits["gpu"], limits["cpu"]) == (2, None)


def known(settings, kind, *fields):
    """Fields of everything of a kind that the server knows, in order."""
    import httpx

    answer = httpx.post(f"{settings['PREFECT_API_URL']}/{kind}/filter", json={}, timeout=30)
    answer.raise_for_status()
    rows = [tuple(one[field] for field in fields) for one in answer.json()]
    return sorted(row[0] for row in rows) if len(fields) == 1 else rows
