import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.metrics import label_block
from segmentation.metrics.surface import (
    SurfaceCounts,
    SurfaceOptions,
    count_surfaces,
    surface_halo,
)
from segmentation.region import Region
from tests.test_segmentation.label_tilings import (
    PLANE,
    as_rows,
    counted,
    label_pairs,
    sizes_and_caps,
    square,
    tilings,
    whole,
)


def slow_codes(inside):
    """Code of every corner that touches a voxel inside, by place."""
    padded = np.pad(inside, 1)
    codes = {}
    for corner in itertools.product(*(range(size + 1) for size in inside.shape)):
        around = padded[tuple(slice(index, index + 2) for index in corner)]
        if around.any():
            codes[corner] = int("".join("01"[bit] for bit in around.ravel().tolist()), 2)
    return codes


def slow_counts(truth, mask, options):
    """Rows and excluded surfels as a plain table."""
    rows, excluded = Counter(), np.zeros((options.num_classes, 2), int)
    ignored = truth == options.ignore_label
    full, left_out = 2**2**truth.ndim - 1, slow_codes(ignored).keys()
    for value in range(1, options.num_classes):
        surfaces = []
        for side, inside in enumerate([(truth == value) & ~ignored, mask == value]):
            surface = {place: code for place, code in slow_codes(inside).items() if code != full}
            excluded[value, side] = len(surface.keys() & left_out)
            surfaces.append({place: surface[place] for place in surface.keys() - left_out})
        for direction, surface in enumerate(surfaces):
            targets = np.array(list(surfaces[1 - direction]), float).reshape(-1, truth.ndim)
            for corner, code in surface.items():
                squares = np.square((targets - corner) * options.voxel_size).T
                far = sum(squares[1:], squares[0])
                far = far[np.sqrt(far) <= options.cap]
                rows[value, direction, code, float(far.min(initial=np.inf))] += 1
    return rows, excluded


@settings(deadline=None)  # the first example compiles
@given(st.data(), label_pairs())
def test_counts_follow_the_definition(data, labels):
    size, cap = data.draw(sizes_and_caps(labels[0].ndim))
    ignore = data.draw(st.sampled_from([None, 9, 1, 0]))
    options = SurfaceOptions(3, size, cap, ignore)
    found = whole(*labels, options)
    rows, excluded = slow_counts(*labels, options)
    assert as_rows(found) == rows
    assert list(as_rows(found)) == sorted(rows)
    assert found.excluded.tolist() == excluded.tolist()


@settings(deadline=None)
@given(st.data(), label_pairs())
def test_tiles_add_up_to_the_whole(data, labels):
    size, cap = data.draw(sizes_and_caps(labels[0].ndim))
    options = SurfaceOptions(3, size, cap, data.draw(st.sampled_from([None, 9, 1])))
    tiles = data.draw(tilings(labels[0].shape))
    halo = surface_halo(cap, size)
    parts = [counted(count_surfaces, labels, core, halo, options=options) for core in tiles]
    total = whole(*labels, options)
    assert SurfaceCounts.merge(parts) == total
    rest = SurfaceCounts.merge([SurfaceCounts.empty(3), *parts[1:]])
    assert SurfaceCounts.merge([rest, parts[0]]) == total


def reaching_as_far_as_the_cap():
    """Truth has one surface in the core, and the mask one near it: 3 corners away, as the cap."""
    truth, mask = np.zeros((2, 30, 40), np.uint8)
    truth[:, :15] = 1
    mask[:, :12] = 1
    return (truth, mask), Region((12, 15), (16, 20)), SurfaceOptions(2, (1.0, 0.5), cap=1.5)


def test_a_halo_one_voxel_short_changes_the_count(monkeypatch):
    labels, core, options = reaching_as_far_as_the_cap()
    halo = surface_halo(options.cap, options.voxel_size)
    assert halo == (2, 4)
    exact = counted(count_surfaces, labels, core, halo, options=options)
    wide = counted(count_surfaces, labels, core, (30, 40), options=options)
    assert exact == wide
    assert as_rows(exact) == {(1, 0, 0b1010, 2.25): 4}
    with pytest.raises(ValueError, match="does not reach the halo"):
        counted(count_surfaces, labels, core, (2, 3), options=options)
    monkeypatch.setattr(label_block, "surface_halo", lambda cap, size: (2, 3))
    assert counted(count_surfaces, labels, core, (2, 3), options=options) != exact


def test_a_halo_counted_twice_changes_the_count():
    truth, mask = square((2, 2), (9, 9)), square((3, 2), (9, 10))
    halo = surface_halo(PLANE.cap, PLANE.voxel_size)
    cores = [Region((0, 0), (12, 6)), Region((0, 6), (12, 12))]
    parts = [counted(count_surfaces, (truth, mask), core, halo, options=PLANE) for core in cores]
    exact = whole(truth, mask, PLANE)
    assert SurfaceCounts.merge(parts) == exact
    read = [Region((0, 0), (12, 11)), Region((0, 1), (12, 12))]
    parts = [counted(count_surfaces, (truth, mask), box, halo, options=PLANE) for box in read]
    assert SurfaceCounts.merge(parts) != exact
    with pytest.raises(ValueError, match="does not reach the halo"):
        counted(count_surfaces, (truth, mask), read[1], (0, 0), options=PLANE)


def test_an_object_on_the_border_of_the_image_has_a_surface_there():
    full = np.ones((3, 3), np.uint8)
    counts = whole(full, full, PLANE)
    assert counts.count.sum() == 2 * 12


def test_surfels_beside_ignored_voxels_are_counted_apart():
    truth, mask = square((4, 4), (8, 8)), square((4, 4), (8, 9))
    truth[4:8, 8] = 9  # the column by which the mask is too wide
    options = replace(PLANE, ignore_label=9)
    counts = whole(truth, mask, options)
    # Of 16 corners round the square the 5 on its right are beside the column, and of the mask's
    # 18 those at the ends of its columns 8 and 9.
    assert counts.excluded.tolist() == [[0, 0], [5, 7]]
    assert counts.count.sum() == 11 + 11


def test_a_surface_beside_ignored_voxels_is_no_target():
    truth, mask = square((4, 4), (8, 6)), square((5, 8), (7, 9))
    assert np.isfinite(whole(truth, mask, PLANE).squared).any()
    truth[4:8, 7:10] = 9  # all round the mask's object, two corners from the truth's
    counts = whole(truth, mask, replace(PLANE, ignore_label=9))
    assert counts.excluded.tolist() == [[0, 0], [0, 6]]
    assert counts.direction.max() == 0
    assert np.isinf(counts.squared).all()


def test_any_integer_dtype_and_memory_order_count_the_same():
    random = np.random.default_rng(0)
    truth, mask = random.integers(0, 4, (2, 5, 6, 7))
    options = SurfaceOptions(3, (2.0, 1.0, 1.0), cap=3.0, ignore_label=3)
    expected = whole(truth, mask, options)
    assert expected.excluded.sum() > 0
    assert whole(truth.astype(np.uint8), mask.astype(">u2"), options) == expected
    assert (
        whole(np.asfortranarray(truth), mask.astype(np.int8)[:, ::-1][:, ::-1], options) == expected
    )
    high = np.where(truth == 3, 2**64 - 1, truth.astype(np.uint64))
    assert whole(high, mask, replace(options, ignore_label=2**64 - 1)) == expected
    assert (
        whole(np.where(truth == 3, -1, truth), mask, replace(options, ignore_label=-1)) == expected
    )
