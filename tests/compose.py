"""Compose files: which fields there are, and the rules that ours keep.

Compose itself would be Docker's; this knows the fields that the files of ``deploy/`` use, so that a
misspelt one does not pass in silence.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
VARIABLES = {"type": "object", "additionalProperties": TEXT}


def fields(needed: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(needed),
        "additionalProperties": False,
    }


DEVICE = fields(driver=TEXT, count=TEXT, capabilities=TEXTS)
CONDITION = {
    "type": "object",
    "additionalProperties": fields(
        condition={"enum": ["service_healthy", "service_completed_successfully"]}
    ),
}
SERVICE = fields(
    image=TEXT,
    user=TEXT,
    command={"type": "array", "items": TEXT},
    init={"type": "boolean"},
    restart={"enum": ["no", "unless-stopped"]},
    profiles=TEXTS,
    cap_drop=TEXTS,
    security_opt=TEXTS,
    logging=fields(driver=TEXT, options=VARIABLES),
    environment=VARIABLES,
    env_file={
        "type": "array",
        "items": {"anyOf": [TEXT, fields(path=TEXT, required={"type": "boolean"})]},
    },
    secrets=TEXTS,
    ports=TEXTS,
    volumes=TEXTS,
    shm_size=TEXT,
    mem_limit=TEXT,
    stop_grace_period=TEXT,
    depends_on=CONDITION,
    healthcheck=fields(
        ("test",),
        test=TEXTS,
        interval=TEXT,
        timeout=TEXT,
        retries={"type": "integer"},
        start_period=TEXT,
    ),
    deploy=fields(
        resources=fields(reservations=fields(devices={"type": "array", "items": DEVICE}))
    ),
)
FILE = {
    **fields(
        ("services",),
        name=TEXT,
        services={"type": "object", "additionalProperties": SERVICE},
        volumes={"type": "object", "additionalProperties": {"type": "null"}},
        secrets={"type": "object", "additionalProperties": fields(("file",), file=TEXT)},
    ),
    "patternProperties": {"^x-": {}},
}


def problems(document: Any) -> list[str]:
    """What is wrong with a compose file; nothing if the list is empty."""
    found = Draft202012Validator(FILE).iter_errors(document)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]
