"""Bad input: one message that says what is wrong, exit code 2, and nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows.errors import IncompleteRunError
from flows.jobs import SegmentJob
from flows.prepare import check_segment_job, prepare
from flows.scoring import check_small_volume
from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_values import label_values
from storage.ome import make_axes
from storage.volume import open_image, open_label, published_labels
from tests.test_flows.images import (
    CLASSES,
    VOXEL_SIZE,
    finish,
    listing,
    make_image,
    make_label,
    make_read_only,
    maskmill,
    maskmill_process,
    opened_run,
    refused,
    segment,
    small_disk,
    unchanged,
    voxels_like,
    write_card,
    write_thresholds,
)

SHAPE = (3, 40, 36)
VOXELS = voxels_like(SHAPE)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with an image, its truth and a bundle to plan with. Nothing may change in it."""
    folder = tmp_path_factory.mktemp("shelf")
    image = make_image(folder, VOXELS, voxel_size=VOXEL_SIZE)
    make_label(image, VOXELS % 3)
    write_card(folder / "bundle")
    return folder


def segment_refused(folder, *options, match, image="stack.zarr", model="bundle", name="cells"):
    if model != "identity":
        model = folder / model
    refused(
        folder,
        *("segment", folder / image, "--model", model, "--name", name, *options),
        match=match,
    )


# --- the image


def test_an_image_that_is_not_there(shelf):
    segment_refused(shelf, image="none.zarr", match="none.zarr does not exist; expected an OME-Z")


@pytest.mark.parametrize("place", ["stack.npy", "."])
def test_what_is_not_a_zarr(shelf, place):
    message = "is not a Zarr: it holds no zarr.json and no .zgroup; make .* `maskmill import`"
    segment_refused(shelf, image=place, match=message)


def test_a_zarr_group_without_ome_metadata(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("0", shape=(4, 4), dtype="u1")
    message = "Zarr group without OME metadata .* expected an OME-Zarr 0.4 or 0.5 image; make one"
    segment_refused(tmp_path, image="a.zarr", model="identity", match=message)


def test_a_zarr_array_names_its_group(shelf):
    message = "stack.zarr/0 is a Zarr array, not an OME-Zarr image; use .*stack.zarr$"
    segment_refused(shelf, image="stack.zarr/0", match=message)


def test_unknown_axes(tmp_path):
    attributes = Path(make_image(tmp_path, VOXELS), "zarr.json")
    attributes.write_text(attributes.read_text().replace('"name": "z"', '"name": "q"'))
    message = r"unknown axes q among \(q, y, x\); maskmill reads the axes t, c, z, y, x"
    segment_refused(tmp_path, model="identity", match=message)


def test_metadata_that_is_no_json(tmp_path):
    Path(make_image(tmp_path, VOXELS), "zarr.json").write_text("{")
    message = r"is not a readable Zarr \(.*\); restore or rewrite its metadata"
    segment_refused(tmp_path, model="identity", match=message)


def test_a_level_that_is_gone(tmp_path):
    shutil.rmtree(Path(make_image(tmp_path, VOXELS), "0"))
    message = "lists the level '0', but no array can be opened there .* import the image again"
    segment_refused(tmp_path, model="identity", match=message)


def test_a_chunk_that_is_torn(tmp_path):
    image = make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE)
    write_card(tmp_path / "bundle")
    chunk = Path(image, "0", "c", "0", "0", "0")
    chunk.write_bytes(chunk.read_bytes()[:100])
    segment_refused(tmp_path, match=r"stack.zarr level 0 has a damaged chunk \(.*\); restore it")


def test_ray_tells_what_a_dask_task_met_without_a_traceback(tmp_path, ray_executor):
    image = make_image(tmp_path, VOXELS)
    make_label(image, VOXELS % 3)
    chunk = Path(image, "labels", "truth", "0", "c", "0", "0", "0")
    chunk.write_bytes(chunk.read_bytes()[:100])
    truth = open_label(image, "truth").volumes[0]
    with pytest.raises(StorageError, match="labels/truth level 0 has a damaged chunk") as raised:
        label_values(truth, scheduler=ray_executor.dask_scheduler())
    assert "\n" not in str(raised.value)


