"""Ray's custom resources, held against their definitions, and strictly: no field may be unknown.

The definitions of KubeRay lie in ``../shared/data/kuberay`` beside the project and are no part of
it. Without them nothing is checked, and the tests say so. Rules written in CEL and what the
operator itself refuses are not seen here. ::

    problems(document, definitions())   # ["spec: … ('rayVersoin' was unexpected)"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "kuberay"
ABSENT = f"NOT TESTED: {FOLDER} is not there; it holds KubeRay's custom resource definitions"
QUANTITY = {"anyOf": [{"type": "integer"}, {"type": "string"}]}

Schema = dict[str, Any]
Kind = tuple[str, str]


def definitions(folder: Path = FOLDER) -> dict[Kind, Schema]:
    """Strict schema of every kind that the definitions in a folder bring, by version and kind.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FileNotFoundError(ABSENT)
    schemas: dict[Kind, Schema] = {}
    for file in files:
        # Read by C: the definitions have 43,000 lines.
        spec = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            kind = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            schemas[kind] = strict(version["schema"]["openAPIV3Schema"])
            schemas[kind]["properties"]["metadata"] = {"type": "object"}
            schemas[kind]["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return schemas


def strict(schema: Schema) -> Schema:
    """A schema of Kubernetes as one of JSON that lets no unknown field pass."""
    if schema.get("x-kubernetes-int-or-string"):
        return QUANTITY
    made = {key: value for key, value in schema.items() if not key.startswith("x-")}
    properties = {name: strict(part) for name, part in schema.get("properties", {}).items()}
    if properties:
        made["properties"] = properties
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
        made.setdefault("additionalProperties", bool(open_ended))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            made[key] = strict(schema[key])
    # The API server fills in what has a default.
    filled = {name for name, part in properties.items() if "default" in part}
    made["required"] = [name for name in schema.get("required", ()) if name not in filled]
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


def problems(document: Any, schemas: dict[Kind, Schema]) -> list[str]:
    """What is wrong with one manifest; nothing if the list is empty."""
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind not in schemas:
        known = ", ".join(sorted(" ".join(one) for one in schemas))
        return [f"{kind[0]} {kind[1]} is not defined; defined are {known}"]
    found = Draft202012Validator(schemas[kind]).iter_errors(document)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]
