"""Images: what they are built from, by whom they are run, and that their packages are ours."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
KINDS = ("cpu", "gpu")
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ;.*)? \\$")
# What `ray[default]` brings: the job interface, the health pages and the metrics of a cluster.
OF_A_CLUSTER = {"aiohttp-cors", "opentelemetry-exporter-prometheus", "prometheus-client"}


def dockerfile(kind):
    return (DEPLOY / ("Dockerfile" if kind == "cpu" else "Dockerfile.gpu")).read_text()


def instructions(text, name):
    """Arguments of every instruction of a name, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line.partition(" ")[2] for line in joined.splitlines() if line.startswith(f"{name} ")]


def pins(path):
    """Name and version of every package of a lock; some have several, by platform."""
    found = map(PIN.match, path.read_text().splitlines())
    return [match.groups() for match in found if match]


def lock(kind):
    return DEPLOY / f"requirements-{kind}.lock"


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_is_named_once_with_a_full_version(kind):
    text = dockerfile(kind)
    assert instructions(text, "ARG") == ["BASE=python:3.11.14-slim-bookworm"]
    assert instructions(text, "FROM") == ["${BASE} AS build", "${BASE}"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_user_is_not_root(kind):
    users = instructions(dockerfile(kind), "USER")
    assert users
    assert not users[-1].startswith(("0", "root"))


@pytest.mark.parametrize("kind", KINDS)
def test_packages_are_installed_by_their_hashes(kind):
    installs = re.findall(
        r"pip install ([^&]*)", " && ".join(instructions(dockerfile(kind), "RUN"))
    )
    assert len(installs) == 3
    for install in installs:
        assert "--no-deps" in install
        assert "--require-hashes" in install or install.strip().endswith("/wheels/*.whl")
    assert f"requirements-{kind}.lock" in " ".join(installs)


def is_sent(path, rules):
    """Whether a path of the repository is sent to the builder; the last rule that fits decides."""
    sent = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        if fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/"):
            sent = rule.startswith("!")
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_copied_is_there_and_sent_to_the_builder(kind):
    name = "Dockerfile" if kind == "cpu" else "Dockerfile.gpu"
    ignored = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    for copy in instructions(dockerfile(kind), "COPY"):
        words = [word for word in copy.split() if not word.startswith("--")]
        if "--from=build" not in copy:
            for path in words[:-1]:
                assert (ROOT / path).exists(), path
                assert is_sent(path, rules), path
    for path in (".git/config", "deploy/secrets/ray_token", "deploy/.env", "tests/conftest.py"):
        assert not is_sent(path, rules), path


def test_the_images_differ_in_their_packages_alone():
    cpu, gpu = (set(dockerfile(kind).splitlines()) for kind in KINDS)
    differ = [line for line in cpu ^ gpu if not line.startswith("#")]
    assert all(re.search("requirements-|NVIDIA_|DO_NOT_TRACK", line) for line in differ), differ


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_holds_what_the_project_needs_in_the_versions_it_is_tested_with(kind):
    held, tested = dict(pins(lock(kind))), pins(ROOT / "requirements.lock")
    backend = PROJECT["project"]["optional-dependencies"][kind]
    for wanted in [*PROJECT["project"]["dependencies"], *backend]:
        name = re.split(r"[\[<>=]", wanted)[0]
        assert name in held, name
    known = {name for name, _ in tested}
    assert {one for one in held.items() if one[0] in known} <= set(tested)
    assert set(held) >= OF_A_CLUSTER
    assert not held.keys() & {"pytest", "moto", "ruff", "mypy"}


def test_one_tensorflow_an_image():
    installed = [{"tensorflow", "tensorflow-cpu"} & dict(pins(lock(one))).keys() for one in KINDS]
    assert installed == [{"tensorflow-cpu"}, {"tensorflow"}]
    assert any(name.startswith("nvidia-cudnn") for name, _ in pins(lock("gpu")))


@pytest.mark.parametrize("kind", [*KINDS, "build"])
def test_a_lock_holds_hashes_and_names_no_index(kind):
    text = lock(kind).read_text()
    assert len(pins(lock(kind))) == text.count("==")
    for entry in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in entry
    assert "://" not in text


def test_what_builds_the_wheel_is_locked():
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend in dict(pins(lock("build")))
