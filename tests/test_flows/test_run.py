import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import IncompleteRunError, RequestError
from flows.executors import SerialExecutor
from flows.jobs import SegmentJob
from storage.labels import listed
from storage.volume import open_image, open_label
from tests.test_flows.runs import (
    attempts,
    finish,
    infer,
    least_budget,
    make_image,
    make_truth,
    naive_mode,
    segment,
    small_cells,
    start,
    stored,
)
from tests.test_flows.works import StopAfter

AXES = {"yx": "yx", "zyx": "zyx", "tzyx": "tzyx", "cyx": "yx", "czyx": "zyx", "tczyx": "tzyx"}
LARGEST = {"t": 3, "c": 3, "z": 36, "y": 40, "x": 40}


@st.composite
def stacks(draw):
    """Axes, voxels and the channel to take, of sizes that no grid and no tile divides."""
    axes = draw(st.sampled_from(sorted(AXES)))
    shape = tuple(draw(st.integers(1, LARGEST[axis])) for axis in axes)
    dtype = draw(st.sampled_from(["uint8", "uint16"]))
    top = draw(st.sampled_from([3, np.iinfo(dtype).max]))
    seed = draw(st.integers(0, 2**16))
    voxels = np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)
    channel = draw(st.integers(0, shape[axes.index("c")] - 1)) if "c" in axes else None
    return axes, voxels, channel


def check_identity(folder, stack, memory, executor=None):
    """Voxels through import, plan, executor and pyramid: the same bits, the naive levels."""
    axes, voxels, channel = stack
    with small_cells():
        image = make_image(folder, voxels, axes)
        channels = None if channel is None else (channel,)
        run, _ = segment(executor, image=image, memory=memory, channels=channels)
        mask = open_label(image, "mask").volumes
    expected = voxels if channel is None else voxels.take(channel, axis=axes.index("c"))
    assert mask[0].axes == AXES[axes]
    for level in mask:
        if level is not mask[0]:
            expected = naive_mode(expected, level.shape)
        found = level[...]
        assert found.dtype == voxels.dtype
        assert np.array_equal(found, expected)
    return run


@settings(max_examples=20)
@given(stack=stacks(), memory=st.sampled_from([2**18, 2**19, 2**24]))
def test_identity_returns_the_volume_bit_for_bit(tmp_path_factory, stack, memory):
    check_identity(tmp_path_factory.mktemp("identity"), stack, memory)


@pytest.mark.slow
@settings(max_examples=10)
@given(stack=stacks(), memory=st.sampled_from([2**18, 2**19, 2**24]))
def test_identity_through_ray_returns_the_volume_bit_for_bit(
    tmp_path_factory, ray_executor, stack, memory
):
    check_identity(tmp_path_factory.mktemp("identity"), stack, memory, ray_executor)


def test_many_shards_through_ray_return_the_volume_bit_for_bit(tmp_path, ray_executor):
    voxels = np.random.default_rng(0).integers(0, 2**16, (2, 37, 41, 25), np.uint16)
    run = check_identity(tmp_path, ("czyx", voxels, 1), 2**18, ray_executor)
    assert len(run.plan) > 8
    assert len(run.prepared.image.volumes) > 2


