"""From measured seconds to those of a run, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from flows.calibration import ShardRates, Sight, rates, spread, timed_sights
from flows.estimate import Measured, cost_of, estimate_stages
from flows.recorded_mask import RecordedMask
from flows.rehearsal import LevelRates, Rehearsal
from flows.report.plan_text import duration, stage_lines
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import ShardResult
from segmentation.tiling import TileSpec
from storage.blobs import Blobs
from storage.level_cells import level_cells
from storage.write_grid import WriteGrid

# Eight shards of 10 voxels, each a tile without a halo.
PLAN = ShardPlan((80,), Region((0,), (80,)), (10,), (10,), TileSpec((10,), (0,), (1,)), 1, 0)


def result(index, read, compute, write, size=5):
    seconds = {"read": read, "compute": compute, "device": compute / 2, "write": write}
    return ShardResult(index, {}, [], [{"key": "k", "size": size, "checksum": ""}], seconds)


def test_shards_are_spread_over_the_plan():
    assert spread(8, 3) == [1, 4, 6]
    assert spread(3, 3) == [0, 1, 2]
    assert spread(1, 3) == [0]
    assert spread(10**6, 3) == [166666, 500000, 833333]


def test_what_comes_before_the_last_worker_is_ready_does_not_count():
    first = [Sight(at, result(0, 0, 0, 0)) for at in (5.0, 6.0, 7.5, 8.5)]
    second = [Sight(at, result(0, 0, 0, 0)) for at in (7.0, 8.0)]
    timed = timed_sights([first, second])
    assert [[sight.at for sight in sights] for sights in timed] == [[6.0, 7.5, 8.5], [7.0, 8.0]]


def test_rates_where_nothing_overlaps():
    """Three shards of 1 + 6 + 2 seconds came in within 30: the driver took a ninth more."""
    sights = [Sight(20.0 + 10 * i, result(i, 1.0, 6.0, 2.0)) for i in range(4)]
    found = rates(PLAN, [sights], in_flight=1)
    assert (found.read, found.compute, found.write) == pytest.approx((0.1, 0.6, 0.2))
    assert found.overlap == pytest.approx(10 / 9)
    assert found.opening == pytest.approx(20 - 9)
    assert (found.fill, found.stored, found.workers) == (0.0, 0.5, 1)


def test_rates_where_reading_and_writing_overlap_with_the_device():
    """Of 1 + 3 (the device's) + 2 seconds, the device sets the pace."""
    sights = [Sight(20.0 + 3 * i, result(i, 1.0, 6.0, 2.0)) for i in range(4)]
    found = rates(PLAN, [sights], in_flight=3)
    assert found.compute == pytest.approx(0.3)
    assert found.overlap == pytest.approx(0.5)
    assert found.fill == pytest.approx(3.0)
    assert found.opening == pytest.approx(20 - 9)


def test_a_first_shard_that_took_turns_with_others_does_not_make_the_opening_longer():
    """It waited for 18 of its 24 seconds; compiling took 3 of the 6 that it had the device."""
    begun = ShardResult(0, {}, [], [], {"read": 1.0, "compute": 24.0, "device": 6.0, "write": 2.0})
    sights = [Sight(30.0 + 3 * i, result(i, 1.0, 6.0, 2.0)) for i in range(1, 4)]
    found = rates(PLAN, [[Sight(30.0, begun), *sights]], in_flight=3)
    assert found.opening == pytest.approx(30 - 27 + 3)


def test_a_first_shard_larger_than_the_others_does_not_make_the_opening_longer():
    """10 voxels in 9 seconds, of which 3 compiled; 5 voxels take 3."""
    whole = Region((0,), (15,))
    plan = replace(PLAN, shape=(15,), region=whole, spec=TileSpec((5,), (0,), (1,)))
    begun = ShardResult(0, {}, [], [], {"read": 1.0, "compute": 9.0, "device": 9.0, "write": 2.0})
    sights = [Sight(30.0 + 3 * i, result(1, 1.0, 6.0, 2.0)) for i in range(1, 4)]
    found = rates(plan, [[Sight(30.0, begun), *sights]], in_flight=3)
    assert found.opening == pytest.approx(30 - 12 + 3)


def test_a_device_computes_one_shard_at_a_time():
    """Two that took turns came in together: three shards within two of the device's times."""
    sights = [Sight(at, result(i, 1.0, 12.0, 2.0)) for i, at in enumerate((20, 20, 32, 32))]
    found = rates(PLAN, [sights], in_flight=3)
    assert found.overlap == pytest.approx(6 / 9)


def test_a_worker_does_no_more_at_a_time_than_it_has_in_flight():
    """The reads of the first shards came before the interval; a run has to wait for its own."""
    sights = [Sight(20.0 + 0.1 * i, result(i, 9.0, 0.2, 0.9)) for i in range(4)]
    found = rates(PLAN, [sights], in_flight=3)
    assert found.overlap == pytest.approx(1 / 3)


def measured(**changes):
    shards = ShardRates(
        opening=4.0, read=0.1, compute=0.3, write=0.2, overlap=0.5, fill=3.0, stored=2.0, workers=1
    )
    rest = Rehearsal(
        lanes=2,
        truth=1.5,
        levels=LevelRates(beginning=0.5, seconds=0.1, stored=1.0),
        check=0.01,
        record=0.001,
        aggregate=0.2,
        publish=0.1,
        report=0.4,
    )
    return Measured(**({"cluster": 2.0, "plan": 1.0, "shards": shards, "rest": rest} | changes))


@pytest.fixture
def run(monkeypatch):
    """What an estimate looks at: 80 voxels in cells of 10, and 40 in cells of 20."""
    grids = [("0", WriteGrid((80,), (10,))), ("1", WriteGrid((40,), (20,)))]
    mask = RecordedMask("", Blobs("."), "", PLAN, level_cells(grids, (0,), (80,)))
    monkeypatch.setattr("flows.estimate.mask_of", lambda _run: mask)
    return SimpleNamespace(plan=PLAN, prepared=SimpleNamespace(is_whole=True))


def test_stages_by_hand(run):
    stages = estimate_stages(measured(), run, workers=1)
    assert {name: stage["seconds"] for name, stage in stages.items()} == {
        "start": 6.0,
        "plan": 2.5,
        # 8 shards of (1 + 3 + 2) / 2 seconds, and 3 before and after them.
        "infer": 27.0,
        # 80 finer voxels of 0.1 s on two lanes, and the beginning.
        "pyramid": 4.5,
        # 160 and 40 bytes of 0.01 s in a task each, and three times 8 records.
        "verify": 2.024,
        "aggregate": 0.208,
        "publish": 0.1,
        "report": 0.4,
    }
    assert list(stages)[:3] == ["start", "plan", "infer"]
    assert stages["infer"]["seconds_per_shard"] == 3.0
    assert stages["infer"]["compute_per_shard"] == 3.0


def test_the_last_round_leaves_workers_idle(run):
    stages = estimate_stages(measured(), run, workers=3)
    assert stages["infer"]["seconds"] == 3 * 3.0 + 3.0


def test_skipped_voxels_are_not_computed(run):
    stages = estimate_stages(measured(), run, workers=1, skip_share=0.5)
    assert stages["infer"]["seconds"] == 8 * (1 + 1.5 + 2) / 2 + 3.0


def test_a_region_is_not_published(run):
    run.prepared.is_whole = False
    assert estimate_stages(measured(), run, workers=1)["publish"]["seconds"] == 0.0


def test_cost():
    assert cost_of(1800.0, 4, None) is None
    assert cost_of(1800.0, 4, 1.5) == {"price_per_hour": 1.5, "worker_hours": 2.0, "total": 3.0}
    assert cost_of(1800.0, 4, 0.0)["total"] == 0.0


def test_the_lines_say_stages_total_and_cost(run):
    stages = estimate_stages(measured(), run, workers=1)
    result = {"stages": stages, "estimated_seconds": 43.0, "workers": 1}
    text = stage_lines(result | {"cost": cost_of(7200.0, 1, 2.5)})
    assert "stage infer: 27 s; read 1 s, compute 3 s, write 2 s a shard\n" in text
    assert "stage start: 6 s; cluster 2 s, workers ready 4 s\n" in text
    assert text.endswith("total: 43 s with 1 worker\ncost: 5.00 = 2 worker hours at 2.5\n")
    assert "cost" not in stage_lines(result | {"cost": None})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0312, "0.031 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (75, "1 min 15 s"),
     (3599.9, "1 h 0 min"), (7320, "2 h 2 min"), (86399, "1 d 0 h"), (200_000, "2 d 8 h")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
