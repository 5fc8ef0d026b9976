"""The shipped deployments on a real server: schedules, cancellations, crashes, and their pages."""

import json
import secrets
import shutil
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

from tests.services.conftest import or_skip
from tests.services.pages import chromium
from tests.services.postgres import postgres
from tests.services.prefect_site import DEPLOY, RUN_SECONDS, await_event, prefect_site
from tests.services.volumes import make_volume
from tests.test_flows.conftest import make_bundle
from tests.test_flows.images import listing, make_image
from tests.test_flows.runs import attempts, least_budget, recorded

pytestmark = [pytest.mark.services, pytest.mark.timeout(3600)]

SEEN_SECONDS = 120.0  # within which a dead run is known to be dead
STOP_SECONDS = 30.0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server on PostgreSQL with a password, all deployments, and the automation."""
    home = tmp_path_factory.mktemp("site")
    auth = f"admin:{secrets.token_hex(8)}"
    with or_skip(), postgres() as database, prefect_site(database, home, auth) as running:
        running.deploy()
        yield running


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A network of three classes with random weights; its folder."""
    intensity = {"rule": "percentiles", "low": 1.0, "high": 99.0}
    return make_bundle(tmp_path_factory.mktemp("bundle"), intensity)


@pytest.fixture
def worker(site, tmp_path):
    """A process worker with the shipped settings."""
    lines = (DEPLOY / "prefect.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    with site.worker(tmp_path / "worker.txt", **settings) as process:
        yield process


# --- who may come in


@pytest.mark.parametrize("auth", ["", "admin:wrong", "nobody:at-all"])
def test_wrong_credentials_get_401(site, auth):
    with pytest.raises(HTTPError, match="401"):
        site.call("flows/filter", {}, auth=auth)
    answer = site.prefect("deployment", "ls", PREFECT_API_AUTH_STRING=auth or "x:y")
    assert answer.code != 0
    assert "401" in answer.out + answer.err


def test_nonsense_is_refused_before_anything_runs(site):
    with pytest.raises(HTTPError, match=r"409|422"):
        site.start("segment-volume/segment-volume", {"image": "a.zarr", "model": "identity"})
    unknown = {"image": "a.zarr", "model": "identity", "name": "n", "wrokers": 2}
    with pytest.raises(HTTPError, match=r"409|422"):
        site.start("segment-volume/segment-volume", unknown)


def test_a_wrong_pool_and_a_wrong_schedule_are_one_message_each(site, tmp_path):
    text = (DEPLOY / "prefect.yaml").read_text()
    file = tmp_path / "prefect.yaml"
    for old, new, message in (
        ("name: maskmill\n      work_queue", "name: nowhere\n      work_queue", "nowhere"),
        ('"0 * * * *"', '"every hour"', "cron"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        answer = site.prefect("deploy", "--prefect-file", file, "--name", "reconcile")
        assert answer.code != 0
        assert message in answer.out + answer.err


# --- the schedule


def test_a_schedule_does_what_is_missing_and_nothing_else(site, worker, tmp_path, bundle):
    folder = tmp_path / "images"
    images = [make_volume(folder / f"volume-{n}", n) for n in range(2)]
    job = {"target": str(folder), "model": "identity", "name": "cells", "executor": "serial"}

    def scheduled(model):
        """Wait for two more runs; what was published after each, and every file."""
        since = datetime.now(UTC).isoformat()
        site.schedule("reconcile/reconcile", job | {"model": model}, 15.0)
        for count in (1, 2):
            await_event(
                lambda count=count: len(completed(site, model, since)) >= count, RUN_SECONDS
            )
            yield versions(images), listing(folder)

    (first, files), (second, same) = scheduled("identity")
    assert [len(labels) for labels in first] == [1, 1]
    assert (second, same) == (first, files)

    images.append(make_volume(tmp_path / "new" / "volume-2", 2))
    shutil.move(tmp_path / "new" / "volume-2", folder)
    images[2] = str(folder / "volume-2" / "stack.zarr")
    (third, _), (fourth, _) = scheduled("identity")
    assert third[:2] == first
    assert third == fourth
    assert len(third[2]) == 1

    (fifth, files), (sixth, same) = scheduled(bundle)
    assert [len(labels) for labels in fifth] == [2, 2, 2]
    assert all(old < new for old, new in zip(third, fifth, strict=True))
    assert (sixth, same) == (fifth, files)
    site.schedule("reconcile/reconcile", job)
    site.settle()
    assert starts_apart(site)


def completed(site, model=None, since=""):
    """Scheduled runs of a model that have ended well, of those that started since then."""
    runs = site.runs("reconcile/reconcile")
    assert not [run for run in runs if run["state"]["name"] in ("Failed", "Crashed")], runs
    assert all(run["auto_scheduled"] for run in runs)
    return [
        run
        for run in runs
        if run["state"]["name"] == "Completed"
        and run["start_time"] >= since
        and model in (None, run["parameters"]["job"]["model"])
    ]


def versions(images):
    """Versions of the mask volume of each image."""
    return [{path.name for path in Path(image).glob("labels/cells-*")} for image in images]


def starts_apart(site):
    """Whether no run began before the one before it had ended."""
    runs = completed(site)
    return all(one["end_time"] <= two["start_time"] for one, two in pairwise(runs))


# --- the end of a run


@pytest.fixture(scope="module")
def sections(tmp_path_factory, bundle):
    """A job of many shards with a network on Ray."""
    voxels = np.random.default_rng(11).integers(0, 256, (24, 768, 768), np.uint8)
    folder = tmp_path_factory.mktemp("sections")
    image = make_image(folder, voxels, axes="zyx")
    budget = least_budget(image=image, model=bundle) + 2 * 2**20
    job = {"image": image, "model": bundle, "name": "cells", "memory": budget}
    return job | {"executor": "ray", "workers": 1}


def begin(site, job, count):
    """Start a run and wait until it has recorded so many shards more; its id."""
    before = recorded(job["image"], "cells")
    run = site.start("segment-volume/segment-volume", job)
    await_event(lambda: recorded(job["image"], "cells") >= before + count, RUN_SECONDS)
    assert site.state(run) == "Running"
    return run


def actors(site, run):
    """Ray workers that compute shards."""
    return [p for p in site.processes(run) if " ".join(p.cmdline()).startswith("ray::Actor")]


def test_a_run_that_ends_early_is_seen_and_goes_on(site, worker, sections):
    """Cancelled, killed, without its Ray: each time the next run resumes."""
    run = begin(site, sections, 1)
    assert len(actors(site, run)) == 1
    site.cancel(run)
    assert await_event(lambda: not actors(site, run), STOP_SECONDS) < STOP_SECONDS
    assert site.ended(run, 90) == "Cancelled"
    assert "maskmill segment --config job.yaml" in site.artifacts(run)["maskmill-resume"]["data"]
    assert site.processes(run) == []

    run = begin(site, sections, 1)
    flow = next(p for p in site.processes(run) if "prefect.engine" in " ".join(p.cmdline()))
    flow.kill()
    assert site.ended(run, SEEN_SECONDS) == "Crashed"
    # The worker's own hook, in a process that it starts once the state is known.
    await_event(lambda: "maskmill-resume" in site.artifacts(run), SEEN_SECONDS)

    run = begin(site, sections, 1)
    for process in site.processes(run):
        if process.name() in ("gcs_server", "raylet"):
            process.kill()
    await_event(lambda: site.state(run) != "Running", SEEN_SECONDS)
    assert site.ended(run) in ("Completed", "Crashed", "Failed")

    if site.state(run) != "Completed":
        assert site.ended(site.start("segment-volume/segment-volume", sections)) == "Completed"
    (folder,) = Path(f"{sections['image']}.runs").glob("cells-*")
    done = attempts(str(folder))
    planned = json.loads((folder / "result.json").read_text())["shards"]["planned"]
    assert set(done) == set(range(planned))
    assert len({attempt for tries in done.values() for attempt in tries}) >= 3
    assert sum(len(tries) > 1 for tries in done.values()) <= 3


def test_a_run_whose_worker_is_gone_too_is_crashed(site, sections, tmp_path):
    """Nobody is left to tell of it: only its sign of life is missing."""
    settings = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    with site.worker(tmp_path / "worker.txt", **settings) as process:
        run = begin(site, sections | {"name": "cells", "force": True}, 1)
        family = site.processes(run)
        process.kill()
        for one in family:
            one.kill()
        assert site.ended(run, SEEN_SECONDS) == "Crashed"


def test_a_run_that_was_taken_and_does_not_start_is_crashed(site, tmp_path):
    """As a worker leaves it that is stopped in between; here the wait is a short one."""
    text = (DEPLOY / "automations.yaml").read_text()
    assert "within: 900" in text
    file = tmp_path / "automations.yaml"
    text = (
        text[: text.index("automations:")]
        + "automations:\n"
        + text[text.index("  - name: crash-runs-that") :]
    )
    file.write_text(text.replace("within: 900", "within: 10").replace("that-do-not-start", "soon"))
    assert site.prefect("automation", "create", "--from-file", file).code == 0
    job = {"image": "a.zarr", "labels": "cells", "truth": "truth"}
    run = site.start("evaluate-volume/evaluate-volume", job)
    state = {"state": {"type": "PENDING", "name": "Submitting"}, "force": False}
    site.call(f"flow_runs/{run}/set_state", state)
    assert site.ended(run, SEEN_SECONDS) == "Crashed"
    assert site.prefect("automation", "delete", "crash-runs-soon").code == 0


# --- the pages


def test_pages_show_a_described_form_and_the_results(site, worker, tmp_path):
    image = make_volume(tmp_path / "volume")
    job = {"image": image, "model": "identity", "name": "cells", "truth": "truth"}
    run = site.start("segment-volume/segment-volume", job | {"executor": "serial"})
    assert site.ended(run) == "Completed"
    artifacts = site.artifacts(run)
    kinds = sorted(key.rpartition("-")[2] for key in artifacts)
    assert kinds == ["classes", "progress", "report", "scores", "worst"]
    worst = next(artifact for key, artifact in artifacts.items() if key.endswith("worst"))
    deployment = site.deployment("segment-volume/segment-volume")["id"]
    with or_skip(), chromium(tmp_path, site.auth) as page:
        form = f"{site.url}/deployments/deployment/{deployment}/run"
        page.open(form, "label to evaluate against", "name of the mask volume")
        assert colors(page.screenshot(tmp_path / "form.png")) > 20
        page.open(f"{site.url}/runs/flow-run/{run}", "Completed", "publish")
        assert colors(page.screenshot(tmp_path / "run.png")) > 20
        page.open(f"{site.url}/artifacts/artifact/{worst['id']}", "macro-foreground Dice")
        page.until("[...document.images].some(i => i.naturalWidth > 4 * 180)")
        assert colors(page.screenshot(tmp_path / "worst.png")) > 50


def colors(picture):
    """Number of colours in a picture: an empty page has few."""
    with Image.open(picture) as image:
        return len(image.convert("RGB").getcolors(2**24))