def test_an_address_of_another_kind(shelf):
    message = "scheme 'ftp'; use a path, file://, s3://, gs:// or az://"
    refused(shelf, "info", "ftp://host/a.zarr", match=message)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_voxels_are_found_before_any_server_starts(tmp_path, value):
    voxels = VOXELS.astype("float32")
    voxels[1, 3, 5] = value
    make_image(tmp_path, voxels, voxel_size=VOXEL_SIZE)
    write_card(tmp_path / "bundle")
    message = rf"holds {value} at \(z=1, y=3, x=5\); replace NaN and Inf voxels by numbers"
    segment_refused(tmp_path, match=message)


def test_nan_that_only_a_worker_meets_leaves_the_run_resumable(tmp_path):
    """A bundle with fixed intensities reads no voxel before its shards do."""
    voxels = VOXELS.astype("float32")
    voxels[1, 3, 5] = np.nan
    image = make_image(tmp_path, voxels, voxel_size=VOXEL_SIZE)
    bundle = write_thresholds(tmp_path / "bundle")
    job = SegmentJob(image=image, model=str(bundle), name="cells", executor="serial")
    run = opened_run(job)
    message = (
        "1 shards failed and 1 of 1 are to do: shard 0: ValueError: 1 voxels are NaN or infinite; "
        ".*import the image again; details in .*failures/0{8}-.*json; run the same command to go on"
    )
    with pytest.raises(IncompleteRunError, match=message) as raised:
        finish(run)
    assert raised.value.result["shards"] == {"planned": 1, "done": 0, "skipped": 0, "failed": 1}
    (failure,) = (Path(run.url) / "failures").iterdir()
    assert "NaN" in json.loads(failure.read_text())["error"]
    assert published_labels(image) == ()


def test_an_image_without_contrast(tmp_path):
    make_image(tmp_path, np.full(SHAPE, 7, "uint8"), voxel_size=VOXEL_SIZE)
    write_card(tmp_path / "bundle")
    segment_refused(tmp_path, match="channel 0 has no contrast: .* Is the image constant")


# --- image and bundle


def test_a_bundle_that_is_not_there(shelf):
    segment_refused(shelf, model="none", match="none is not a folder; give the folder of a bundle")


def test_a_folder_that_is_no_bundle(shelf):
    message = "is not a bundle: it has no card.json. Make one with `maskmill train` or `maskmill p"
    segment_refused(shelf, model="stack.zarr", match=message)


def test_a_bundle_with_a_wrong_digest(shelf, tmp_path):
    bundle = write_card(tmp_path / "bundle")
    (bundle / "model.keras").write_bytes(b"other weights")
    message = "has digest [0-9a-f]{12}, its card says [0-9a-f]{12}; .* Copy the bundle again"
    segment_refused(shelf, model=bundle, match=message)


def test_a_card_that_is_no_json(shelf, tmp_path):
    bundle = write_card(tmp_path / "bundle")
    (bundle / "card.json").write_text("{")
    segment_refused(shelf, model=bundle, match="card.json is not JSON")


def test_too_few_channels_in_the_image(shelf, tmp_path):
    bundle = write_card(tmp_path / "bundle", channels=3)
    message = "the image gives 1 channels and the network takes 3; choose 3 of the image's 1"
    segment_refused(shelf, model=bundle, match=message)


