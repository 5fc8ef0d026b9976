"""The manifest of a RayJob: its values, KubeRay's own definition, and kubectl."""

import os
import shlex

import pytest
import yaml

from flows.errors import RequestError
from flows.jobs import make_job
from flows.ray_settings import KEEPALIVE
from flows.submit import submit
from flows.submit_job import SubmitJob
from flows.submit_kuberay import create
from tests import kuberay

SEGMENT = ("segment", "s3://b/a.zarr", "--model", "identity", "--name", "cells")


def manifest(*arguments, **options):
    fields = {"target": "kuberay", "arguments": arguments or SEGMENT, "dry_run": True}
    made = submit(make_job(SubmitJob, fields | {"check": False} | options))
    return yaml.safe_load(made["document"])


@pytest.fixture(scope="module")
def schemas():
    try:
        return kuberay.definitions()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"workers": 3, "gpus_per_node": 1, "time": "4h", "claim": "scans:/data"},
        {"token_secret": "tok", "env_secret": "keys", "image": "hub.lab/maskmill:2@sha256:0f"},
    ],
)
def test_the_manifest_is_a_ray_job(options, schemas):
    made = manifest(**options)
    assert kuberay.problems(made, schemas) == []
    made["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParms"] = {}
    assert kuberay.problems(made, schemas)


def test_what_the_manifest_says():
    made = manifest(workers=3, cpus_per_node=4, memory_per_node="10GiB", time="2h")
    assert made["metadata"] == {
        "generateName": "maskmill-segment-",
        "namespace": "maskmill",
        "labels": {"app.kubernetes.io/part-of": "maskmill"},
    }
    assert made["spec"]["activeDeadlineSeconds"] == 7200
    # 3 pods of 4 CPUs are 6 workers; (10 - 2) GiB for the two of a pod.
    assert shlex.split(made["spec"]["entrypoint"]) == [
        *("maskmill", "segment", "--executor=ray", "--workers=6", "--address=auto"),
        *(f"--memory={4 * 2**30}", "--model=identity", "--name=cells", "s3://b/a.zarr"),
    ]
    cluster = made["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "maskmill-ray-token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    assert (group["groupName"], group["replicas"], group["maxReplicas"]) == ("cpu", 3, 3)
    (container,) = group["template"]["spec"]["containers"]
    amounts = {"cpu": "4", "memory": "10240Mi"}
    assert container["resources"] == {"requests": amounts, "limits": amounts}
    assert KEEPALIVE.items() <= {e["name"]: e["value"] for e in container["env"]}.items()


def test_every_pod_is_confined_and_seen_by_the_network_policy():
    spec = manifest()["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (*(group["template"] for group in groups), spec["submitterPodTemplate"]):
        assert pod["metadata"]["labels"] == {"app.kubernetes.io/part-of": "maskmill"}
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_gpus_and_a_volume():
    made = manifest(workers=2, gpus_per_node=2, claim="scans:/data")
    assert "--workers=4 --gpus-per-worker=1.0" in made["spec"]["entrypoint"]
    (group,) = made["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    assert group["groupName"] == "gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert pod["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "scans"}}]


def test_values_do_not_escape_their_place():
    place = "s3://b/a: {x}\n  - y.zarr"
    made = manifest("segment", place, "--model", "identity", "--name", "cells")
    assert shlex.split(made["spec"]["entrypoint"])[-1] == place


def test_kubectl_gets_the_manifest(tmp_path, monkeypatch):
    program = tmp_path / "kubectl"
    program.write_text(
        f'#!/bin/bash\ncat >{tmp_path}/got; echo "$@" >{tmp_path}/how; echo rayjob.ray.io/x\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert create("kind: RayJob\n", "lab") == "rayjob.ray.io/x"
    assert (tmp_path / "got").read_text() == "kind: RayJob\n"
    assert (tmp_path / "how").read_text() == "create --namespace lab -o name -f -\n"
    program.write_text("#!/bin/bash\necho 'no route to host' >&2\nexit 1\n")
    with pytest.raises(RequestError, match="refused the job: no route to host"):
        create("", "lab")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(RequestError, match="kubectl is not found here"):
        create("", "lab")
