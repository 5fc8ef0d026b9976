"""A worker's memory by hand: the program, shards in flight, cells that are encoded, tiles."""

from types import SimpleNamespace

import pytest

from flows.sizing import (
    MEBIBYTE,
    RESERVED_COUNTING,
    RESERVED_IDENTITY,
    RESERVED_KERAS,
    plan_shards,
)
from segmentation.bundle import MODEL_FILE
from segmentation.region import Region
from storage.labels import LabelLayout

SIDE = 64
WEIGHTS = 1000


@pytest.fixture
def folder(tmp_path):
    """A bundle's folder with a model file of a known size."""
    tmp_path.joinpath(MODEL_FILE).write_bytes(bytes(WEIGHTS))
    return str(tmp_path)


def network(folder, *, exact=True):
    """A 2D network of stride 1 without a halo: 100 bytes of activations a voxel, 3 classes."""
    card = SimpleNamespace(
        axes="yx",
        stride=(1, 1),
        halo=(0, 0),
        tile=(SIDE, SIDE),
        exact=exact,
        classes=(None,) * 3,
        activation_bytes=100,
        precision="float32",
    )
    return SimpleNamespace(card=card, folder=folder)


def projected(model, *, depth, dtype="uint8", channels=1, probabilities=False, truth=None):
    """Bytes of a plan whose shards are a cell of 4 × 64 × 64 each."""
    shape, cell = (depth, SIDE, SIDE), (4, SIDE, SIDE)
    job = SimpleNamespace(memory=10**12, workers=1, probabilities=probabilities, precision=None)
    image = SimpleNamespace(volumes=[SimpleNamespace(dtype=dtype)])
    mask = dtype if model.card is None else "uint8"
    layout = LabelLayout("zyx", (shape,), (cell,), (cell,))
    truth = SimpleNamespace(volumes=[SimpleNamespace(dtype=truth)]) if truth else None
    region = Region.whole(shape)
    plan = plan_shards(job, image, model, layout, region, channels, mask, truth=truth)
    # Without a network a tile may be a whole volume as small as this one.
    assert plan.shard_shape == (cell if model.card else shape)
    voxels = plan.batch * plan.spec.voxels
    return plan.projected_bytes, voxels


CELL = 4 * SIDE * SIDE


@pytest.mark.parametrize(("depth", "in_flight"), [(4, 1), (8, 2), (12, 3), (400, 3)])
def test_shards_in_flight_are_as_many_as_there_are(folder, depth, in_flight):
    # Read 2; class 1; encoded 4; in the network 100, input twice 8, probabilities 12, 1;
    # input twice in every other shard.
    found, tiles = projected(network(folder), depth=depth, dtype="uint16")
    shards = in_flight * CELL * (2 + 1 + 4) + (in_flight - 1) * tiles * 8
    assert found == RESERVED_KERAS + 2 * WEIGHTS + shards + tiles * (100 + 8 + 12 + 1)


def test_probabilities_are_held_where_they_are_kept(folder):
    without, tiles = projected(network(folder), depth=12)
    kept, _ = projected(network(folder), depth=12, probabilities=True)
    # Those of 3 classes and of the one that is stored; as numbers of 4 bytes where input was 8.
    assert kept - without == 3 * CELL * (3 + 1) + 2 * tiles * (12 - 8)


def test_a_blended_network_holds_sums_of_probabilities_and_of_weights(folder):
    exact, tiles = projected(network(folder), depth=12)
    blended, _ = projected(network(folder, exact=False), depth=12)
    assert blended - exact == 3 * CELL * 4 * (3 + 1) + 2 * tiles * (2 * 12 - 8)


def test_without_a_network_voxels_are_as_large_as_the_images():
    found, tiles = projected(SimpleNamespace(card=None), depth=12, dtype="uint16")
    shard = 3 * CELL * (2 + 2) + CELL * 8
    assert found == RESERVED_IDENTITY + shard + tiles * 8


def test_what_counts_is_there_with_a_truth_only(folder):
    for model in (network(folder), SimpleNamespace(card=None)):
        without, _ = projected(model, depth=12)
        found, _ = projected(model, depth=12, truth="uint32")
        assert found - without == RESERVED_COUNTING + 3 * CELL * 4


def test_the_program_is_most_of_a_small_plan(folder):
    found, _ = projected(network(folder), depth=4)
    assert found < RESERVED_KERAS + 64 * MEBIBYTE