def test_too_many_channels_in_the_image(tmp_path):
    make_image(tmp_path, voxels_like((2, 40, 36)), axes="cyx", voxel_size=VOXEL_SIZE[1:])
    write_card(tmp_path / "bundle")
    message = "the image gives 2 channels and the network takes 1; choose 1 .* with --channels"
    segment_refused(tmp_path, match=message)
    message = r"channels \(2,\) are not all in the image's 0 to 1"
    segment_refused(tmp_path, "--channels", "2", match=message)
    assert maskmill("plan", tmp_path / "stack.zarr", "--model", tmp_path / "none").code == 2
    job = SegmentJob(
        image=str(tmp_path / "stack.zarr"), model=str(tmp_path / "bundle"), name="a", channels=(1,)
    )
    assert prepare(job).identity["channels"] == [1]


def test_a_voxel_size_other_than_the_bundles(shelf, tmp_path):
    bundle = write_card(tmp_path / "bundle", voxel_size=(20.0, 20.0), unit="nanometer")
    message = (
        r"the image's voxel size 10 × 10 nanometer \(yx\) is not the 20 × 20 the bundle was "
        "trained at; resample the image, or accept the difference with --any-voxel-size"
    )
    segment_refused(shelf, model=bundle, match=message)
    job = SegmentJob(
        image=str(shelf / "stack.zarr"), model=str(bundle), name="a", any_voxel_size=True
    )
    assert len(prepare(job).plan) == 1


def test_a_voxel_size_in_another_unit_is_the_same(shelf, tmp_path):
    bundle = write_card(tmp_path / "bundle", voxel_size=(10.1, 9.9), unit="nanometer")
    job = SegmentJob(image=str(shelf / "stack.zarr"), model=str(bundle), name="a")
    assert len(prepare(job).plan) == 1


def test_a_2d_image_with_a_3d_bundle(tmp_path):
    make_image(tmp_path, VOXELS[0], voxel_size=VOXEL_SIZE[1:])
    options = {"axes": "zyx", "stride": (1, 4, 4), "halo": (1, 8, 8), "voxel_size": None}
    write_card(tmp_path / "bundle", **options)
    message = "the network sees the axes zyx and the volume has yx; use a bundle of the volume's"
    segment_refused(tmp_path, match=message)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_identity_needs_unsigned_integers(tmp_path, dtype):
    make_image(tmp_path, VOXELS.astype(dtype))
    message = f"identity model needs unsigned integer voxels, this image has {dtype}; use it on a"
    segment_refused(tmp_path, model="identity", match=message)


# --- region, name, memory


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("z=1:1", "region z=1:1 is empty; the stop must be greater than the start"),
        ("z=2:1", "region z=2:1 is empty"),
        ("z=0:4", "region z=0:4 leaves the volume; that axis ends at 3"),
        ("z=7:9", "region z=7:9 leaves the volume"),
        ("z=1", r"region part 'z=1' is not AXIS=START:STOP; write z=0:12,y=100:612"),
        ("z=-1:2", "region part 'z=-1:2' is not AXIS=START:STOP"),
        ("here", "region part 'here' is not AXIS=START:STOP"),
        ("c=0:1", "region names the axis 'c'; the volume has z, y, x"),
        ("z=0:1,z=1:2", "region names the axis 'z' twice"),
    ],
)
def test_regions(shelf, region, message):
    segment_refused(shelf, "--region", region, match=message)


@pytest.mark.parametrize("name", ["a/b", "../a", "a..b", "..", ".hidden", "", "-a", "ü", "x" * 65])
def test_label_names(shelf, name):
    message = "is not usable; use up to 64 letters, digits, '.', '_' or '-', beginning with"
    arguments = ("segment", shelf / "stack.zarr", "--model", shelf / "bundle", f"--name={name}")
    refused(shelf, *arguments, match=message)


def test_the_name_of_an_imported_label(shelf):
    message = "label 'truth' is there and was not made by a run; choose another --name"
    segment_refused(shelf, name="truth", match=message)


def test_too_little_memory(shelf):
    message = "memory 10 MiB is too little for one shard; the smallest plan needs [0-9]+ MiB"
    segment_refused(shelf, "--memory", "10MiB", match=message)


