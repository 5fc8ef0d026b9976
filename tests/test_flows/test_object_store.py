"""Image, labels, runs and bundles in an object store: the same bytes as in a file system."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from flows import new_bundle as bundles
from flows.catalog import read_catalog
from flows.check import verify_labels
from flows.describe import describe_target
from flows.errors import IncompleteRunError, RequestError
from flows.evaluation_run import run_evaluation
from flows.jobs import EvaluateJob, InfoJob, PackJob, SegmentJob, VerifyJob, make_job
from flows.model import open_model, worker_bundle
from flows.new_bundle import bundle_folder, hand_over, new_bundle, resumed_bundle
from flows.pack import pack_model
from flows.prepare import prepare
from flows.run_report import write_report
from flows.stages import write_timings
from segmentation.bundle import bundle_digest
from segmentation.networks.model_file import write_model
from storage import remote_options
from storage.blobs import Blobs
from storage.convert import import_image, import_labels
from storage.errors import StorageError
from storage.folders import upload_folder
from storage.requests import Lap
from storage.volume import open_image
from tests.test_flows.images import maskmill, thresholds
from tests.test_flows.runs import finish, infer, segment, start

VOXELS = np.random.default_rng(3).integers(0, 3, (40, 44, 30), np.uint8)
TRUTH = np.where(VOXELS == 2, 1, VOXELS)
CLASSES = ("background", "membrane", "synapse")
# A budget that gives many shards.
SMALL = 2**18


def make_stack(folder, url):
    """An image with a truth label at a URL."""
    for name, voxels in (("voxels", VOXELS), ("truth", TRUTH)):
        np.save(folder / f"{name}.npy", voxels)
    import_image([str(folder / "voxels.npy")], url, axes="zyx")
    import_labels([str(folder / "truth.npy")], url, name="truth", axes="zyx", classes=CLASSES)
    return url


@pytest.fixture
def images(tmp_path, bucket, many_cells):
    """The same image in a file system and in an object store."""
    return [make_stack(tmp_path, url) for url in (str(tmp_path / "a.zarr"), f"{bucket}/a.zarr")]


def voxels_of(url):
    """Bytes of every object of a mask but its own metadata, which names the image."""
    blobs = Blobs(url)
    return {key: blobs.read(key) for key, _ in blobs.list() if key != "zarr.json"}


def put_bundle(folder, bucket):
    url = f"{bucket}/models/tiny"
    upload_folder(folder, url, "card.json")
    return url


def test_an_import_has_the_same_bytes(images):
    local, remote = (dict(Blobs(url).list()) for url in images)
    assert local == remote
    assert len(local) > 20
    assert all(Blobs(images[0]).read(key) == Blobs(images[1]).read(key) for key in local)


@pytest.mark.parametrize(
    "network", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["identity", "network"]
)
def test_a_run_has_the_same_bytes(request, images, bucket, network):
    """Image, bundle, mask and records on s3:// against all of them in folders."""
    models = ("identity", "identity")
    if network:
        bundle = request.getfixturevalue("tiny_bundle")
        models = bundle, put_bundle(Path(bundle), bucket)
    fields = {"truth": "truth", "any_voxel_size": True, "memory": None if network else SMALL}
    (local, expected), (remote, found) = (
        segment(image=image, model=model, **fields)
        for image, model in zip(images, models, strict=True)
    )
    # Only what stands for the places themselves differs.
    for result in (found, expected):
        assert result.pop("digest")
        assert result.pop("truth")
    assert found == expected
    assert voxels_of(remote.target) == voxels_of(local.target)
    assert remote.target.startswith(f"{images[1]}/labels/mask-")
    assert remote.url.startswith(f"{images[1]}.runs/mask-")
    verified = verify_labels(VerifyJob(image=images[1], labels="mask"))
    assert not verified["problems"]
    assert sum(verified["objects"].values()) >= len(voxels_of(local.target)) - 4


def test_masks_and_runs_may_lie_in_another_store(tmp_path, images, bucket):
    run, _ = segment(image=images[0], out=f"{bucket}/m.zarr", runs=f"{bucket}/runs")
    assert run.target.startswith(f"{bucket}/m.zarr/labels/")
    assert run.url.startswith(f"{bucket}/runs/mask-")
    np.testing.assert_array_equal(open_image(run.target).volumes[0][:], VOXELS)


