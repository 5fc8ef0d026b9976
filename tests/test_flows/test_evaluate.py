"""Evaluation of stored masks: the digits of the run, any number of workers, specimens, pairs."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows import evaluation as evaluations
from flows import evaluation_run
from flows.errors import IncompleteRunError
from flows.evaluation import Evaluation, open_evaluation
from flows.evaluation_stages import collect, count_shards, join_components
from flows.executors import Executor, Outcome, SerialExecutor
from flows.jobs import EvaluateJob
from flows.progress import Progress
from flows.shard_stage import Execution
from segmentation import plan
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores
from storage.volume import open_label
from tests.test_flows.conftest import CLASSES
from tests.test_flows.images import VOXEL_SIZE, make_image, make_label, maskmill
from tests.test_flows.runs import segment

EVERYTHING = {"instances": True, "surface": True, "tolerances": (0.02, 0.06), "cap": 0.12}


def blobs(seed: int, shape: tuple[int, ...] = (24, 40, 36)) -> Any:
    """Labels 0 to 2 in lumps that cross the borders of small shards."""
    coarse = np.random.default_rng(seed).integers(0, 3, [-(-n // 5) for n in shape], np.uint8)
    for axis in range(len(shape)):
        coarse = np.repeat(coarse, 5, axis=axis)
    return coarse[tuple(slice(0, n) for n in shape)]


def make_pair(folder: Path, name: str = "stack", seed: int = 0, **options: Any) -> str:
    """An image with a truth, a mask and another mask; its URL."""
    truth = blobs(seed)
    image = make_image(folder, truth + np.uint8(1), name=name, voxel_size=VOXEL_SIZE, **options)
    mask = np.roll(truth, 2, axis=2)
    mask[truth == 2] = 0
    mask[: len(mask) // 2][truth[: len(mask) // 2] == 2] = 2
    other = np.where(np.roll(truth, 1, axis=1) == 1, 1, 0).astype(np.uint8)
    for label, voxels in (("truth", truth), ("cells", mask), ("other", other)):
        make_label(image, voxels, name=label, classes=CLASSES)
    return image


def job_for(image: str, **fields: Any) -> EvaluateJob:
    given = {"image": image, "labels": "cells", "truth": "truth", "executor": "serial"}
    return EvaluateJob(**(given | fields))


def evaluate(image: str, *flags: str, **fields: Any) -> dict[str, Any]:
    """The command in this process; its document."""
    options = {"labels": "cells", "truth": "truth", "executor": "serial"} | fields
    named = (text for name, value in options.items() for text in (f"--{name}", str(value)))
    answer = maskmill("evaluate", image, *named, *flags, "--json")
    assert answer.code == 0, answer.err
    return dict(answer.document)


def opened(job: EvaluateJob, url: str) -> Evaluation:
    evaluation = replace(evaluations.prepare_evaluation(job, "attempt-1"), url=url)
    return open_evaluation(evaluation)


def finished(evaluation: Evaluation, executor: Executor) -> bytes:
    """All stages; result.json."""
    execution = Execution(executor, threading.Event(), Progress)
    count_shards(evaluation, execution)
    join_components(evaluation, execution)
    collect(evaluation)
    return evaluation.blobs.read("result.json")


class Scrambled:
    """Gives every outcome late, in another order, some only after a first try came to nothing."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def map(self, work: Any, items: Any, stop: threading.Event) -> Any:
        function = work.open()
        order = self.random.permutation(list(items)).tolist()
        for item in order[::3]:
            function(item)
        for item in order:
            yield Outcome(item, function(item), attempts=1 + item % 2)

    def dask_scheduler(self) -> Any:
        return "synchronous"

    def close(self) -> None:
        return


@pytest.fixture
def pair(tmp_path: Path, many_cells: None) -> str:
    return make_pair(tmp_path)


def test_neither_order_nor_retries_change_a_byte(pair: str, tmp_path: Path) -> None:
    job = job_for(pair, **EVERYTHING, against="other")
    expected = finished(opened(job, str(tmp_path / "serial")), SerialExecutor())
    evaluation = opened(job, str(tmp_path / "again"))
    assert len(evaluation.work) > 20
    assert finished(evaluation, Scrambled(0)) == expected
    assert finished(opened(job, str(tmp_path / "third")), Scrambled(1)) == expected
    result = json.loads(expected)
    assert {"surface", "instances", "components", "comparison", "map", "slices"} <= set(result)


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(
    pair: str, tmp_path: Path, ray_executor: Any
) -> None:
    job = job_for(pair, **EVERYTHING)
    expected = finished(opened(job, str(tmp_path / "serial")), SerialExecutor())
    for workers in (1, 2, 7):
        executor = replace(ray_executor, workers=workers, cpus_per_worker=0.25)
        assert finished(opened(job, str(tmp_path / str(workers))), executor) == expected