# --- truth


def test_truth_that_is_absent(shelf):
    message = r"label 'none' is not in .*stack.zarr/labels; labels there: truth"
    segment_refused(shelf, "--truth", "none", match=message)


def test_truth_of_another_shape(tmp_path):
    image = make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE)
    other = make_image(tmp_path, VOXELS[:2], name="other", voxel_size=VOXEL_SIZE)
    make_label(other, VOXELS[:2] % 3)
    shutil.copytree(f"{other}/labels", f"{image}/labels")
    write_card(tmp_path / "bundle")
    message = r"truth 'truth' has the shape \(2, 40, 36\) and the mask \(3, 40, 36\); import the"
    segment_refused(tmp_path, "--truth", "truth", match=message)


def test_truth_with_values_outside_the_classes(tmp_path):
    truth = VOXELS % 3
    truth[0, :2, :3] = 7
    make_label(make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE), truth, classes=None)
    write_card(tmp_path / "bundle")
    message = (
        r"truth has values outside the classes 0 to 2: 7 \(6 voxels\); import it with those "
        "classes, or leave one value out with --ignore-label"
    )
    segment_refused(tmp_path, "--truth", "truth", match=message)
    job = SegmentJob(
        image=str(tmp_path / "stack.zarr"), model=str(tmp_path / "bundle"), name="a", truth="truth"
    )
    check_small_volume(prepare(job), 7)


def test_truth_outside_the_region_does_not_matter(tmp_path):
    truth = VOXELS % 3
    truth[0] = 7
    make_label(make_image(tmp_path, VOXELS, voxel_size=VOXEL_SIZE), truth, classes=None)
    write_card(tmp_path / "bundle")
    job = SegmentJob(
        image=str(tmp_path / "stack.zarr"),
        model=str(tmp_path / "bundle"),
        name="a",
        truth="truth",
        region="z=1:3",
    )
    check_small_volume(prepare(job), None)


def test_evaluation_of_labels_that_do_not_fit(shelf, tmp_path):
    arguments = ("evaluate", shelf / "stack.zarr", "--executor", "serial")
    refused(shelf, *arguments, "--labels", "none", "--truth", "truth", match="label 'none' is not")
    refused(shelf, *arguments, "--labels", "truth", "--truth", "none", match="label 'none' is not")
    region = ("--labels", "truth", "--truth", "truth", "--region", "z=9:10")
    refused(shelf, *arguments, *region, match="leaves the volume; that axis ends at 3")
    image = make_image(tmp_path, VOXELS)
    make_label(image, VOXELS % 3, name="cells")
    make_label(image, VOXELS, classes=None, instances=True)
    refused(
        tmp_path,
        *("evaluate", image, "--executor", "serial", "--labels", "cells", "--truth", "truth"),
        match="truth has values outside the classes 0 to 2: 3 .* voxels",
    )
    refused(
        tmp_path,
        *("evaluate", image, "--executor", "serial", "--labels", "truth", "--truth", "truth"),
        match="neither mask nor truth names its classes; import the truth with --classes",
    )


# --- places


def test_an_image_of_version_0_4_needs_another_place(tmp_path):
    make_old_image(tmp_path / "old.zarr")
    message = "is OME-Zarr 0.4, which cannot hold 0.5 labels; give --out OTHER.zarr to hold them"
    segment_refused(tmp_path, image="old.zarr", model="identity", match=message)
    old = listing(tmp_path / "old.zarr")
    run, _ = segment(str(tmp_path / "old.zarr"), out=str(tmp_path / "masks" / "new.zarr"))
    assert listing(tmp_path / "old.zarr") == old
    label = open_label(str(tmp_path / "masks" / "new.zarr"), "mask")
    np.testing.assert_array_equal(label.volumes[0][:], VOXELS)
    back = label.attributes["ome"]["image-label"]["source"]["image"]
    assert not Path(back).is_absolute()
    assert Path(label.url, back).resolve() == tmp_path / "old.zarr"
    assert Path(run.url).parent == tmp_path / "masks" / "new.zarr.runs"
    message = "is OME-Zarr 0.4, whose labels maskmill does not write; import the image anew"
    arguments = (tmp_path / "stack.npy", tmp_path / "old.zarr", "--name", "truth")
    np.save(tmp_path / "stack.npy", VOXELS)
    refused(tmp_path, "import-labels", *arguments, match=message)