def unsteady():
    """Every third request is throttled, every fifth put arrives without an acknowledgement."""
    turns = count()

    def answer(asked):
        turn = next(turns)
        if turn % 3 == 0:
            return "503 Slow Down"
        return "lost 500 Internal Error" if turn % 5 == 0 and asked.method == "PUT" else None

    return answer


@pytest.fixture
def quick_repetitions(monkeypatch):
    """Clients that hardly pause; the deadline is another, so that they are made anew."""
    moment = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5)}
    monkeypatch.setattr(remote_options, "BACKOFF", moment | {"base": 3})
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "21")


def test_a_run_over_an_unsteady_store(images, object_server, quick_repetitions):
    local, _ = segment(image=images[0], truth="truth", memory=SMALL)
    with object_server.answering(unsteady()):
        remote, result = segment(image=images[1], truth="truth", memory=SMALL)
    assert voxels_of(remote.target) == voxels_of(local.target)
    assert result["shards"]["failed"] == 0
    assert [key for key, _ in Blobs(f"{images[1]}.runs").list() if key.endswith(".lock")] == []


def test_a_store_that_goes_away_in_mid_run(images, object_server, monkeypatch):
    """One message and exit code 3; the same job goes on where it was."""
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "0.3")
    fields = {"image": images[1], "model": "identity"}
    job = SegmentJob(name="mask", memory=SMALL, **fields)
    run, records = start(job), []

    def away(asked):
        if asked.method == "PUT" and "/records/infer/" in asked.path:
            records.append(asked)
        return "503 Service Unavailable" if len(records) > 1 else None

    with (
        object_server.answering(away),
        pytest.raises((IncompleteRunError, OSError)) as caught,
    ):
        infer(run)
    assert "no usable answer from http://127.0.0.1" in str(caught.value)
    done = int(run.manifest.completed("infer", len(run.plan)).sum())
    # The first object came to the store; how many shards it holds is a matter of time.
    assert 1 <= done < len(run.plan)
    again = start(job)
    infer(again)
    _, redone = finish(again)
    assert redone == 0
    np.testing.assert_array_equal(open_image(run.target).volumes[0][:], VOXELS)


