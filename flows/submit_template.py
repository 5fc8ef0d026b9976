"""The shell script of a Slurm job; the parts that differ from job to job stand between @@.

On one machine the command starts a Ray of its own there. On several, every machine runs one step
with Ray, the batch shell runs the command beside the first of them, and all that was started and
written outside of the run is gone when the job ends. ::

    batch shell ── maskmill … --address   (told to stop before the walltime, then queued again)
      ├─ srun on the first machine:  ray start --head      reads the token file
      └─ srun on each other machine: ray start --address   reads the token file
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Ray keeps models and small results there; voxels never pass through it.
OBJECT_STORE_BYTES = 128 * 2**20
_MARK = re.compile(r"@@([a-z]+)@@")

BEGIN = """\
#!/bin/bash
@@directives@@
# Submitted by `maskmill submit slurm`. What is finished stays finished: the same file goes on.
set -u

# Before every program of this job, such as: launcher=(apptainer exec image.sif)
launcher=()
@@setup@@
@@settings@@
unset RAY_AUTH_TOKEN RAY_ADDRESS
@@images@@command=(@@command@@)

say() { echo "maskmill: $*" >&2; }
attempt=$((${SLURM_RESTART_COUNT:-0} + 1))
say "job $SLURM_JOB_ID, attempt $attempt, on $SLURM_JOB_NODELIST"

driver= steps=() nodes=() stopping=0 overdue=

# Shortly before the walltime: finish what is begun, and nothing else.
stop() {
    stopping=1 caught=1
    say "the time is nearly over; stopping at a shard border"
    [ -n "$driver" ] || { finish; exit 3; }
    kill -TERM "$driver" 2>/dev/null
    [ -n "$overdue" ] || { expire & overdue=$!; }
}
expire() {
    trap 'kill "$pause"; exit' TERM
    sleep @@grace@@ & pause=$!
    wait "$pause"
    say "no shard ended within @@grace@@ s, so one takes longer than that: ask for a longer" \\
        "--time and a longer --stop-before; finished shards are recorded"
    kill -KILL "$driver" 2>/dev/null
}
leave() { caught=1; say "told to end"; finish; exit 3; }
trap stop USR1
trap leave TERM INT
trap finish EXIT

# Exit code of a child, whatever signals arrive meanwhile.
await() {
    local code
    while :; do
        caught=0
        wait "$1"
        code=$?
        [ "$caught" = 1 ] || return "$code"
    done
}
"""

ALONE = """\

finish() {
    trap '' USR1 TERM INT
    trap - EXIT
    [ -z "$overdue" ] || kill "$overdue" 2>/dev/null
    [ -z "$driver" ] || { kill -TERM "$driver" 2>/dev/null; wait "$driver"; }
}

"${launcher[@]}" "${command[@]}" &
"""

TOGETHER = """\

here=/tmp/maskmill-$SLURM_JOB_ID
port=$((20000 + SLURM_JOB_ID % 6000 * 2))
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.maskmill-ray-$SLURM_JOB_ID
# A machine that is told to end has nothing to wait for: Ray would wait for half a minute.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

