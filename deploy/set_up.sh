#!/bin/sh
# What a Prefect server has to know: work pool, queues, deployments, automations. Run it again after
# every change of prefect.yaml or automations.yaml: nothing is made twice. It needs PREFECT_API_URL,
# PREFECT_API_AUTH_STRING, and the variables that prefect.yaml names.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
pool=maskmill

if ! prefect work-pool inspect "$pool" >/dev/null 2>&1; then
    prefect work-pool create "$pool" --type process
fi
for queue in gpu cpu; do
    if ! prefect work-queue inspect "$queue" --pool "$pool" >/dev/null 2>&1; then
        prefect work-queue create "$queue" --pool "$pool"
    fi
done
# Runs that may hold the GPUs at the same time.
prefect work-queue set-concurrency-limit gpu "${MASKMILL_GPU_RUNS:-1}" --pool "$pool"
prefect deploy --prefect-file "$here/prefect.yaml" --all
for name in $(sed -n 's/^ *- name: *//p' "$here/automations.yaml"); do
    if prefect automation inspect "$name" >/dev/null 2>&1; then
        prefect automation delete "$name"
    fi
done
prefect automation create --from-file "$here/automations.yaml"