def make_old_image(folder):
    """An OME-Zarr 0.4 image of one level."""
    group = zarr.create_group(folder, zarr_format=2)
    array = group.create_array(
        "0", shape=SHAPE, dtype="u1", chunks=(1, 32, 32), chunk_key_encoding={
            "name": "v2", "separator": "/"
        },
    )  # fmt: skip
    array[:] = VOXELS
    transform = {"type": "scale", "scale": list(VOXEL_SIZE)}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": a.name, "type": a.type, "unit": a.unit} for a in make_axes(
                "zyx", "micrometer"
            )],
            "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
        }
    ]  # fmt: skip


def test_a_read_only_target(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        make_image(disk, VOXELS, voxel_size=VOXEL_SIZE)
        make_label(str(disk / "stack.zarr"), VOXELS % 3)
        write_card(disk / "bundle")
        segment(str(disk / "stack.zarr"))
        make_read_only(disk)
        message = r"stack.zarr cannot be written \(Read-only file system\); give --out OTHER.zarr"
        segment_refused(disk, match=message)
        other = ("--out", tmp_path / "other.zarr", "--runs", disk / "runs")
        message = r"runs cannot be written \(Read-only file system\); give --runs URL"
        segment_refused(disk, *other, match=message)
        assert not (tmp_path / "other.zarr").exists()
        message = "Read-only file system; choose a place that this user may write to"
        refused(disk, "import", disk / "stack.npy", disk / "new.zarr", match=message)
        refused(disk, "export", disk / "stack.zarr", disk / "a.ome.tif", match=message)
        assert maskmill("info", disk / "stack.zarr").code == 0
        assert maskmill("verify", disk / "stack.zarr", "--labels", "mask").code == 0
        scored = ("--labels", "truth", "--truth", "truth", "--executor", "serial")
        message = r"cannot be written \(Read-only file system\); give --runs URL"
        refused(disk, "evaluate", disk / "stack.zarr", *scored, match=message)
        elsewhere = ("--runs", tmp_path / "runs")
        assert maskmill("evaluate", disk / "stack.zarr", *scored, *elsewhere).code == 0
        run, _ = segment(str(disk / "stack.zarr"), out=str(tmp_path / "other.zarr"))
        assert Blobs(run.target).exists("zarr.json")


def test_looking_for_room_leaves_nothing_behind(shelf, tmp_path):
    """Not even the folders that are to be made, and no file that others might be writing."""
    job = SegmentJob(
        image=str(shelf / "stack.zarr"),
        model=str(shelf / "bundle"),
        name="a",
        out=str(tmp_path / "new" / "a.zarr"),
        runs=str(tmp_path / "runs"),
    )
    (tmp_path / "runs").mkdir()
    with unchanged(shelf, tmp_path):
        check_segment_job(job, prepare(job))


# --- a full disk


FILLER = "filler"


def fill(disk, spare):
    """Take what a disk has but for some bytes."""
    free = shutil.disk_usage(disk).free
    (disk / FILLER).write_bytes(bytes(max(0, free - spare)))


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """An image that does not compress: what is written of it needs its room."""
    folder = tmp_path_factory.mktemp("noise")
    image = make_image(folder, voxels_like((8, 300, 280), largest=256), voxel_size=VOXEL_SIZE)
    make_label(image, voxels_like((8, 300, 280), seed=1) % 3)
    return image


def test_a_disk_that_fills_up_at_any_moment(tmp_path, noise):
    """Whatever was reached, the same command goes on once there is room: to the same bytes."""
    calm, _ = segment(noise, out=str(tmp_path / "calm.zarr"), truth="truth", ignore_label=200)
    reached = set()
    with small_disk(tmp_path / "disk", "4m") as disk:
        for number, spare in enumerate(range(16384, 1_200_000, 131072)):
            job = SegmentJob(
                image=noise,
                model="identity",
                name="mask",
                executor="serial",
                truth="truth",
                ignore_label=200,
                out=str(disk / f"{number}.zarr"),
            )
            fill(disk, spare)
            try:
                finish(opened_run(job))
            except (OSError, IncompleteRunError) as error:
                assert "No space left on device" in str(error)  # noqa: PT017
                reached.add(type(error).__name__)
            else:
                reached.add("done")
            (disk / FILLER).unlink()
            run = opened_run(job, "20260101T000001-00000000")
            finish(run)
            assert chunks(run.target) == chunks(calm.target)
            assert Blobs(run.url).read("result.json") == Blobs(calm.url).read("result.json")
            shutil.rmtree(disk / f"{number}.zarr")
            shutil.rmtree(disk / f"{number}.zarr.runs")
    assert {"OSError", "IncompleteRunError"} <= reached


def chunks(url):
    """Stored bytes of every chunk object, by path."""
    return {name: digest for name, digest in listing(url).items() if "/c/" in name}


def test_a_disk_that_is_full_before_the_run(tmp_path, noise):
    with small_disk(tmp_path / "disk", "1m") as disk:
        fill(disk, 0)
        with unchanged(disk):
            answer = maskmill(
                *("segment", noise, "--model", "identity", "--name", "mask"),
                *("--out", disk / "masks.zarr"),
            )
        assert answer.code == 2
        assert "cannot be written (No space left on device); give --out" in answer.err


def test_an_import_onto_a_full_disk_starts_anew(tmp_path, noise):
    source = Path(noise).with_suffix(".npy")
    with small_disk(tmp_path / "disk", "2m") as disk:
        fill(disk, 400_000)
        answer = maskmill("import", source, disk / "a.zarr")
        assert answer.code == 3
        message = "No space left on device; free some space and run the same command again\n"
        assert answer.err.endswith(message)
        with pytest.raises(StorageError, match="is not a Zarr"):
            open_image(str(disk / "a.zarr"))
        (disk / FILLER).unlink()
        assert maskmill("import", source, disk / "a.zarr").code == 0
        np.testing.assert_array_equal(
            open_image(str(disk / "a.zarr")).volumes[0][:], np.load(source)
        )


@pytest.mark.slow
def test_the_command_on_a_disk_that_fills_up(tmp_path, noise):
    calm, _ = segment(noise, out=str(tmp_path / "calm.zarr"))
    arguments = ("segment", noise, "--model", "identity", "--name", "mask", "--executor", "serial")
    with small_disk(tmp_path / "disk", "4m") as disk:
        fill(disk, 300_000)
        stopped = maskmill_process(*arguments, "--out", disk / "a.zarr", "--json")
        assert stopped.code == 3
        assert stopped.document["exit_code"] == 3
        assert "No space left on device" in stopped.document["error"]
        assert "run the same command to go on" in stopped.err
        assert "Traceback" not in stopped.err
        (disk / FILLER).unlink()
        done = maskmill_process(*arguments, "--out", disk / "a.zarr", "--json")
        assert done.code == 0, done.err
        assert chunks(done.document["mask"]) == chunks(calm.target)


# --- imports and exports


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (["none.tif"], [], "none.tif does not exist; expected a file or a folder of images"),
        (["a.npy", "b.npy"], [], "several sources of the kinds .npy; expected one file, or single"),
        (
            ["a.png", "b.png"],
            [],
            r"b.png has the shape \(20, 36\) of uint8, but a.png has \(40, 36\)",
        ),
        (["a.npy"], ["--axes", "czyx"], r"a.npy has the shape \(3, 40, 36\): 3 axes, but 'czyx'"),
        (
            ["a.npy"],
            ["--axes", "zyq"],
            "axes are unknown; name them with --axes, such as --axes czyx",
        ),
        (["a.npy"], ["--voxel-size", "1,2"], "does not fit the axes zyx; expected 3 positive numb"),
        (["a.npy"], ["--voxel-size", "1,2,0"], "does not fit the axes zyx; expected 3 positive"),
        (["a.npy"], ["--voxel-size", "1,2,x"], "--voxel-size 'x': input should be a valid number"),
        (["a.npy"], ["--unit", "parsec"], "unit 'parsec' is not a length; use one of ang"),
        (["readme.txt"], [], "readme.txt is of an unknown kind; expected one of .tif"),
        (["empty"], [], "empty holds no PNG or TIFF images; give a folder of images"),
        (["text.npy"], [], "text.npy is not an NPY file of numbers"),
        (["void.npy"], [], r"void.npy has the shape \(0, 4, 4\): it holds no voxels"),
    ],
)
def test_imports(tmp_path, sources, options, message):
    np.save(tmp_path / "a.npy", VOXELS)
    np.save(tmp_path / "b.npy", VOXELS)
    np.save(tmp_path / "void.npy", np.zeros((0, 4, 4), "u1"))
    save_png(tmp_path / "a.png", VOXELS[0])
    save_png(tmp_path / "b.png", VOXELS[0, :20])
    (tmp_path / "readme.txt").write_text("no voxels")
    (tmp_path / "text.npy").write_text("no voxels")
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / source for source in sources]
    refused(tmp_path, "import", *paths, tmp_path / "new.zarr", *options, match=message)


