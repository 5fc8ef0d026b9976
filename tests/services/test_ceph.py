"""Everything on a real object store: images, labels, bundles and runs, as in a file system."""

import json
import time

import numpy as np
import pytest

from segmentation.bundle import MODEL_FILE
from storage.write_grid import create_array
from tests.services.shell import CLASSES, NAME, Shell, comparable, tree
from tests.test_flows.images import write_thresholds

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

SHAPE = (16, 512, 512)
SCALE = ("--axes", "zyx", "--voxel-size", "0.05,0.01,0.01", "--unit", "micrometer")


@pytest.fixture(scope="module")
def shell(ceph, settings):
    return Shell(ceph.endpoint, settings)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A stack, a truth and a network, as files."""
    folder = tmp_path_factory.mktemp("sources")
    voxels = np.random.default_rng(5).integers(0, 200, SHAPE, np.uint8)
    np.save(folder / "voxels.npy", voxels)
    # The truth is cut elsewhere than the network cuts: some voxels of every class are wrong.
    np.save(folder / "truth.npy", np.digitize(voxels, [60, 155]).astype(np.uint8))
    write_thresholds(folder / "made", 0.25, 0.75)
    (folder / "made" / MODEL_FILE).rename(folder / "network.keras")
    return folder


def everything(shell, sources, place, executor):
    """Import, pack, segment twice, evaluate, verify, roll back; answers by verb."""
    image, bundle = f"{place}/stack.zarr", f"{place}/bundle"
    segment = ["segment", image, "--model", bundle, "--name", NAME, "--truth", "truth"]
    segment += ["--executor", executor, "--json"]
    packed = ["--classes", ",".join(CLASSES), "--intensity-range", "0,200", "--axes", "yx"]
    label = ["import-labels", sources / "truth.npy", image, "--name", "truth", "--axes", "zyx"]
    verbs = {
        "import": ["import", sources / "voxels.npy", image, *SCALE, "--json"],
        "import-labels": [*label, "--classes", ",".join(CLASSES), "--json"],
        "pack": ["pack", sources / "network.keras", bundle, *packed, "--json"],
        "segment": segment,
        "verify": ["verify", image, "--labels", NAME, "--json"],
        "again": [*segment, "--force"],
        "rollback": ["rollback", image, "--labels", NAME, "--json"],
        "evaluate": [
            *("evaluate", image, "--labels", NAME, "--truth", "truth"),
            *("--executor", "serial", "--json"),
        ],
        "info": ["info", image, "--json"],
    }
    answers = {}
    for verb, arguments in verbs.items():
        answer = shell(*arguments)
        assert answer.code == 0, (verb, answer.err)
        answers[verb] = answer.document
    return answers


@pytest.fixture(scope="module")
def both(shell, sources, ceph, tmp_path_factory):
    """The same commands on a folder, in one process, and on the store, through Ray."""
    folder = str(tmp_path_factory.mktemp("local"))
    bucket = ceph.endpoint.make_bucket("everything")
    local = everything(shell, sources, folder, "serial")
    return folder, local, bucket, everything(shell, sources, bucket, "ray")


def test_every_object_is_the_same_as_in_a_file_system(both, ceph):
    folder, _, bucket, _ = both
    here, there = tree(f"{folder}/stack.zarr"), ceph.endpoint.objects(f"{bucket}/stack.zarr")
    image = {key for key in here if not key.startswith("labels/")}
    assert {key: here[key] for key in image} == {key: there[key] for key in image}
    ours = comparable(tree(f"{folder}/stack.zarr/labels"))
    assert comparable(ceph.endpoint.objects(f"{bucket}/stack.zarr/labels")) == ours
    # Two versions of two levels at least, and the truth.
    assert len(ours) > 20


def test_the_answers_are_the_same(both):
    _, local, _, remote = both
    for verb in ("segment", "again", "evaluate"):
        for name in ("classes", "confusion", "pooled_dice", "macro_foreground_dice", "voxels"):
            assert remote[verb][name] == local[verb][name]
    assert remote["pack"]["digest"] == local["pack"]["digest"]
    assert remote["verify"]["objects"] == local["verify"]["objects"]


def test_a_rollback_publishes_the_first_version_again(both, ceph):
    _, _, bucket, answers = both
    first, second = (answers[verb]["mask"].rsplit("/", 1)[1] for verb in ("segment", "again"))
    assert second == f"{first}-2"
    listed = json.loads(ceph.endpoint.objects(f"{bucket}/stack.zarr/labels")["zarr.json"])
    assert sorted(listed["attributes"]["ome"]["labels"]) == sorted(["truth", first])


def test_nothing_that_is_stored_holds_a_secret(both, ceph):
    _, _, bucket, _ = both
    secret = ceph.endpoint.secret.encode()
    assert [key for key, data in ceph.endpoint.objects(bucket).items() if secret in data] == []


def test_requests_are_told(both, ceph, capsys):
    _, _, bucket, answers = both
    run = answers["segment"]["run"].removeprefix(f"{bucket}/")
    stored = ceph.endpoint.objects(bucket)
    (attempt,) = json.loads(stored[f"{run}/timings.json"])["attempts"]
    requests = attempt["requests"]
    assert requests["put"] > 0
    assert requests["get"] > 0
    # Every voxel is read once, as one byte that hardly compresses, with a quarter for the truth;
    # the pictures of the report come on top of that.
    # The first line of an object is its header; every other one begins with its checksum.
    records = [
        json.loads(line.partition(" ")[2])
        for key, data in stored.items()
        if key.startswith(f"{run}/records/infer/")
        for line in data.decode().splitlines()[1:]
    ]
    found = [record["requests"].get("bytes_read", 0) for record in records]
    assert 0.9 * np.prod(SHAPE) < sum(found) < 1.6 * np.prod(SHAPE)
    assert sum(found) < requests["bytes_read"]
    with capsys.disabled():
        print(f"\nrequests of the segmentation of {np.prod(SHAPE)} voxels: {requests}")


def test_throughput(ceph, bucket, monkeypatch, capsys):
    """Whole cells through the store: 64 MiB of noise, which no codec makes smaller."""
    for name, value in ceph.endpoint.environment.items():
        monkeypatch.setenv(name, value)
    voxels = np.random.default_rng(0).integers(0, 2**16, (16, 1448, 1448), np.uint16)
    create_array(
        f"{bucket}/noise.zarr",
        "0",
        shape=voxels.shape,
        dtype="uint16",
        chunks=(1, 362, 362),
        shards=(4, 724, 724),
        axes="zyx",
    )
    import zarr

    from storage.stores import open_store

    array = zarr.open_array(open_store(f"{bucket}/noise.zarr/0"), mode="r+")
    written = seconds(lambda: array.__setitem__(..., voxels))
    back = []
    read = seconds(lambda: back.append(array[...]))
    assert np.array_equal(back[0], voxels)
    size = voxels.nbytes / 1e6
    with capsys.disabled():
        print(f"\n{size:.0f} MB: written at {size / written:.0f} MB/s, read at {size / read:.0f}")


def seconds(action):
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
