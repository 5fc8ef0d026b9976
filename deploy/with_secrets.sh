#!/bin/sh
# Runs a command with secrets from files: what NAME_FILE names becomes NAME, for the names below.
# Prefect reads these from its environment only; a file keeps them out of compose files and `ps`.
set -eu
for name in PREFECT_API_AUTH_STRING PREFECT_SERVER_API_AUTH_STRING PREFECT_SERVER_DATABASE_PASSWORD
do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    if ! [ -r "$file" ] || ! [ -s "$file" ]; then
        echo "with-secrets: ${name}_FILE=$file is empty or cannot be read by user $(id -u);" \
            "make the file and give it to that user" >&2
        exit 2
    fi
    value=$(cat "$file")
    export "$name=$value"
done
exec "$@"