def save_png(path, plane):
    from PIL import Image

    Image.fromarray(plane).save(path)


def test_an_import_over_something_that_is_there(shelf):
    arguments = ("import", shelf / "stack.npy")
    message = "stack.zarr is there already; choose another place or remove it first"
    refused(shelf, *arguments, shelf / "stack.zarr", match=message)
    refused(shelf, *arguments, shelf / "stack.npy", match="stack.npy is a file; choose another pl")
    refused(shelf, *arguments, shelf / "bundle", match="bundle holds other files .*; choose a pla")


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (VOXELS[:2], [], r"labels have the shape \(2, 40, 36\) \(zyx\), but the image without"),
        (
            VOXELS,
            ["--classes", "a,b"],
            r"values .* outside the classes 0 to 1 \(a, b\); name every",
        ),
        (VOXELS, ["--classes", "a"], "classes 'a' are not usable; expected at least two different"),
        (VOXELS, ["--classes", "a,a"], "classes 'a, a' are not usable; expected at least two diff"),
        (VOXELS, ["--classes", "a,b", "--instances"], "both classes and instances were given"),
        (VOXELS.astype("int16") - 9, [], "hold the negative value -8; labels are 0 for background"),
        (VOXELS + 0.5, [], "are float64 with fractional values such as .*; expected integers: cla"),
        (np.arange(4320, dtype="u2").reshape(SHAPE), [], "more than 256 different .* --instances"),
    ],
)
def test_label_imports(shelf, tmp_path, labels, options, message):
    np.save(tmp_path / "labels.npy", labels)
    arguments = (tmp_path / "labels.npy", shelf / "stack.zarr", "--name", "other", *options)
    refused(shelf, "import-labels", *arguments, match=message)