def test_a_missing_shard_is_no_background(pair: str, tmp_path: Path) -> None:
    evaluation = opened(job_for(pair), str(tmp_path / "run"))
    stop = threading.Event()

    class Stopping(SerialExecutor):
        def map(self, work: Any, items: Any, stop: threading.Event) -> Any:
            for outcome in super().map(work, items, stop):
                yield outcome
                if outcome.item == 3:
                    stop.set()

    with pytest.raises(IncompleteRunError, match="stopped at a shard border"):
        count_shards(evaluation, Execution(Stopping(), stop, Progress))
    with pytest.raises(IncompleteRunError, match="shards have no record"):
        collect(evaluation)
    done = evaluation.stage("count").completed().sum()
    assert 4 <= done < len(evaluation.work)
    expected = finished(opened(job_for(pair), str(tmp_path / "whole")), SerialExecutor())
    assert finished(evaluation, SerialExecutor()) == expected


def test_a_resumed_evaluation_keeps_its_shards(
    pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(job_for(pair), str(tmp_path / "run"))
    expected = finished(first, SerialExecutor())
    # Larger shards would be planned now; the records are numbered by the smaller ones.
    monkeypatch.setattr(plan, "TRIVIAL_SHARD_VOXELS", 2**24)
    assert len(evaluations.prepare_evaluation(job_for(pair), "b").work) == 1
    again = opened(job_for(pair), first.url)
    assert len(again.work) == len(first.work) > 20
    assert finished(again, SerialExecutor()) == expected


def test_statistics_that_were_damaged_are_counted_again(pair: str, tmp_path: Path) -> None:
    job = job_for(pair, **EVERYTHING)
    evaluation = opened(job, str(tmp_path / "run"))
    expected = finished(evaluation, SerialExecutor())
    stored = sorted((tmp_path / "run" / "statistics").iterdir())
    stored[2].write_bytes(stored[2].read_bytes()[:-7])
    stored[5].unlink()
    assert finished(evaluation, SerialExecutor()) == expected


def test_segment_and_evaluate_give_the_same_digits(tiny_image: str, tiny_bundle: str) -> None:
    run, _ = segment(
        image=tiny_image,
        model=tiny_bundle,
        name="cells",
        truth="truth",
        probabilities=True,
        any_voxel_size=True,
    )
    ours = json.loads(run.blobs.read("result.json"))
    alone = evaluate(tiny_image, "--probabilities")
    shared = set(ours) & set(alone) - {"digest", "schema", "truth", "run", "report"}
    assert {"classes", "confusion", "slices", "map", "images", "intervals", "probability"} <= shared
    assert {key: alone[key] for key in shared} == {key: ours[key] for key in shared}


def test_an_evaluation_is_not_done_twice(pair: str) -> None:
    first = evaluate(pair)
    again = evaluate(pair)
    assert again.pop("already_done")
    assert again == first


class Clock:
    """It always says the same."""

    def __init__(self, year: int) -> None:
        self.year = year

    def now(self, _zone: Any) -> datetime:
        return datetime(self.year, 1, 1, tzinfo=UTC)


def test_an_attempt_sorts_after_every_earlier_one(
    pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clock went back: of two records of a shard the later attempt's counts."""
    attempts = []
    for year in (2040, 2030):
        monkeypatch.setattr(evaluation_run, "datetime", Clock(year))
        run = Path(evaluation_run.run_evaluation(job_for(pair))["run"])
        attempts.append(json.loads((run / "timings.json").read_text())["attempt"])
        (run / "result.json").unlink()
    assert [attempt[:16] for attempt in attempts] == ["20400101T000000-", "20400101T000001-"]


def test_every_level_is_scored_side_by_side(pair: str) -> None:
    result = evaluate(pair)
    slices, images = result["slices"]["rows"], result["images"]
    assert [row["index"] for row in slices] == list(range(24))
    assert sum(row["voxels"] for row in slices) == result["voxels"] == images[0]["voxels"]
    # Synapse is missed in the lower half of the stack and has its own score in every section.
    assert slices[20]["dice"][2] == 0.0
    assert slices[2]["dice"][2] > 0.8
    assert result["intervals"]["method"] is None
    assert "An interval cannot be estimated from 1 specimen" in result["intervals"]["note"]
    assert sum(row["voxels"] for row in result["map"]["rows"]) == result["voxels"]


def test_planes_may_be_images(pair: str) -> None:
    answer = maskmill(
        *("evaluate", pair, "--labels", "cells", "--truth", "truth", "--executor", "serial"),
        *("--images-along", "z", "--instances", "--json"),
    )
    result = answer.document
    assert len(result["images"]) == 24
    assert (result["intervals"]["unit"], result["intervals"]["method"]) == ("image", "bootstrap")
    assert result["instances"]["images"] == 24
    low, high = (result["intervals"]["scores"][0][key] for key in ("low", "high"))
    assert low < result["macro_foreground_dice"] < high


def test_a_catalog_gives_specimens(tmp_path: Path, many_cells: None) -> None:
    entries = []
    for number in range(4):
        make_pair(tmp_path, f"fly{number}", seed=number)
        entries.append(
            {"image": f"fly{number}.zarr", "label": "truth", "group": f"fly{number // 2 * 2}"}
        )
    entries[3]["group"] = "fly3"
    path = tmp_path / "flies.yaml"
    path.write_text(yaml.safe_dump({"volumes": entries}))
    answer = maskmill("evaluate", path, "--labels", "cells", "--executor", "serial", "--json")
    assert answer.code == 0, answer.err
    result = answer.document
    assert [group["group"] for group in result["groups"]] == ["fly0", "fly2", "fly3"]
    assert [group["images"] for group in result["groups"]] == [2, 1, 1]
    assert (result["intervals"]["unit"], result["intervals"]["method"]) == ("specimen", "t")
    pooled = np.sum([image["voxels"] for image in result["images"]])
    assert pooled == result["voxels"] == 4 * 24 * 40 * 36
    assert Path(result["run"]).parent == Path(f"{path}.runs")


def test_two_masks_are_compared_pair_by_pair(pair: str) -> None:
    answer = maskmill(
        *("evaluate", pair, "--labels", "cells", "--truth", "truth", "--executor", "serial"),
        *("--images-along", "z", "--instances", "--against", "other", "--json"),
    )
    found = answer.document["comparison"]
    assert (found["first"], found["second"], found["groups"]) == ("cells", "other", 24)
    synapse = next(row for row in found["scores"] if row["value"] == 2)
    # The other mask has no synapse; this one has it in half of the sections.
    assert synapse["difference"] > 0
    assert synapse["p_holm"] >= synapse["p"]
    voxels = {row["name"]: row for row in found["voxels"]}
    assert voxels["synapse"]["second_only"] == voxels["synapse"]["both"] == 0
    support = answer.document["classes"][2]["support"]
    assert sum(voxels["synapse"][k] for k in ("first_only", "neither")) == support
    assert found["objects"]["test"].startswith("McNemar")


def test_a_report_is_written_again_from_the_records(pair: str) -> None:
    result = evaluate(pair, "--instances")
    run = Path(result["run"])
    before = {name: (run / name).read_bytes() for name in ("result.json", "report.html")}
    for name in before:
        (run / name).unlink()
    answer = maskmill("report", run)
    assert answer.code == 0, answer.err
    assert f"report: {run}/report.html" in answer.out
    assert (run / "result.json").read_bytes() == before["result.json"]
    assert (run / "report.html").read_bytes() == before["report.html"]


def test_the_report_of_a_segmentation_is_written_again(tiny_image: str) -> None:
    run, _ = segment(image=tiny_image, truth="truth")
    result = run.blobs.read("result.json")
    run.blobs.write("result.json", b"{}")
    assert maskmill("report", run.url).code == 0
    assert run.blobs.read("result.json") == result
    assert b"Macro-foreground" in run.blobs.read("report.html")


def test_counts_agree_with_the_whole_arrays(pair: str, tmp_path: Path) -> None:
    truth = blobs(0)
    result = evaluate(pair)
    mask = open_label(pair, "cells").volumes[0][:]
    expected = scores(ConfusionMatrix.from_labels(truth, mask, 3), CLASSES)
    assert {key: result[key] for key in expected} == expected
