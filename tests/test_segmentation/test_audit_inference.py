"""Findings on how a mask was made: each fires on its fixture and is silent on a clean twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.audit import mask_scan
from segmentation.audit.coverage import Coverage, coverage_findings, gone_finding
from segmentation.audit.drift import drift_findings
from segmentation.audit.faces import shard_faces, tile_faces
from segmentation.audit.inference import mapping_findings, plan_findings
from segmentation.audit.mask_scan import chosen_blocks, scan_mask
from segmentation.audit.thresholds import InferenceThresholds
from segmentation.plan import ShardPlan, trivial_plan
from segmentation.region import Region
from segmentation.tiling import TileSpec, exact_windows
from tests.test_segmentation.audits import by_code
from tests.test_segmentation.test_bundle import CARD

DEFAULT = InferenceThresholds()
# The network of the card pools by 2 and sees 8 voxels far.
RIGHT = TileSpec((1, 32, 32), (0, 8, 8), (1, 2, 2))
CONTRAST = ([10.0], [210.0])
PAIRS: list[tuple[str, str, Any, Any]] = [
    (
        "INFER-COVERAGE",
        "error",
        coverage_findings(Coverage(12, 11)),
        coverage_findings(Coverage(12, 12, stored=40, damaged=1)),
    ),
    (
        "INFER-COVERAGE",
        "error",
        coverage_findings(Coverage(12, 12, ("0/c/0/0",), 39)),
        coverage_findings(Coverage(12, 12, (), 40)),
    ),
    (
        "INFER-HALO-SHORT",
        "warning",
        plan_findings(replace(RIGHT, halo=(0, 8, 6)), CARD, "zyx"),
        plan_findings(RIGHT, CARD, "zyx"),
    ),
    (
        "INFER-HALO-SHORT",
        "warning",
        plan_findings(replace(RIGHT, halo=(0, 0, 0)), CARD, "zyx"),
        # Tiles of a network that is not exact are blended; MODEL-NOT-EXACT speaks of them.
        plan_findings(replace(RIGHT, halo=(0, 0, 0)), replace(CARD, exact=False), "zyx"),
    ),
    (
        "INFER-GRID-MISALIGNED",
        "error",
        plan_findings(TileSpec((1, 33, 32), (0, 8, 8), (1, 1, 2)), CARD, "zyx"),
        plan_findings(TileSpec((1, 36, 32), (0, 8, 8), (1, 4, 2)), CARD, "zyx"),
    ),
    (
        "INFER-NORM-MISMATCH",
        "error",
        mapping_findings(([10.0], [160.0]), CONTRAST, DEFAULT),
        mapping_findings(([12.0], [200.0]), CONTRAST, DEFAULT),
    ),
    (
        "INFER-NORM-MISMATCH",
        "error",
        mapping_findings(([0.0, 10.0], [1.0, 90.0]), ([0.0, 30.0], [1.0, 90.0]), DEFAULT),
        mapping_findings(([0.0, 30.0], [1.0, 90.0]), ([0.0, 30.0], [1.0, 90.0]), DEFAULT),
    ),
]


@pytest.mark.parametrize(("code", "severity", "faulty", "clean"), PAIRS)
def test_fires_on_the_fault_and_is_silent_on_the_twin(
    code: str, severity: str, faulty: Any, clean: Any
) -> None:
    assert by_code(faulty)[code].severity == severity
    assert by_code(clean) == {}


def test_what_is_missing_is_counted_and_named() -> None:
    (finding,) = coverage_findings(Coverage(12, 10, ("0/c/0/0", "0/c/0/1"), 38, 1))
    assert "2 of 12 shards have no record" in finding.statement
    assert "2 of 40 stored pieces" in finding.statement
    assert "0/c/0/1" in finding.rule


def test_a_part_that_is_gone_is_a_note() -> None:
    finding = gone_finding("mask", "file:///gone.zarr")
    assert finding.severity == "info"
    assert by_code([finding])


class TestScan:
    """Pairs of neighbours and classes by section, against NumPy on the whole array."""

    @settings(max_examples=30, deadline=None)
    @given(
        shape=st.tuples(*[st.integers(1, 9)] * 3),
        cell=st.tuples(*[st.integers(1, 5)] * 3),
        seed=st.integers(0, 99),
        block=st.integers(1, 400),
        axis=st.sampled_from([None, 0, 1, 2]),
    )
    def test_blocks_add_up_to_the_whole(
        self, shape: Any, cell: Any, seed: int, block: int, axis: int | None
    ) -> None:
        draws = np.random.default_rng(seed)
        mask = draws.integers(0, 4, shape).astype(np.uint8)
        start = tuple(int(draws.integers(0, size)) for size in shape)
        region = Region(start, shape)
        inside = mask[region.slices]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mask_scan, "BLOCK_VOXELS", block)
            scan = scan_mask(mask, region, cell, num_classes=3, section_axis=axis)
        for number in range(3):
            others = tuple(other for other in range(3) if other != number)
            differ = (np.diff(inside.astype(int), axis=number) != 0).sum(axis=others)
            assert scan.changes[number].tolist() == [0, *differ.tolist()]
            size = inside.size // inside.shape[number]
            assert scan.pairs[number].tolist() == [0] + [size] * (inside.shape[number] - 1)
        if axis is not None:
            rows = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1)
            expected = [[int((row == value).sum()) for value in range(4)] for row in rows]
            assert scan.sections.tolist() == expected

    def test_of_a_large_mask_columns_are_read_through_all_sections(self) -> None:
        region = Region.whole((6, 40, 40))
        blocks = list(chosen_blocks(region, (2, 10, 10), 0, most_voxels=6 * 40 * 40 // 4))
        assert sum(block.voxels for block in blocks) == region.voxels // 4
        columns = {(block.start[1:], block.stop[1:]) for block in blocks}
        assert len(columns) == 4
        assert len(blocks) == 4 * 3


class TestFaces:
    def test_by_hand(self) -> None:
        """A tile of 32 keeps [0, 24); the next begins at 16 and keeps [24, 40), the last the rest.

        Without the halo at the end of the volume: 64 - 32 = 32 is the last origin.
        """
        spec = TileSpec((1, 32, 64), (0, 8, 8), (1, 4, 4))
        plan = ShardPlan(
            (3, 64, 64), Region.whole((3, 64, 64)), (1, 64, 64), (1, 64, 64), spec, 1, 0
        )
        assert tile_faces(plan) == ((), (24, 40), ())

    @settings(max_examples=40, deadline=None)
    @given(
        size=st.integers(8, 90),
        tiles=st.integers(1, 4),
        halo=st.integers(0, 3),
        stride=st.sampled_from([1, 2, 4]),
        shards=st.integers(1, 4),
    )
    def test_they_are_where_kept_parts_begin(
        self, size: int, tiles: int, halo: int, stride: int, shards: int
    ) -> None:
        spec = TileSpec(((2 * halo + tiles) * stride,), (halo * stride,), (stride,))
        shape = (size,)
        plan = ShardPlan(shape, Region.whole(shape), (8,), (8 * shards,), spec, 1, 0)
        keeps = [w.keep for s in plan for w in exact_windows(s.write, shape, spec)]
        starts = {keep.start[0] for keep in keeps} - {0}
        assert set(tile_faces(plan)[0]) == (starts if spec.tile[0] > 1 else set())

    def test_shards_meet_inside_the_region(self) -> None:
        plan = trivial_plan((30, 8, 8), Region((5, 0, 0), (30, 8, 8)), (4, 8, 8), (8, 8, 8))
        assert shard_faces(plan, 0) == (8, 16, 24)
        assert tile_faces(plan) == ((), (), ())


class TestDrift:
    """Sections of 40 × 40 voxels; from section 8 on, where a shard begins, more is foreground."""

    names = ("background", "cell")

    def findings(self, shares: Any, borders: Any = (8, 16)) -> dict[str, Any]:
        draws = np.random.default_rng(0)
        mask = np.stack([draws.random((40, 40)) < share for share in shares]).astype(np.uint8)
        scan = scan_mask(mask, Region.whole(mask.shape), (4, 40, 40), num_classes=2, section_axis=0)
        return by_code(drift_findings(scan, 0, borders, self.names, DEFAULT))

    def test_fires_where_the_share_jumps_at_a_border_of_shards(self) -> None:
        finding = self.findings([0.3] * 8 + [0.5] * 16)["INFER-DRIFT-Z"]
        assert "From section 7 to 8" in finding.statement

    def test_silent_on_an_even_stack_and_on_a_slow_change(self) -> None:
        assert self.findings([0.3] * 24) == {}
        assert self.findings(np.linspace(0.2, 0.8, 24)) == {}

    def test_silent_where_the_jump_is_elsewhere_or_there_is_one_shard(self) -> None:
        assert self.findings([0.3] * 11 + [0.6] * 13) == {}
        assert self.findings([0.3] * 8 + [0.5] * 16, ()) == {}