def test_a_label_import_of_a_name_that_is_taken_or_unusable(shelf):
    arguments = ("import-labels", shelf / "stack.npy", shelf / "stack.zarr", "--name")
    message = "label 'truth' of .* is there already; choose another name"
    refused(shelf, *arguments, "truth", match=message)
    refused(shelf, *arguments, "a/b", match="label name 'a/b' is not usable")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a.png"], "a.png is no TIFF name; end it with .ome.tif"),
        (["there.tif"], "there.tif is there already; choose another name or remove it first"),
        (["a.tif", "--level", "9"], "level 9 is not in .*; it has 0 to 0"),
        (["a.tif", "--level", "-1"], "--level '-1': input should be greater than or equal to 0"),
        (["a.tif", "--labels", "none"], "label 'none' is not in"),
    ],
)
def test_exports(shelf, tmp_path, options, message):
    (tmp_path / "there.tif").write_text("")
    arguments = ("export", shelf / "stack.zarr", tmp_path / options[0], *options[1:])
    with unchanged(tmp_path):
        refused(shelf, *arguments, match=message)


# --- verification and bundles


def test_verification_of_a_label_without_records(shelf):
    message = "truth has no run records at .*; give --runs URL, or it was imported and has none"
    refused(shelf, "verify", shelf / "stack.zarr", "--labels", "truth", match=message)
    refused(shelf, "verify", shelf / "stack.zarr", "--labels", "none", match="label 'none' is not")


