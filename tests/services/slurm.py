"""Slurm on several hosts of this machine: a controller on the first, one node on each other.

::

    with slurm_cluster(folder, nodes=2) as slurm:
        job = slurm.run("sbatch", "--parsable", "job.sh")
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import daemon, need
from tests.services.hosts import Host, await_that, hosts, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("slurm-wlm", "munge")
BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
START_SECONDS = 60.0
COMMAND_SECONDS = 600
PORT = 16817
# What is over: nothing of the job runs any more.
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/s
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
SlurmdTimeout=30
KillWait=30
MinJobAge=3600
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
MpiDefault=none
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} CPUs=2 RealMemory=6000\n"


@dataclass(frozen=True, slots=True)
class Slurm:
    """A running cluster.

    Attributes
    ----------
    folder : Path
        Settings, logs and state.
    control : Host
        Where the controller is, and where commands run.
    nodes : dict
        The first process of each node, by its name.
    """

    folder: Path
    control: Host
    nodes: dict[str, subprocess.Popen[bytes]]

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which Slurm's commands find the cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(
        self, *arguments: str | Path, cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the controller's host."""
        return subprocess.run(
            self.control.inside(*arguments),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=check,
            cwd=cwd,
            env={**os.environ, **self.environment},
        )

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, or of a task of an array."""
        # A controller that is starved may not answer once.
        done = self.run("scontrol", "show", "job", "-o", number, check=False)
        said = "JobState=UNKNOWN Restarts=" if done.returncode else done.stdout
        return dict(word.partition("=")[::2] for word in said.split() if "=" in word)

    def is_over(self, number: str) -> bool:
        """Whether a job has ended, with all its processes."""
        return self.job(number)["JobState"] in OVER


@contextmanager
def slurm_cluster(folder: Path, nodes: int) -> Iterator[Slurm]:
    """Start a cluster whose nodes are idle.

    Raises
    ------
    ServiceAbsentError
        If Slurm is not installed, or hosts cannot be made here.
    """
    need(PACKAGES, BINARIES)
    with hosts(nodes + 1) as made, ExitStack() as stack:
        control, *others = made
        _prepare(folder, made)
        munge = folder / "munge"
        key = ("--key-file", munge / "key", "--socket", munge / "s", "--pid-file", munge / "pid")
        place = ("--log-file", munge / "log", "--seed-file", munge / "seed")
        log = folder / "log" / "munged.out"
        stack.enter_context(daemon(["munged", "--foreground", "--force", *key, *place], log))
        await_that((munge / "s").exists, "munge", START_SECONDS, log)
        conf = folder / "slurm.conf"
        stack.enter_context(
            daemon(control.inside("slurmctld", "-D", "-f", conf), folder / "log" / "control.out")
        )
        running = {}
        for host in others:
            name = f"n{host.number}"
            command = host.first("slurmd", "-D", "-f", conf, "-N", name)
            running[name] = stack.enter_context(lasting(command, folder / "log" / f"{name}.out"))
        slurm = Slurm(folder, control, running)
        await_that(
            lambda: _idle(slurm) == nodes, "idle nodes", START_SECONDS, folder / "log/slurmctld.log"
        )
        yield slurm


def _idle(slurm: Slurm) -> int:
    return int(slurm.run("sinfo", "-h", "-t", "idle", "-o", "%D", check=False).stdout or 0)


def _prepare(folder: Path, made: list[Host]) -> None:
    """Settings, the shared key, and folders."""
    for name in ("munge", "state", "spool", "log"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    (folder / "munge").chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    text = SETTINGS.format(host=host, address=made[0].address, port=PORT, folder=folder)
    for other in made[1:]:
        port = PORT + other.number
        text += NODE.format(name=f"n{other.number}", host=host, address=other.address, port=port)
    (folder / "slurm.conf").write_text(text)