def test_a_store_that_is_not_there(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "0.3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = maskmill("segment", f"{bucket}/a.zarr", "--model", "identity", "--name", "mask")
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith(f"maskmill: {bucket}/a.zarr/")
    assert "no usable answer from http://127.0.0.1:9 in" in answer.err
    assert "check the endpoint, the network and the store" in answer.err
    assert answer.err.count("\n") == 1


def test_a_store_without_conditional_put_is_refused(images, object_server, tmp_path):
    """Before anything is written, by every command that would write."""

    def lacking(asked):
        return "501 Not Implemented" if asked.method == "PUT" and asked.only_if_absent else None

    bucket = images[1].rpartition("/")[0]
    before = list(Blobs(bucket).list())
    commands = [
        ("import", tmp_path / "voxels.npy", f"{bucket}/new.zarr", "--axes", "zyx"),
        ("import-labels", tmp_path / "truth.npy", images[1], "--name", "x", "--axes", "zyx"),
        ("segment", images[1], "--model", "identity", "--name", "mask"),
        ("evaluate", images[1], "--labels", "truth", "--truth", "truth"),
    ]
    for number, command in enumerate(commands):
        # A store that was found good is not asked again by the same process.
        environment = {"AWS_EC2_METADATA_DISABLED": str(number)}
        with pytest.MonkeyPatch.context() as patch, object_server.answering(lacking):
            for name, value in environment.items():
                patch.setenv(name, value)
            answer = maskmill(*command)
        assert answer.code == 2, answer
        assert "cannot put an object only where there is none" in answer.err, command
        assert answer.err.count("\n") == 1
    assert list(Blobs(bucket).list()) == before


def metadata_read(object_server):
    """How often the metadata object was read that was read most; then everything is forgotten."""
    paths = [asked.path for asked in object_server.asked if asked.method == "GET"]
    object_server.asked.clear()
    return max(paths.count(path) for path in paths if path.endswith("/zarr.json"))


def test_metadata_are_not_read_again_for_every_cell(images, object_server):
    object_server.asked.clear()
    run, _ = segment(image=images[1], memory=SMALL)
    assert len(list(Blobs(run.target).list("0/c"))) == 18
    assert metadata_read(object_server) <= 8


def test_requests_of_an_evaluation_are_told(images, object_server):
    """In timings.json, the last that it writes."""
    job = EvaluateJob(image=images[1], labels="truth", truth="truth", executor="serial")
    object_server.asked.clear()
    result = run_evaluation(job)
    methods = object_server.methods()
    told = json.loads(Blobs(result["run"]).read("timings.json"))["requests"]
    assert told == result["requests"]
    assert told["put"] == methods.count("PUT") - 1
    assert told["get"] + told["list"] == methods.count("GET")
    assert told["get"] > 10


def test_requests_are_told(images):
    lap = Lap()
    run, result = segment(image=images[1], truth="truth", memory=SMALL)
    own = lap()
    records = list(run.manifest.records("infer", len(run.plan)))
    assert all(record["requests"]["put"] >= 1 for record in records)
    assert sum(r["requests"]["put"] for r in records) < own["put"]
    shards = sum(record["requests"]["get"] for record in records)
    # Workers that are other processes count for themselves, a serial run's are this one.
    for executor, expected in (("ray", own["get"] + shards), ("serial", own["get"])):
        job = run.job.model_copy(update={"executor": executor})
        assert write_timings(replace(run, job=job), {"infer": 1.0}, 1, own)["get"] == expected
        attempt = json.loads(run.blobs.read("timings.json"))["attempts"][-1]
        assert attempt["requests"]["get"] == expected
    page = write_report(run, result, {})
    assert page == f"{run.url}/report.html"
    assert "Requests to the store" in run.blobs.read("report.html").decode()


def test_local_runs_tell_of_no_requests(images):
    run, result = segment(image=images[0], truth="truth", memory=SMALL)
    records = list(run.manifest.records("infer", len(run.plan)))
    assert all(record["requests"] == {} for record in records)
    write_timings(run, {"infer": 1.0}, 1, {})
    write_report(run, result, {})
    assert "Requests to the store" not in run.blobs.read("report.html").decode()


def test_report_audit_info_export_by_url(images, tmp_path, bucket):
    run, _ = segment(image=images[1], truth="truth", memory=SMALL)
    written = maskmill("report", run.url, "--json")
    assert (written.code, written.document["report"]) == (0, f"{run.url}/report.html")
    audited = maskmill("audit", run.url, "--json")
    assert audited.code in (0, 4)
    assert "findings" in audited.document
    info = describe_target(InfoJob(target=images[1]))
    assert info["runs"] == [run.directory]
    assert {label["name"] for label in info["labels"]} == {"mask", "truth"}
    assert info["staged"] == []
    for out in (tmp_path / "mask.tif", f"{bucket}/tiff/mask.tif"):
        done = maskmill("export", images[1], "--labels", "mask", str(out))
        assert done.code == 0, done
    Blobs(str(tmp_path)).write("copy.tif", Blobs(bucket).read("tiff/mask.tif"))
    for name in ("mask.tif", "copy.tif"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), VOXELS)
    again = maskmill("export", images[1], "--labels", "mask", f"{bucket}/tiff/mask.tif")
    assert (again.code, "is there already" in again.err) == (2, True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where bundles for object stores are made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pack(model, url):
    fields = {"classes": ",".join(CLASSES), "intensity_range": "0,200"}
    return pack_model(make_job(PackJob, {"model": str(model), "bundle": url} | fields))


def test_a_bundle_is_packed_into_a_store(tmp_path, bucket, object_server, cache):
    write_model(thresholds(0.25, 0.75), tmp_path / "model.keras")
    url = f"{bucket}/models/cells"
    result = pack(tmp_path / "model.keras", url)
    puts = [a.path.rpartition("/")[2] for a in object_server.asked if a.method == "PUT"]
    assert puts[-2:] == ["model.keras", "card.json"]
    assert result["bundle"] == url
    assert [key for key, _ in Blobs(url).list()] == ["card.json", "model.keras"]
    info = describe_target(InfoJob(target=url))
    assert (info["bundle"], info["digest"]) == (url, result["digest"])
    model = open_model(url)
    assert (model.digest, model.source) == (result["digest"], url)
    assert not list(cache.rglob("*.keras"))
    with pytest.raises(RequestError, match="/models/cells is a bundle already; choose another"):
        pack(tmp_path / "model.keras", url)
    Blobs(bucket).write("other/notes.txt", b"x")
    with pytest.raises(RequestError, match=r"/other holds other files \(notes\.txt\); choose an"):
        pack(tmp_path / "model.keras", f"{bucket}/other")


def test_workers_fetch_the_bundle_of_the_run(tiny_bundle, tmp_path, bucket):
    url = put_bundle(Path(tiny_bundle), bucket)
    digest = bundle_digest(tiny_bundle)
    folder = worker_bundle(url, digest)
    assert worker_bundle(url, digest) == folder
    assert bundle_digest(folder) == digest
    assert worker_bundle(tiny_bundle, "any") == tiny_bundle
    with pytest.raises(StorageError, match=r"is another bundle now \(digest .*; put back the one"):
        worker_bundle(url, "0" * 64)


def test_a_training_for_a_store_goes_on(bucket, cache, tmp_path):
    """Begun here, finished here, handed over; and taken up from the store afterwards."""
    url, begun = f"{bucket}/models/new", "training/run.json"
    assert resumed_bundle(url, begun) is None
    folder = new_bundle(url, ("training",))
    assert folder == bundle_folder(url)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    (folder / "training").mkdir()
    (folder / begun).write_text("{}")
    (folder / "model.keras").write_bytes(b"half")
    # An attempt that was interrupted leaves its records, and nothing else that counts.
    assert new_bundle(url, ("training",)) == folder
    assert [path.name for path in folder.iterdir()] == ["training"]
    assert resumed_bundle(url, begun) == folder
    (folder / "model.keras").write_bytes(b"weights")
    (folder / "card.json").write_text("{}")
    (folder / "training" / "report.html").write_text("page")
    places = hand_over(folder, url, "training/report.html")
    assert places == {"bundle": url, "report": f"{url}/training/report.html"}
    assert not folder.exists()
    assert Blobs(url).read("training/report.html") == b"page"
    taken_up = resumed_bundle(url, begun)
    assert taken_up == folder
    assert (folder / "model.keras").read_bytes() == b"weights"


def test_a_store_that_is_away_when_the_training_is_done(bucket, cache, object_server, monkeypatch):
    """Nothing is trained again: the bundle stays here, and the same command hands it over."""
    monkeypatch.setenv("MASKMILL_STORE_DEADLINE", "0.3")
    url = f"{bucket}/models/new"
    folder = new_bundle(url, ("training",))
    for name in ("card.json", "model.keras"):
        (folder / name).write_text("{}")
    with (
        object_server.answering(lambda asked: "503 Slow Down"),
        pytest.raises(IncompleteRunError, match="run the same command to go on"),
    ):
        hand_over(folder, url, "training/report.html")
    assert list(Blobs(url).list()) == []
    hand_over(folder, url, "training/report.html")
    assert [key for key, _ in Blobs(url).list()] == ["card.json", "model.keras"]


def test_local_bundles_stay_where_they_are(tmp_path):
    folder = new_bundle(str(tmp_path / "b"))
    assert folder == tmp_path / "b"
    assert bundles.deliver(folder, str(tmp_path / "b")) == str(tmp_path / "b")
    assert hand_over(folder, str(folder), "training/report.html") == {
        "bundle": str(folder),
        "report": f"{folder}/training/report.html",
    }


def test_a_catalog_may_name_urls(images, tmp_path):
    volume = {"image": images[1], "label": "truth", "region": "z=0:12"}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"volumes": [volume]}))
    (entry,) = read_catalog(str(tmp_path / "catalog.yaml")).entries
    assert (entry.image.url, entry.group) == (images[1], images[1])
    np.testing.assert_array_equal(entry.label.volumes[0][entry.region.slices], TRUTH[:12])


def test_stacks_are_imported_from_files(bucket):
    with pytest.raises(StorageError, match="is in an object store; a stack is imported from files"):
        import_image([f"{bucket}/stack.tif"], f"{bucket}/a.zarr")


def test_a_plan_makes_few_requests(images, object_server):
    """Levels, labels, listing of the finest level: in proportion to the levels, not to shards."""
    object_server.asked.clear()
    prepare(SegmentJob(image=images[1], model="identity", name="mask"))
    assert len(object_server.methods()) < 40