def test_result_counts_every_voxel_once(tiny_image):
    run, result = segment(image=tiny_image, truth="truth", memory=2**17)
    # The mask is the image; of its three values the truth has made 2 into 1.
    voxels = open_image(tiny_image).volumes[0][...]
    zeros, ones, twos = (int((voxels == value).sum()) for value in range(3))
    assert result["confusion"] == [[zeros, 0, 0], [0, ones, twos], [0, 0, 0]]
    assert result["voxels"] == voxels.size
    assert result["shards"] == {
        "planned": len(run.plan), "done": len(run.plan), "skipped": 0, "failed": 0,
    }  # fmt: skip
    assert json.loads(run.blobs.read("result.json")) == result


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_serial_and_ray_give_the_same_bytes(tiny_image, ray_executor, one_ray_worker, workers):
    serial, _ = segment(image=tiny_image, truth="truth", memory=2**17)
    executor = ray_executor if workers == 2 else one_ray_worker
    elsewhere = f"{tiny_image}.other"
    ray, _ = segment(
        executor,
        image=tiny_image,
        truth="truth",
        memory=2**17,
        workers=workers,
        runs=f"{elsewhere}/runs",
        force=True,
    )
    assert len(serial.plan) > 4
    # A forced version bears another folder name; of its provenance nothing else differs.
    ours, theirs = stored(serial.target), stored(ray.target)
    group = theirs.pop("zarr.json").replace(ray.directory.encode(), serial.directory.encode())
    assert ours.pop("zarr.json") == group
    assert ours == theirs
    assert serial.blobs.read("result.json") == ray.blobs.read("result.json")


def test_shards_that_overlap_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(4)
    voxels = rng.integers(0, 5, (24, 160, 96), np.uint8)
    with small_cells():
        image = make_image(tmp_path, voxels, "zyx")
        make_truth(image, rng.integers(0, 5, voxels.shape, np.uint8), "zyx")
        fields = {
            "image": image,
            "truth": "truth",
            "memory": least_budget(image=image, model="identity"),
        }
        (one, _), (three, _) = (
            segment(SerialExecutor(in_flight=n), **fields, runs=str(tmp_path / f"runs-{n}"),
                    out=str(tmp_path / f"out-{n}" / "o.zarr"))
            for n in (1, 3)
        )  # fmt: skip
    assert len(one.plan) > 4
    assert stored(one.target) == stored(three.target)
    assert one.blobs.read("result.json") == three.blobs.read("result.json")


@pytest.mark.slow
def test_serial_and_ray_give_the_same_bytes_with_a_network(
    tmp_path, tiny_bundle, ray_executor, one_ray_worker
):
    rng = np.random.default_rng(5)
    voxels = rng.integers(0, 256, (5, 150, 130), np.uint8)
    with small_cells():
        image = make_image(tmp_path, voxels, "zyx")
        make_truth(image, rng.integers(0, 3, voxels.shape, np.uint8), "zyx")
        budget = least_budget(image=image, model=tiny_bundle, truth="truth")
        found = [
            segment(executor, image=image, model=tiny_bundle, truth="truth", memory=budget,
                    runs=str(tmp_path / f"runs-{i}"), out=str(tmp_path / f"out-{i}" / "o.zarr"))
            for i, executor in enumerate(
                [SerialExecutor(), SerialExecutor(in_flight=3), one_ray_worker, ray_executor]
            )
        ]  # fmt: skip
    (first, result), *others = found
    assert len(first.plan) > 4
    assert min(share["voxels"] for share in result["shares"]) > 0
    for run, _ in others:
        assert stored(first.target) == stored(run.target)
        assert first.blobs.read("result.json") == run.blobs.read("result.json")


def test_a_run_over_a_region_is_not_published(tiny_image):
    run, result = segment(image=tiny_image, region="z=3:30,y=5:40", memory=2**17)
    assert listed(tiny_image) == ("truth",)
    assert not run.blobs.exists("published.json")
    voxels = open_image(tiny_image).volumes[0][...]
    inside = np.zeros(voxels.shape, bool)
    inside[3:30, 5:40] = True
    assert np.array_equal(open_label(tiny_image, run.directory).volumes[0][...][inside],
                          voxels[inside])  # fmt: skip
    assert result["voxels"] == inside.sum()


def test_force_makes_another_version_and_lists_it_instead(tiny_image):
    first, _ = segment(image=tiny_image)
    second, _ = segment(image=tiny_image, force=True)
    third, _ = segment(image=tiny_image, force=True)
    assert second.directory == f"{first.directory}-2"
    assert third.directory == f"{first.directory}-3"
    assert listed(tiny_image) == ("truth", third.directory)
    assert json.loads(third.blobs.read("published.json"))["replaced"] == [second.directory]


