"""Manifests: held strictly against KubeRay's definitions, and the rules that ours keep.

Whether Kubernetes' own kinds are right is looked at in tests/services/test_manifests.py.
"""

import copy
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.kuberay import ABSENT, FOLDER, definitions, problems

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
RAY = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]
CUSTOM = ("raycluster.yaml", "rayjob.yaml")


@pytest.fixture(scope="module")
def schemas():
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    return definitions()


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / "kuberay" / name).read_text(encoding="utf-8")))


def every_document():
    return [one for path in (DEPLOY / "kuberay").glob("*.yaml") for one in documents(path.name)]


def nested(value, key):
    """Every value of a key, at any depth."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == key:
                yield part
            yield from nested(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from nested(part, key)


def cluster_of(document):
    return document["spec"].get("rayClusterSpec", document["spec"])


@pytest.mark.parametrize("name", CUSTOM)
def test_every_field_exists(name, schemas):
    (document,) = documents(name)
    assert problems(document, schemas) == []


@pytest.mark.parametrize(
    ("name", "path", "wrong", "value"),
    [
        ("raycluster.yaml", ("spec",), "rayVersoin", "2.60.0"),
        ("raycluster.yaml", ("spec", "workerGroupSpecs", 0), "maxReplica", 3),
        ("raycluster.yaml", ("spec", "authOptions"), "mode", "tokn"),
        ("raycluster.yaml", ("spec", "workerGroupSpecs", 1), "minReplicas", "none"),
        ("rayjob.yaml", ("spec",), "shutdownAfterJobFinish", True),
        ("rayjob.yaml", ("spec", "rayClusterSpec"), "headGroup", {}),
        (
            "rayjob.yaml",
            ("spec", "submitterPodTemplate", "spec", "containers", 0, "resources"),
            "limit",
            {},
        ),
        ("rayjob.yaml", (), "kind", "RayJobs"),
    ],
)
def test_what_is_misspelt_or_no_value_fails(name, path, wrong, value, schemas):
    (document,) = documents(name)
    changed = place = copy.deepcopy(document)
    for part in path:
        place = place[part]
    place[wrong] = value
    found = problems(changed, schemas)
    assert len(found) == 1
    assert str(wrong) in found[0] or str(value) in found[0]


def test_what_is_missing_fails(schemas):
    (document,) = documents("raycluster.yaml")
    del document["spec"]["workerGroupSpecs"][0]["template"]
    (found,) = problems(document, schemas)
    assert found == "spec.workerGroupSpecs.0: 'template' is a required property"


def test_no_definitions_are_said_loudly(tmp_path):
    with pytest.raises(FileNotFoundError, match="NOT TESTED"):
        definitions(tmp_path)


def test_all_pods_run_our_image_as_nobody_and_can_gain_nothing():
    for document in every_document():
        for pod in nested(document, "spec"):
            for container in pod.get("containers", ()) if isinstance(pod, dict) else ():
                where = (document["metadata"]["name"], container["name"])
                assert pod["securityContext"]["runAsNonRoot"] is True, where
                assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                }, where
                assert container["resources"].keys() == {"requests", "limits"}, where
                image = container["image"]
                ours = {f"maskmill:{VERSION}", f"maskmill:{VERSION}-gpu"}
                assert image in ours or image.startswith("postgres:15."), where


@pytest.mark.parametrize("name", CUSTOM)
def test_ray_asks_for_the_token_and_is_of_the_locked_version(name):
    (document,) = documents(name)
    cluster = cluster_of(document)
    assert cluster["rayVersion"] == RAY
    assert cluster["authOptions"] == {"mode": "token", "secretName": "maskmill-ray-token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_cluster_grows_with_cpu_and_gpu_pods_and_has_one_that_drives():
    (document,) = documents("raycluster.yaml")
    assert document["spec"]["enableInTreeAutoscaling"] is True
    groups = {one["groupName"]: one for one in document["spec"]["workerGroupSpecs"]}
    assert list(groups) == ["driver", "cpu", "gpu"]
    for name, group in groups.items():
        (container,) = group["template"]["spec"]["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu")
        assert gpus == ("1" if name == "gpu" else None)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert groups["driver"]["rayStartParams"]["num-cpus"] == "0"
    assert groups["driver"]["maxReplicas"] == 1


def test_settings_reach_every_process_of_ray():
    for name in CUSTOM:
        (document,) = documents(name)
        cluster = cluster_of(document)
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            (container,) = group["template"]["spec"]["containers"]
            assert {"configMapRef": {"name": "maskmill-ray"}} in container["envFrom"]
    (document,) = documents("raycluster.yaml")
    assert {"configMapRef": {"name": "maskmill-ray"}} in document["spec"]["autoscalerOptions"][
        "envFrom"
    ]


def test_kustomize_finds_every_file_and_makes_every_configuration():
    made = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    maps = made["configMapGenerator"]
    for path in (
        *made["resources"],
        *(p for one in maps for key in ("envs", "files") for p in one.get(key, ())),
    ):
        assert (DEPLOY / path).is_file(), path
    named = {one["name"] for one in maps}
    asked = {
        one["name"]
        for document in every_document()
        for key in ("configMapRef", "configMap")
        for one in nested(document, key)
    }
    assert asked == named
    # A RayJob is made by hand, once for each job.
    left = {f"kuberay/{path.name}" for path in (DEPLOY / "kuberay").glob("*.yaml")}
    assert left - set(made["resources"]) == {"kuberay/rayjob.yaml"}


def test_no_secret_is_in_the_repository_and_the_readme_makes_each():
    assert not [one for one in every_document() if one["kind"] == "Secret"]
    asked = {
        one["name"]
        for document in every_document()
        for key in ("secretRef", "secretKeyRef")
        for one in nested(document, key)
    }
    asked |= set(nested(every_document(), "secretName"))
    assert asked == {"maskmill-ray-token", "maskmill-prefect", "maskmill-store"}
    readme = (DEPLOY / "README.md").read_text()
    for name in asked:
        assert f"create secret generic {name}" in readme


def test_nobody_is_reached_but_by_those_who_are_named():
    policies = {one["metadata"]["name"]: one["spec"] for one in documents("network-policy.yaml")}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    ports = {
        name: [port["port"] for port in nested(spec, "ports") for port in port]
        for name, spec in policies.items()
    }
    assert ports == {"nobody": [], "ray": [8265, 8080], "prefect": [4200], "database": [5432]}
    labels = [one for document in every_document() for one in nested(document, "labels")]
    for name in ("prefect", "database"):
        wanted = policies[name]["podSelector"]["matchLabels"].items()
        assert any(wanted <= one.items() for one in labels), name


def test_the_job_is_a_command_that_exists():
    from tests.commands import wrong_words

    (document,) = documents("rayjob.yaml")
    assert wrong_words(document["spec"]["entrypoint"]) == []
