"""Pages for operators and users: the commands they tell exist, and so do the files they name."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.commands import blocks, commands, wrong_words

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in (ROOT, ROOT / "docs", DEPLOY)
    for path in folder.glob("*.md")
)
OURS = [page for page in PAGES if page.parts[0] == "deploy"]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_exists(page):
    wrong = {line: words for line in commands(text(page)) if (words := wrong_words(line))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("maskmill segment a.zarr --model b --name c --workers 2", []),
        ("maskmill segment a.zarr --modle b", ["--modle"]),
        ("maskmill segmnt a.zarr", ["segmnt"]),
        ("maskmill segment a.zarr --force --no-any-voxel-size --memory=8GiB", []),
        ("maskmill submit slurm --nodes 2 -- segment a.zarr --name c --json", []),
        ("maskmill submit slurm --node 2 -- segment a.zarr --nme c", ["--node", "--nme"]),
        ("maskmill submit kuberay -- segmnt a.zarr", ["segmnt"]),
        ("maskmill plan a.zarr --model b # as a check --not-an-option", []),
        ("maskmil plan", ["maskmil"]),
    ],
)
def test_words_that_do_not_exist_are_found(command, wrong):
    assert wrong_words(command) == wrong


def test_commands_are_found_where_they_stand():
    page = """
`maskmill in prose` is left alone.
```
cd x && .venv/bin/maskmill info a.zarr   # maskmill not this
docker compose exec worker with-secrets maskmill plan \\
    a.zarr --model b; maskmill demo
MASKMILL_LOG=json maskmill verify a.zarr --labels b 2> log | tail
kubectl -n maskmill get pods && worker start --pool maskmill
isn't a command
maskmillion
```
"""
    assert list(commands(page)) == [
        "maskmill info a.zarr",
        "maskmill plan a.zarr --model b",
        "maskmill demo",
        "maskmill verify a.zarr --labels b",
    ]


def test_the_pages_have_commands():
    assert sum(1 for page in OURS for _ in commands(text(page))) >= 10


@pytest.mark.parametrize("page", OURS, ids=str)
def test_links_lead_somewhere(page):
    for target in LINK.findall(text(page)):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", OURS, ids=str)
def test_files_of_deploy_that_are_named_are_there(page):
    named = set(re.findall(r"\bdeploy/[\w./-]*\.\w+", text(page)))
    made = {"deploy/.env", "deploy/store.env"}
    assert [name for name in sorted(named - made) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", OURS, ids=str)
def test_a_shell_can_read_every_block(page):
    bash = shutil.which("bash")
    for language, block in blocks(text(page)):
        if language in ("", "sh"):
            done = subprocess.run(
                [bash, "-n"], input=block, text=True, capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), block


def told_to_prefect():
    """Commands of Prefect in pages, in the script that sets a server up, and in containers."""
    script = (DEPLOY / "set_up.sh").read_text().replace("if ! ", "").replace("if ", "")
    pages = [text(page) for page in PAGES]
    for page in (*pages, f"```\n{script}```"):
        yield from (shlex.split(line) for line in commands(page, "prefect"))
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    (cluster,) = (DEPLOY / "kuberay").glob("raycluster.yaml")
    groups = yaml.safe_load(cluster.read_text())["spec"]["workerGroupSpecs"]
    for command in (
        *(one.get("command", ()) for one in services),
        *(one["template"]["spec"]["containers"][0]["command"] for one in groups),
    ):
        if "prefect" in command:
            yield command[command.index("prefect") :]


def test_every_command_of_prefect_exists():
    from cyclopts import CycloptsError
    from prefect.cli._app import _app  # noqa: TID251 its own parser

    told = [words[1:] for words in told_to_prefect()]
    assert len(told) >= 15
    for words in told:
        values = [word.replace("${MASKMILL_GPU_RUNS:-1}", "1") for word in words]
        _app.parse_args(values, exit_on_error=False, print_error=False)
    with pytest.raises(CycloptsError, match="Unknown option"):
        _app.parse_args(["deploy", "--prefct-file", "x"], exit_on_error=False, print_error=False)
