"""A real store behind a network that misbehaves: same bytes, one publication, bounded retries."""

import json
import time
from uuid import uuid4

import numpy as np
import pytest

from tests.services.conftest import or_skip
from tests.services.mitm import fault_proxy
from tests.services.shell import CLASSES, NAME, Shell, await_event, segmentation, tree
from tests.test_flows.images import make_image, make_label

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

SHAPE = (16, 512, 512)
STALL_SECONDS = 30.0


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Objects of a stack with a truth."""
    folder = tmp_path_factory.mktemp("source")
    voxels = np.random.default_rng(7).integers(0, 3, SHAPE, np.uint8)
    image = make_image(folder, voxels, axes="zyx", voxel_size=(0.05, 0.01, 0.01))
    make_label(image, np.where(voxels == 2, 1, voxels), classes=CLASSES, axes="zyx")
    return tree(image)


def fresh_copy(endpoint, source):
    """A copy of the stack in a bucket of its own; its URL."""
    bucket = endpoint.make_bucket(f"b{uuid4().hex[:12]}")
    for key, data in source.items():
        endpoint.client().put_object(
            Bucket=bucket.removeprefix("s3://"), Key=f"stack.zarr/{key}", Body=data
        )
    return f"{bucket}/stack.zarr"


def left_behind(endpoint, image):
    """What has to be the same: every object of the labels and the scores, by key."""
    found = {f"labels/{k}": v for k, v in endpoint.objects(f"{image}/labels").items()}
    runs = endpoint.objects(f"{image}.runs")
    return found | {k: v for k, v in runs.items() if k.endswith("/result.json")}


def check_published_once(endpoint, image):
    runs = endpoint.objects(f"{image}.runs")
    (published,) = (json.loads(v) for k, v in runs.items() if k.endswith("/published.json"))
    assert published["replaced"] == []
    listed = json.loads(endpoint.objects(f"{image}/labels")["zarr.json"])
    versions = [one for one in listed["attributes"]["ome"]["labels"] if one.startswith(NAME)]
    assert len(versions) == 1


@pytest.fixture(scope="module")
def undisturbed(ceph, source, settings, tmp_path_factory):
    """A run through a proxy that disturbs nothing: what it leaves, its number of requests."""
    image = fresh_copy(ceph.endpoint, source)
    folder = tmp_path_factory.mktemp("proxy")
    with or_skip(), fault_proxy(ceph.endpoint.url, folder) as proxy:
        answer = Shell(ceph.endpoint.behind(proxy.url), settings).segment(image)
        assert answer.code == 0, answer.err
        check_published_once(ceph.endpoint, image)
        return left_behind(ceph.endpoint, image), len(proxy.requests())


@pytest.fixture
def image(ceph, source):
    return fresh_copy(ceph.endpoint, source)


@pytest.fixture
def same(ceph, image, undisturbed):
    """Check that the image's labels and scores are the undisturbed ones, published once."""

    def check():
        assert left_behind(ceph.endpoint, image) == undisturbed[0]
        check_published_once(ceph.endpoint, image)

    return check


@pytest.fixture
def shell(ceph, proxy, settings):
    """Commands that reach the store through the proxy."""
    return Shell(ceph.endpoint.behind(proxy.url), settings)


@pytest.fixture
def few_requests(proxy, undisturbed, capsys):
    """Check how often the proxy did its mischief, and that it was not met with many requests."""

    def check(mode):
        requests, plain = proxy.requests(), undisturbed[1]
        hit = sum(one["fault"] == mode for one in requests)
        with capsys.disabled():
            print(f"\n{mode}: {len(requests)} requests, {hit} disturbed; undisturbed {plain}")
        assert hit > 10
        # Of three requests one is lost: 3 are made for 2; more where a whole step is repeated.
        assert len(requests) < 2 * plain + 20

    return check


@pytest.mark.parametrize("mode", ["latency", "slow-down", "killed", "lost-answer", "truncated"])
def test_a_disturbed_network_changes_no_byte(mode, image, shell, proxy, same, few_requests):
    proxy.disturb(mode, every=3)
    answer = shell.segment(image)
    assert answer.code == 0, answer.err
    same()
    few_requests(mode)


def recorded(endpoint, image):
    """Whether a shard is finished."""
    return any("/records/infer/" in key for key in endpoint.keys(f"{image}.runs"))


def test_a_stalled_disk_is_waited_for(ceph, image, settings, same):
    shell = Shell(ceph.endpoint, settings)
    process = shell.start(*segmentation(image))
    await_event(process, lambda: recorded(ceph.endpoint, image))
    with ceph.stalled():
        time.sleep(STALL_SECONDS)
        assert process.poll() is None
    answer = shell.answer(process)
    assert answer.code == 0, answer.err
    same()


def test_a_store_that_stays_away_ends_the_run_which_then_goes_on(ceph, image, shell, proxy, same):
    patience = {"MASKMILL_STORE_DEADLINE": "5"}
    # Slow enough for the proxy to go while there is work.
    proxy.disturb("latency")
    process = shell.start(*segmentation(image), **patience)
    await_event(process, lambda: recorded(ceph.endpoint, image))
    proxy.stop()
    gone = time.monotonic()
    answer = shell.answer(process)
    assert time.monotonic() - gone < 120
    assert answer.code == 3, answer.err
    assert "run the same command" in answer.err
    assert "Traceback" not in answer.err
    before = ceph.endpoint.keys(f"{image}.runs")
    assert not any(key.endswith("/published.json") for key in before)

    proxy.disturb()
    proxy.start()
    answer = shell.segment(image, **patience)
    assert answer.code == 0, answer.err
    same()


def test_a_store_that_is_away_is_named(image, shell, proxy):
    proxy.stop()
    answer = shell.segment(image, MASKMILL_STORE_DEADLINE="2")
    assert answer.code == 2, answer
    (message,) = (line for line in answer.err.splitlines() if line)
    assert f"127.0.0.1:{proxy.port}" in message
