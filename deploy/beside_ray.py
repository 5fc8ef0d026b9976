#!/usr/bin/env python3
"""Run a command beside a Ray node without CPUs, and end when either of them ends.

A driver has to be on a node of its cluster. In a container that only drives, this joins the
cluster of ``RAY_HEAD`` (host:port) and runs the command there; a restart of the container joins
again where the head was restarted. KubeRay names the command that joins by itself. ::

    RAY_HEAD=ray-head:6379 beside-ray prefect worker start --pool maskmill
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL_SECONDS = 0.2
STOP_SECONDS = 45.0
OBJECT_STORE_BYTES = 100_000_000
# Ray's process is asked to end after the command, which may still have actors to stop.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def node_command(environment: Mapping[str, str]) -> list[str]:
    """What joins the cluster and stays in the foreground; nothing if no cluster is named."""
    generated = environment.get("KUBERAY_GEN_RAY_START_CMD")
    if generated:
        return shlex.split(generated)
    head = environment.get("RAY_HEAD")
    nothing = ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    return ["ray", "start", "--block", f"--address={head}", *nothing] if head else []


def run_beside(node: list[str], command: list[str]) -> int:
    """Exit code of the command; 1 if the node ended first."""
    asked: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda received, frame: asked.append(received))
    beside = subprocess.Popen(node)  # noqa: S603 Ray's own command
    main = subprocess.Popen(command)  # noqa: S603 what the operator asks for
    while main.poll() is None and beside.poll() is None and not asked:
        time.sleep(POLL_SECONDS)
    lost = main.poll() is None and not asked
    code = end(main, asked[0] if asked else signal.SIGTERM)
    end(beside, signal.SIGTERM)
    return 1 if lost else code


def end(process: subprocess.Popen[bytes], number: int) -> int:
    """Ask a process to end, and insist after a while; its exit code, as a shell would give it."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return 128 - code if code < 0 else code


def main() -> int:
    """Entry point."""
    node, command = node_command(os.environ), sys.argv[1:]
    if not node or not command:
        sys.stderr.write("usage: RAY_HEAD=HOST:PORT beside-ray COMMAND [ARGUMENTS]\n")
        return 2
    return run_beside(node, command)


if __name__ == "__main__":
    sys.exit(main())
