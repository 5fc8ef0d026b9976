"""Who may import whom, read off the source: the table of the architecture, and nothing runs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "segmentation", "storage")
FILES = sorted(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))

# What a package never imports, not even inside a function.
FORBIDDEN = {
    "storage": {
        "flows",
        "segmentation",
        "ray",
        "prefect",
        "pydantic",
        "keras",
        "tensorflow",
        "jax",
    },
    "segmentation": {"flows", "storage", "ray", "prefect", "pydantic", "zarr", "dask", "obstore"},
    "flows": {"keras", "tensorflow", "jax", "zarr", "dask", "obstore"},
}
# One framework, one home: files or folders.
HOMES = {
    "ray": ("flows/ray_",),
    "prefect": tuple(
        f"flows/{name}.py"
        for name in (
            *("segment", "evaluate", "train", "classify", "reconcile", "reprocess"),
            *("artifacts", "deployment_hooks", "prefect_server", "prefect_reach"),
        )
    ),
    "pydantic": ("flows/fields.py", "flows/jobs.py", "flows/submit_job.py"),
    "keras": (
        "segmentation/networks/",
        "segmentation/training/",
        "segmentation/audit/model_",
        *(
            f"segmentation/{name}.py"
            for name in ("bundle", "linear_clone", "packing", "predictor", "receptive_field")
        ),
    ),
}
HOMES |= {"tensorflow": HOMES["keras"], "jax": HOMES["keras"]}
# Slow to import, or not to be loaded in the driver: inside functions only.
HEAVY = {"ray", "keras", "tensorflow", "jax", "zarr", "dask"}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree, *, at_import=False):
    """Import nodes of a file; with `at_import` only those that run when it is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not at_import:
            yield from imports(node)
        elif not is_type_checking(node) and not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            yield from imports(node, at_import=True)


def roots(nodes):
    """First parts of the imported names."""
    for node in nodes:
        names = (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        yield from (name.partition(".")[0] for name in names)


def parsed(file):
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports(file):
    tree, package = parsed(file), file.parts[0]
    found = set(roots(imports(tree)))
    assert not found & FORBIDDEN[package]
    for framework, homes in HOMES.items():
        assert framework not in found or file.as_posix().startswith(homes)
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in imports(tree))
    heavy = {"keras", "tensorflow", "jax"} if package == "storage" else HEAVY
    assert not set(roots(imports(tree, at_import=True))) & heavy


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py"], ids=str)
def test_package_files_are_empty(file):
    assert (ROOT / file).read_bytes() == b""


def test_the_reader_of_imports_sees_every_kind():
    source = """
from typing import TYPE_CHECKING
import a.b, c
if TYPE_CHECKING:
    import d
def f():
    from e.g import h
class K:
    import i
try:
    import j
except ImportError:
    pass
"""
    tree = ast.parse(source)
    assert set(roots(imports(tree))) == {"typing", "a", "c", "d", "e", "i", "j"}
    assert set(roots(imports(tree, at_import=True))) == {"typing", "a", "c", "i", "j"}