PACK = ["--classes", ",".join(CLASSES), "--intensity-percentiles", "1,99"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PACK[:2], "give --intensity-percentiles 1,99 .* or --intensity-range 0,255"),
        ([*PACK, "--intensity-range", "0,1"], "give --intensity-percentiles 1,99 .* or --intens"),
        (
            [*PACK[:3], "99,1"],
            r"intensities \(99.0, 1.0\) are not two rising numbers, such as 1,99",
        ),
        ([*PACK[:3], "1"], r"intensities \(1.0,\) are not two rising numbers"),
        ([*PACK, "--voxel-size", "1,1"], "--voxel-size and --unit go together; give both or neit"),
        ([*PACK, "--axes", "xyz"], "--axes 'xyz': input should be 'yx' or 'zyx'"),
        (PACK[2:], "--classes is missing; give class names by value, background first"),
        (["--classes", "a,b", *PACK[2:]], "softmax head has 3 channels, but 2 classes .* Name 3"),
        ([*PACK[:3], "1,101"], "intensity percentiles 1.0, 101.0 are not 0 <= low < high <= 100"),
    ],
)
def test_packs(thresholds_model, tmp_path, options, message):
    refused(tmp_path, "pack", thresholds_model, tmp_path / "bundle", *options, match=message)


@pytest.fixture(scope="module")
def thresholds_model(tmp_path_factory):
    return write_thresholds(tmp_path_factory.mktemp("model") / "bundle") / "model.keras"


def test_packs_of_what_is_no_model(shelf, tmp_path):
    missing = tmp_path / "none.keras"
    refused(
        shelf,
        "pack",
        missing,
        shelf / "new",
        *PACK,
        match="none.keras is not a file; expected a .ke",
    )
    (tmp_path / "text.keras").write_text("no model")
    message = "text.keras is not a whole Keras model; save it with model.save"
    refused(shelf, "pack", tmp_path / "text.keras", shelf / "new", *PACK, match=message)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("bundle", "bundle is a bundle already; choose another folder"),
        ("stack.zarr", r"stack.zarr holds other files \(0\); choose an empty folder"),
        ("stack.npy", "stack.npy is a file; choose another folder"),
        ("s3://me:word@bucket/bundle", "'s3://bucket/bundle' holds more than bucket and key"),
    ],
)
def test_places_that_are_no_new_bundle(shelf, thresholds_model, place, message):
    place = place if "://" in place else shelf / place
    refused(shelf, "pack", thresholds_model, place, *PACK, match=message)
    refused(shelf, "train", shelf / "none.yaml", "--out", place, match=message)


def test_a_bundle_on_a_read_only_disk_is_refused_before_the_work(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        make_read_only(disk)
        message = r"b cannot be written \(Read-only file system\); choose another folder"
        refused(disk, "train", disk / "none.yaml", "--out", disk / "b", match=message)
