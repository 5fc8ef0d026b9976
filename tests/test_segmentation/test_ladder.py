"""The ladder: rungs by hand, calls that take what they are said to, memory that ends."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from segmentation import ladder
from segmentation.ladder import Step, TileCost, climb, fit, measure_network, rungs
from segmentation.planner import Needs, make_plan
from segmentation.region import Region


def takes(overhead, slope):
    """A device on which a call takes a fixed time and a time for every voxel."""

    def measure(rung):
        batch, tile = rung
        return overhead + slope * batch * np.prod(tile)

    return measure


def test_rungs_by_hand():
    # Squares from 64 on, cubes from 16 on; sides are multiples of the stride.
    assert [tile for _, tile in islice(rungs((8, 8), 2**40), 3)] == [
        (64, 64),
        (128, 128),
        (256, 256),
    ]
    assert list(rungs((12, 8), 2**13)) == [(1, (72, 64))]
    assert [tile for _, tile in rungs((4, 4, 4), 2**15)] == [(16, 16, 16), (32, 32, 32)]
    # The one tile of a network that is not exact, as many at once as memory allows.
    assert list(rungs((8, 8), 5000, tile=(32, 32))) == [(n, (32, 32)) for n in (1, 2, 4)]
    assert list(rungs((8, 8), 1, tile=(32, 32))) == [(1, (32, 32))]


@pytest.mark.parametrize(("overhead", "slope"), [(1e-3, 4e-7), (5e-3, 1e-8), (1e-5, 1e-6)])
def test_the_fit_finds_what_a_call_takes(overhead, slope):
    cost = fit(climb(takes(overhead, slope), rungs((8, 8), 2**24)))
    assert cost.overhead_voxels == pytest.approx(overhead / slope, rel=1e-3, abs=1)
    # Within 2 % of the fastest rung.
    assert overhead / (cost.batch_voxels * slope) < 0.05


def test_the_ladder_ends_when_calls_gain_no_speed():
    steps = climb(takes(0.0, 1e-6), rungs((8, 8), 2**40))
    assert [step.voxels for step in steps] == [2**12, 2**14, 2**16]
    assert fit(steps) == TileCost(0, 2**12)


def test_a_device_that_is_slower_with_larger_calls_is_given_small_ones():
    steps = [Step(2**12, 1e-3), Step(2**14, 6e-3), Step(2**16, 40e-3)]
    assert fit(steps) == TileCost(0, 2**12)


def test_time_ends_the_ladder(monkeypatch):
    monkeypatch.setattr(ladder, "LADDER_SECONDS", 0.0)
    assert len(climb(takes(1.0, 1e-9), rungs((8, 8), 2**40))) == 1


def limited(most, error):
    def measure(rung):
        voxels = rung[0] * np.prod(rung[1])
        if voxels > most:
            raise error
        return 1e-2 + 1e-8 * voxels

    return measure


def test_memory_that_ends_is_the_last_rung():
    steps = climb(limited(2**14, MemoryError()), rungs((8, 8), 2**40))
    assert [step.voxels for step in steps] == [2**12, 2**14]
    assert fit(steps).batch_voxels == 2**14


@pytest.mark.parametrize(("most", "error"), [(2**14, ValueError("no")), (0, MemoryError())])
def test_any_other_error_is_none_of_the_ladders(most, error):
    with pytest.raises(type(error)):
        climb(limited(most, error), rungs((8, 8), 2**40))


class Network:
    """Halves its batch as `NetworkPredictor` does."""

    channels = 2
    batch_size = 1

    def __init__(self, most):
        self.most, self.shapes = most, []

    def predict_classes(self, tiles):
        self.batch_size = min(self.batch_size, self.most)
        self.shapes.append(tiles.shape)


def test_a_network_is_measured_with_its_channels_and_batch():
    network = Network(4)
    assert measure_network(network)((4, (8, 16))) >= 0
    assert set(network.shapes) == {(4, 8, 16, 2)}
    with pytest.raises(MemoryError, match=r"8 tiles of \(8, 16\) do not fit"):
        measure_network(network)((8, (8, 16)))


def plan_with(cost):
    return make_plan(
        shape=(512, 512),
        region=Region.whole((512, 512)),
        cell=(512, 512),
        stride=(8, 8),
        halo=(8, 8),
        network_axes=2,
        needs=Needs(reserved=0, read_voxel=1, write_voxel=1, tile_voxel=100),
        memory_bytes=2**24,
        cost=cost,
    )


def test_a_plan_follows_the_measured_cost():
    """Where calls cost nothing, small tiles; where they cost much, as large as memory allows."""
    dear, cheap = plan_with(TileCost(2**16, 2**18)), plan_with(TileCost(0, 2**12))
    assert dear.spec.voxels >= cheap.spec.voxels
    assert cheap.batch == 1
    many = plan_with(TileCost(0, 2**20))
    assert many.projected_bytes <= 2**24
