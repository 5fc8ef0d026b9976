"""Cells that a region touches, against the voxels themselves."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storage.level_cells import LevelCells, level_cells
from storage.write_grid import WriteGrid


@st.composite
def stacks(draw):
    """Two levels of factor 1 to 3 a side with cells of their own, and a region of the finer."""
    fine = tuple(draw(st.integers(1, 14)) for _ in range(2))
    coarse = tuple(-(-n // draw(st.integers(1, 3))) for n in fine)
    cells = [tuple(draw(st.integers(1, 6)) for _ in range(2)) for _ in range(2)]
    start = tuple(draw(st.integers(0, n - 1)) for n in fine)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, fine, strict=True))
    grids = [("0", WriteGrid(fine, cells[0])), ("1", WriteGrid(coarse, cells[1]))]
    return grids, start, stop


def marked(grid, start, stop):
    """The cells of a grid that hold a voxel of a box, by looking at every voxel."""
    inside = np.zeros(grid.shape, bool)
    inside[tuple(map(slice, start, stop))] = True
    return {tuple(i // c for i, c in zip(p, grid.cell, strict=True)) for p in np.argwhere(inside)}


def reduced(fine, coarse, voxel):
    """The voxel of the coarser level whose window holds a voxel, None if it is left out."""
    factors = [
        next(f for f in range(1, n + 1) if m in (n // f, -(-n // f)))
        for n, m in zip(fine, coarse, strict=True)
    ]
    place = tuple(v // f for v, f in zip(voxel, factors, strict=True))
    return place if all(p < m for p, m in zip(place, coarse, strict=True)) else None


@given(stacks())
def test_wanted_cells_hold_the_voxels_of_the_region_and_what_is_made_of_them(stack):
    grids, start, stop = stack
    fine, coarse = level_cells(*stack)
    assert set(fine) == marked(grids[0][1], start, stop)
    voxels = itertools.product(*map(range, start, stop))
    above = {reduced(grids[0][1].shape, grids[1][1].shape, voxel) for voxel in voxels}
    cell = grids[1][1].cell
    expected = {tuple(i // c for i, c in zip(v, cell, strict=True)) for v in above - {None}}
    assert expected <= set(coarse)
    # More may be wanted only where the level leaves the last voxels of the region out.
    assert expected == set(coarse) or None in above


@given(stacks())
def test_the_cells_over_a_cell_hold_everything_made_from_it(stack):
    grids, _, _ = stack
    whole = level_cells(grids, (0, 0), grids[0][1].shape)
    for index in whole[0]:
        start, stop = grids[0][1].bounds(index)
        voxels = itertools.product(*map(range, start, stop))
        above = {reduced(grids[0][1].shape, grids[1][1].shape, v) for v in voxels} - {None}
        cell = grids[1][1].cell
        expected = {tuple(i // c for i, c in zip(v, cell, strict=True)) for v in above}
        assert expected <= set(whole[1].over(whole[0], index))


@given(stacks())
def test_keys_and_numbers_lead_back_to_their_cells(stack):
    for level in level_cells(*stack):
        for index in level:
            assert level.wanted(level.key(index)) == index
            assert level.index(level.number(index)) == index
            assert level.number(index) == np.ravel_multi_index(index, level.grid.grid_shape)


def test_other_keys_belong_to_no_cell():
    level = LevelCells("1", WriteGrid((12, 12), (4, 4)), (1, 0), (3, 2))
    assert level.key((1, 1)) == "1/c/1/1"
    for key in ("1/c/0/0", "1/c/1/2", "1/c/1", "1/c/1/1/1", "1/c/1/01", "1/c/1/-1", "1/c/1/a",
                "1/c/1/\u0661", "0/c/1/1", "1/zarr.json", "1/c/", "11/c/1/1"):  # fmt: skip
        assert level.wanted(key) is None, key
