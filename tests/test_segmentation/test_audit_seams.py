"""Seams: masks made with wrong tiles show them, masks made with exact tiles do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

from segmentation.audit.faces import tile_faces
from segmentation.audit.mask_scan import scan_mask
from segmentation.audit.seam_pattern import axis_seams
from segmentation.audit.seams import seam_findings
from segmentation.audit.thresholds import InferenceThresholds
from segmentation.audit.tile_norm import partial_correlation, tile_jumps, tile_norm_findings
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.tiling import TileSpec, cut_tile, exact_windows
from tests.test_segmentation.audits import by_code

DEFAULT = InferenceThresholds()
SIZE, TILE, REACH = 256, 64, 8
WHOLE = Region.whole((SIZE, SIZE))


def tissue(seed: int = 0, gradient: float = 0.0) -> Any:
    """Smooth blobs and noise around 0.5, brighter to the right if wanted."""
    draws = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(draws.standard_normal((SIZE, SIZE)), 8)
    noise = 0.2 * draws.standard_normal((SIZE, SIZE))
    return 0.5 + 0.2 * blobs / blobs.std() + 0.1 * noise + gradient * np.linspace(-1, 1, SIZE)


def window_mean(pixels: Any) -> Any:
    """Class of a voxel by the mean around it, with zeros beyond the border as in a convolution."""
    return (ndimage.uniform_filter(pixels, 2 * REACH + 1, mode="constant") > 0.5).astype(np.uint8)


def plan_of(halo: int, stride: int = 1, tile: int = TILE) -> ShardPlan:
    spec = TileSpec((tile, tile), (halo, halo), (stride, stride))
    return ShardPlan((SIZE, SIZE), WHOLE, (SIZE, SIZE), (SIZE, SIZE), spec, 1, 0)


def segmented(image: Any, plan: ShardPlan, network: Any = window_mean) -> Any:
    mask = np.empty(image.shape, np.uint8)
    for window in exact_windows(plan.region, plan.shape, plan.spec):
        pixels = cut_tile(image[..., np.newaxis], (0, 0), window.tile)[..., 0]
        mask[window.keep.slices] = network(pixels)[
            window.keep.relative_to(window.tile.start).slices
        ]
    return mask


def seams(mask: Any, plan: ShardPlan) -> dict[str, Any]:
    scan = scan_mask(mask, plan.region, (64, 64), num_classes=int(mask.max()) + 1)
    return by_code(seam_findings(scan, "yx", tile_faces(plan), DEFAULT, plan.spec.stride))


@pytest.mark.parametrize("seed", range(5))
def test_f8_a_missing_halo_shows_and_a_full_one_does_not(seed: int) -> None:
    image = tissue(seed)
    exact, short = plan_of(REACH), plan_of(0)
    assert np.array_equal(segmented(image, exact), window_mean(image))
    assert seams(segmented(image, exact), exact) == {}
    # The whole network's mask has no seams at the faces of the short plan either.
    assert seams(window_mean(image), short) == {}
    assert seams(segmented(image, short), short)["INFER-SEAMS"].severity == "warning"


def test_f8_windows_that_fall_elsewhere_in_every_tile_show() -> None:
    """A network that pools by 4; tiles whose origins are no multiples of it."""

    def pooled(pixels: Any) -> Any:
        whole = np.pad(pixels, [(0, -size % 4) for size in pixels.shape], mode="edge")
        blocks = whole.reshape(whole.shape[0] // 4, 4, whole.shape[1] // 4, 4).mean((1, 3))
        classes = np.kron(blocks > 0.5, np.ones((4, 4))).astype(np.uint8)
        return classes[: pixels.shape[0], : pixels.shape[1]]

    image = tissue(1)
    right, wrong = plan_of(4, 4, tile=32), plan_of(1, 1, tile=29)
    assert np.array_equal(segmented(image, right, pooled), pooled(image))
    assert seams(segmented(image, right, pooled), right) == {}
    assert "INFER-SEAMS" in seams(segmented(image, wrong, pooled), wrong)


def z_scored(pixels: Any) -> Any:
    """Each tile brought to mean 0.5 by itself, before the same network."""
    return window_mean(pixels - pixels.mean() + 0.5)


def tile_norm(image: Any, mask: Any, plan: ShardPlan) -> dict[str, Any]:
    jumps = tile_jumps(image, mask, plan.region, tile_faces(plan))
    return by_code(tile_norm_findings(jumps, "yx", DEFAULT))


@pytest.mark.parametrize("gradient", [0.0, 0.15])
def test_f8_tiles_normalised_each_by_itself_are_told_from_a_missing_halo(gradient: float) -> None:
    image = tissue(2, gradient)
    plan, short = plan_of(REACH, tile=48), plan_of(0, tile=48)
    mask = segmented(image, plan, z_scored)
    assert "INFER-SEAMS" in seams(mask, plan)
    assert "INFER-TILE-NORM" in tile_norm(image, mask, plan)
    assert tile_norm(image, segmented(image, short), short) == {}
    assert tile_norm(image, window_mean(image), plan) == {}


def test_a_planted_seam_by_hand() -> None:
    """Of 100 pairs each place has 10 changes, the faces at 20, 40 and 60 have 30."""
    pairs = np.full(80, 100)
    pairs[0] = 0
    changes = np.full(80, 10)
    changes[[20, 40, 60]] = 30
    found = axis_seams("x", changes, pairs, (20, 40, 60))
    assert found is not None
    # 3 · 30 and 76 · 10 changes in 79 · 100 pairs.
    assert (found.faces, found.offset, found.there) == (3, 0, pytest.approx(0.3))
    assert found.overall == pytest.approx(850 / 7900)
    # Of the 63 places with 8 on either side only the three faces themselves are as extreme.
    assert found.p <= 3 / 2000
    assert dict(found.profile)[1.0] == pytest.approx(0.1)


def test_nothing_is_said_of_few_places() -> None:
    pairs = np.full(8, 100)
    changes = np.zeros(8, int)
    changes[4] = 90
    assert axis_seams("x", changes, pairs, ()) is None
    assert axis_seams("x", changes, pairs, (2, 3, 4, 5, 6)) is None
    found = axis_seams("x", changes, pairs, (4,))
    # Six places, of which three see the change in their window.
    assert found is not None
    assert found.p > 0.2


@pytest.mark.slow
def test_clean_masks_are_seldom_blamed() -> None:
    """At 20 random masks without seams the level of 0.01 is kept: 1 or none."""
    plan = plan_of(REACH, tile=48)
    blamed = sum("INFER-SEAMS" in seams(window_mean(tissue(seed)), plan) for seed in range(20))
    assert blamed <= 1


def test_what_a_third_quantity_explains_is_no_correlation():
    """Against the formula of Kendall for three rank correlations."""
    draws = np.random.default_rng(4)
    given = draws.standard_normal(80)
    first, second = given + draws.standard_normal(80), given + draws.standard_normal(80)
    xy, xz, yz = (
        stats.spearmanr(a, b).statistic
        for a, b in ((first, second), (first, given), (second, given))
    )
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    found, p = partial_correlation(first, second, given)
    assert found == pytest.approx(expected)
    assert xy > 0.3 > abs(found)
    assert p > 0.01
    assert partial_correlation(first, given, given) == (0.0, 1.0)
    assert partial_correlation(first, first, given) == (pytest.approx(1.0), pytest.approx(0.0))
