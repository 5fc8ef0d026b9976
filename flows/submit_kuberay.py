"""A command as a RayJob for Kubernetes: a cluster of its own that is gone when the job ends."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from flows.ray_settings import KEEPALIVE
from flows.submit_program import Program
from flows.submit_shares import workers_of
from flows.submit_template import OBJECT_STORE_BYTES

if TYPE_CHECKING:
    from flows.submit_command import Command
    from flows.submit_job import SubmitJob

KUBECTL = Program("kubectl", "Kubernetes", "kubectl get rayjobs", "manifest", timeout_seconds=60)
# A job that failed is begun again on a fresh cluster, and goes on from its records.
RETRIES = 2
KEPT_SECONDS = 600
HEAD_CPUS, HEAD_BYTES = 2, 4 * 2**30
USER = 1000
VOLUME = "data"
LABELS = {"app.kubernetes.io/part-of": "maskmill"}


def ray_job(job: SubmitJob, command: Command) -> dict[str, Any]:
    """The manifest of a RayJob, as plain values.

    Parameters
    ----------
    job : SubmitJob
        Image, namespace, pods and what each of them gets.
    command : Command
        What runs on the head; the pods compute.
    """
    command = command.having(executor="ray", address="auto").filling(**workers_of(job, job.workers))
    limit = {"activeDeadlineSeconds": job.time} if job.time else {}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "generateName": f"maskmill-{command.verb}-",
            "namespace": job.namespace,
            "labels": dict(LABELS),
        },
        "spec": {
            "entrypoint": shlex.join(["maskmill", *command.arguments()]),
            "backoffLimit": RETRIES,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            **limit,
            "rayClusterSpec": _cluster(job),
            "submitterPodTemplate": _submitter(job),
        },
    }


def manifest(job: SubmitJob, command: Command) -> str:
    """The manifest as YAML."""
    import yaml

    return yaml.safe_dump(ray_job(job, command), sort_keys=False, width=100)


def create(text: str, namespace: str) -> str:
    """Hand a manifest to kubectl; what was made, such as ``rayjob.ray.io/NAME``.

    Raises
    ------
    RequestError
        If there is no kubectl here, or the cluster refuses the manifest.
    """
    return KUBECTL.submit(["create", "--namespace", namespace, "-o", "name", "-f", "-"], text)


def _cluster(job: SubmitJob) -> dict[str, Any]:
    store = {"object-store-memory": str(OBJECT_STORE_BYTES)}
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token", "secretName": job.token_secret},
        # The head plans, records and reports; it computes nothing.
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", **store},
            "template": _ray_pod(job, "ray-head", HEAD_CPUS, HEAD_BYTES),
        },
        "workerGroupSpecs": [
            {
                "groupName": "gpu" if job.gpus_per_node else "cpu",
                "replicas": job.workers,
                "minReplicas": job.workers,
                "maxReplicas": job.workers,
                "rayStartParams": store,
                "template": _ray_pod(
                    job, "ray-worker", job.cpus_per_node, job.memory_per_node, job.gpus_per_node
                ),
            }
        ],
    }


def _ray_pod(job: SubmitJob, name: str, cpus: int, memory: int, gpus: int = 0) -> dict[str, Any]:
    """A pod with Ray, the settings, the store's credentials and the volume."""
    container = _container(job, name, {"cpu": str(cpus), "memory": f"{memory // 2**20}Mi"})
    if gpus:
        for part in container["resources"].values():
            part["nvidia.com/gpu"] = str(gpus)
    container["env"] = [{"name": key, "value": value} for key, value in _variables(job).items()]
    container["envFrom"] = [{"secretRef": {"name": job.env_secret, "optional": True}}]
    pod = _pod(container)
    if job.claim:
        claim, _, path = job.claim.partition(":")
        container["volumeMounts"] = [{"name": VOLUME, "mountPath": path}]
        volume = {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}}
        pod["spec"]["volumes"] = [volume]
    return pod


def _submitter(job: SubmitJob) -> dict[str, Any]:
    """The pod that hands the command to the head."""
    pod = _pod(_container(job, "ray-job-submitter", {"cpu": "500m", "memory": "1024Mi"}))
    pod["spec"]["restartPolicy"] = "Never"
    return pod


def _container(job: SubmitJob, name: str, amounts: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": job.image or f"maskmill:{version('maskmill')}",
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(container: dict[str, Any]) -> dict[str, Any]:
    """A pod without rights; its label is what the network policy of `deploy/` lets through."""
    return {
        "metadata": {"labels": dict(LABELS)},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def _variables(job: SubmitJob) -> dict[str, str]:
    cpus = str(job.workers * job.cpus_per_node)
    return {**KEEPALIVE, "RAY_USAGE_STATS_ENABLED": "0", "MASKMILL_CPUS": cpus}