def test_an_unfinished_forced_version_is_gone_on_with(tiny_image):
    segment(image=tiny_image)
    job = SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17, force=True)
    first = start(job)
    with pytest.raises(IncompleteRunError):
        infer(first, StopAfter(3))
    second = start(job)
    assert second.directory == first.directory
    assert second.manifest.completed("infer", len(second.plan)).sum() == 3


def test_a_stop_at_a_shard_border_keeps_what_is_finished(tiny_image):
    job = SegmentJob(image=tiny_image, model="identity", name="mask", memory=2**17)
    first = start(job)
    planned = len(first.plan)
    with pytest.raises(
        IncompleteRunError, match=rf"shard border with {planned - 5} of {planned} shards"
    ) as caught:
        infer(first, StopAfter(5))
    assert caught.value.result["shards"]["done"] == 5
    assert "mask" not in "".join(listed(tiny_image))
    second = start(job)
    infer(second)
    finish(second)
    made_by = attempts(second.url)
    assert [made_by[i] for i in range(5)] == [[first.attempt]] * 5
    assert [made_by[i] for i in range(5, planned)] == [[second.attempt]] * (planned - 5)


@pytest.mark.parametrize("changed", [{"memory": 2**24}, {"workers": 2}, {"executor": "serial"}])
def test_another_budget_or_worker_count_goes_on_with_the_same_run(tiny_image, changed):
    asked = {"image": tiny_image, "model": "identity", "name": "mask", "memory": 2**17}
    first = start(SegmentJob(**asked))
    with pytest.raises(IncompleteRunError):
        infer(first, StopAfter(4))
    second = start(SegmentJob(**asked | changed))
    assert second.url == first.url
    # The plan as it was first made, though another budget would have planned otherwise.
    assert second.plan == first.plan
    infer(second)
    assert sum(len(made) for made in attempts(second.url).values()) == len(first.plan)


@pytest.mark.parametrize("change", ["voxels", "metadata", "region"])
def test_what_can_change_a_voxel_makes_another_run(tiny_image, change, tmp_path):
    asked = {"image": tiny_image, "model": "identity", "name": "mask"}
    first = start(SegmentJob(**asked))
    if change == "region":
        asked["region"] = "z=0:8"
    elif change == "metadata":
        path = tmp_path / "image.zarr" / "zarr.json"
        path.write_text(path.read_text().replace('"name": "image"', '"name": "renamed"'))
    else:
        chunk = next(p for p in (tmp_path / "image.zarr" / "0" / "c").rglob("*") if p.is_file())
        chunk.write_bytes(chunk.read_bytes())
    assert start(SegmentJob(**asked)).prepared.key != first.prepared.key


def test_a_folder_of_another_run_is_refused(tiny_image):
    job = SegmentJob(image=tiny_image, model="identity", name="mask")
    run = start(job)
    document = json.loads(run.blobs.read("run.json")) | {"digest": "0" * 64}
    run.blobs.write("run.json", json.dumps(document).encode())
    with pytest.raises(RequestError, match="holds another run"):
        start(job)


def test_changed_truth_is_counted_anew_without_inference(tiny_image, tmp_path):
    run, before = segment(image=tiny_image, truth="truth", memory=2**17)
    made_by = attempts(run.url)
    mask = open_image(tiny_image).volumes[0][...]
    make_truth(tiny_image, mask, "zyx", "exact", ("background", "membrane", "synapse"))
    again, after = segment(image=tiny_image, truth="exact", memory=2**17)
    assert attempts(again.url) == made_by
    assert before["accuracy"] < after["accuracy"] == 1.0
    assert after["voxels"] == mask.size
    # Both counts are kept: the first truth is not counted a third time.
    once_more, result = segment(image=tiny_image, truth="truth", memory=2**17)
    assert result == before
    assert attempts(once_more.url) == made_by