finish() {
    trap '' USR1 TERM INT
    trap - EXIT
    rm -f "$RAY_AUTH_TOKEN_PATH"
    [ -z "$overdue" ] || kill "$overdue" 2>/dev/null
    [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null
    tidy
    end_steps
    wait
}
# What was killed on its machine could not tidy up there: another step does, if it may still start.
tidy() {
    local one
    for one in "${!steps[@]}"; do
        kill -0 "${steps[one]}" 2>/dev/null || timeout 20 srun --overlap --nodes=1 --ntasks=1 \\
            --nodelist="${nodes[one]}" --mem=0 rm -rf "$here.$one" 2>/dev/null
    done
}
# An srun that is told to end kills its machine's part at once; a step that is told so tidies up.
end_steps() {
    local left=20 one
    [ "${#steps[@]}" = 0 ] && return
    for one in $(squeue --noheader --steps --job="$SLURM_JOB_ID" --format=%i 2>/dev/null); do
        [[ $one == *.[0-9]* ]] && scancel --signal=TERM "$one" 2>/dev/null
    done
    while kill -0 "${steps[@]}" 2>/dev/null && [ "$((left -= 1))" -gt 0 ]; do sleep 1; done
    kill -TERM "${steps[@]}" 2>/dev/null
}

# One machine's part: Ray until the step is told to end, and nothing left behind.
machine() {
    local here=$1
    shift
    # Ray opens its folder to everybody; the one around it is ours alone.
    rm -rf "$here"
    mkdir -m 700 "$here" || exit 2
    trap 'kill -TERM "$ray" 2>/dev/null' TERM INT
    "${launcher[@]}" ray start --block --temp-dir="$here/r" \\
        --num-cpus=@@cpus@@ --num-gpus=@@gpus@@ --object-store-memory=@@store@@ \\
        --min-worker-port=0 --max-worker-port=0 "$@" &
    ray=$!
    while kill -0 "$ray" 2>/dev/null; do wait "$ray"; done
    rm -rf "$here"
}
# An array is not exported to steps: its words travel in the text of the step.
step() {
    local node=$1 folder=$here.${#steps[@]}
    shift
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task=@@cpus@@ --mem=0 \\
        @@steps@@bash -c "$(declare -p launcher); $(declare -f machine); machine $folder $*" \\
        >"maskmill-$SLURM_JOB_ID-$node.log" 2>&1 &
    steps+=("$!") nodes+=("$node")
}
# Wait up to five minutes for something that Ray makes.
until_there() {
    local waited=0
    until "$@" 2>/dev/null; do
        kill -0 "${steps[0]}" 2>/dev/null && [ "$((waited += 1))" -lt 300 ] || {
            say "Ray did not start on $first; see maskmill-$SLURM_JOB_ID-$first.log"
            exit 3
        }
        sleep 1 & wait $!
    done
}
listens() { (exec 3<>"/dev/tcp/$head/$port"); }

rm -f "$RAY_AUTH_TOKEN_PATH"
(umask 077; set -C; od -An -N32 -tx1 /dev/urandom | tr -d ' \\n' >"$RAY_AUTH_TOKEN_PATH") || exit 2

first=$SLURMD_NODENAME
head=$(scontrol show node -o "$first" | grep -oP 'NodeAddr=\\K\\S+')
head=$(getent ahostsv4 "$head" | awk '{print $1; exit}')
step "$first" --head --node-ip-address="$head" --port="$port" --include-dashboard=false \\
    --ray-client-server-port="$((port + 1))"
until_there listens
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    [ "$node" = "$first" ] || step "$node" --address="$head:$port"
done
until_there test -S "$here.0/r/session_latest/sockets/raylet"

"${launcher[@]}" "${command[@]}" --address="$head:$port" &
"""

END = """\
driver=$!
await "$driver"
code=$?
driver=
finish
say "the command ended with exit code $code"
if [ "$stopping" = 1 ] && [ "$code" -gt 128 ]; then
    code=3
# Stopped in time, with work left: this job is queued again and goes on.
elif [ "$stopping" = 1 ] && [ "$code" = 3 ]; then
    if [ "$attempt" -le @@restarts@@ ]; then
        trap - TERM
        scontrol requeue "$SLURM_JOB_ID" && sleep 60
    else
        say "this was attempt $attempt of @@attempts@@; submit the same command again to go on"
    fi
fi
exit "$code"
"""


def fill(template: str, values: Mapping[str, object]) -> str:
    """A template with its parts filled in; what is filled in is not looked at again.

    Raises
    ------
    KeyError
        If a part has no value.
    """
    return _MARK.sub(lambda mark: str(values[mark[1]]), template)
