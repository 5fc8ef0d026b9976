"""Augmentation: labels in, the same labels out; image and labels moved alike; by hand."""

import re
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from segmentation.training import warp
from segmentation.training.augment import AUGMENTATIONS, Augmentation, augment, augmentation
from tests.strategies import shapes

STEPS = [field.name for field in fields(Augmentation) if field.default == 0.0]
ALL = Augmentation(**dict.fromkeys(STEPS, 1.0))
MOVING = ("flip", "turn", "rotate", "scale", "elastic", "shift")


def only(step, **options):
    return Augmentation(**{step: 1.0}, **options)


def noise(shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 1), np.float32)


def disc(size, radius):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.hypot(y, x) < radius).astype(np.uint8)


@st.composite
def crops(draw):
    """Image and labels of two or three axes, any integer dtype, with values at its ends."""
    shape = draw(shapes(dimensions=draw(st.integers(2, 3)), largest=(40, 40, 40)))[-3:]
    dtype = np.dtype(draw(st.sampled_from(["uint8", "int8", "uint16", "int32", "int64", "uint64"])))
    ends = np.iinfo(dtype)
    values = np.array([0, 1, 2, ends.min, ends.max], dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    channels = draw(st.integers(1, 3))
    return rng.random((*shape, channels), np.float32), rng.choice(values, shape)


@given(crops(), st.integers(0, 2**16))
def test_labels_in_are_labels_out_and_nothing_changes_in_place(crop, seed):
    image, labels = crop
    before = image.copy(), labels.copy()
    for settings in (ALL, augmentation("standard")):
        result = augment(np.random.default_rng(seed), image, labels, settings)
        assert (result.image.shape, result.image.dtype) == (image.shape, np.float32)
        assert (result.labels.shape, result.labels.dtype) == (labels.shape, labels.dtype)
        assert np.isin(result.labels, labels).all()
        assert np.isfinite(result.image).all()
        assert result.image.flags.c_contiguous
        assert result.labels.flags.c_contiguous
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


@given(crops(), st.integers(0, 2**16))
def test_flips_and_turns_keep_every_voxel(crop, seed):
    image, labels = crop
    result = augment(np.random.default_rng(seed), image, labels, augmentation("flips"))
    for before, after in ((image, result.image), (labels, result.labels)):
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))


@given(crops(), st.integers(0, 2**16))
def test_what_changes_intensities_leaves_labels_alone(crop, seed):
    settings = Augmentation(**{step: 1.0 for step in STEPS if step not in MOVING})
    result = augment(np.random.default_rng(seed), *crop, settings)
    np.testing.assert_array_equal(result.labels, crop[1])


@pytest.mark.parametrize("shape", [(8, 8), (6, 8), (4, 8, 8), (4, 6, 8)])
def test_flips_and_turns_move_image_and_labels_alike_to_every_position(shape):
    labels = np.arange(np.prod(shape)).reshape(shape)
    image = np.stack([labels, -labels], axis=-1).astype(np.float32)
    rng, outcomes = np.random.default_rng(0), set()
    for _ in range(300):
        result = augment(rng, image, labels, augmentation("flips"))
        np.testing.assert_array_equal(result.image[..., 0], result.labels)
        np.testing.assert_array_equal(result.image[..., 1], -result.labels)
        outcomes.add(result.labels.tobytes())
    in_plane = 8 if shape[-1] == shape[-2] else 4
    assert len(outcomes) == in_plane * 2 ** (len(shape) - 2)


def test_nothing_is_nothing():
    image, labels = noise((8, 9)), np.eye(8, 9, dtype=np.uint8)
    result = augment(np.random.default_rng(0), image, labels, augmentation("none"))
    np.testing.assert_array_equal(result.image, image)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.steps == ()


def test_the_seed_decides():
    def drawn(seed):
        result = augment(np.random.default_rng(seed), noise((5, 32, 32)), labels, ALL)
        return result.image.tobytes(), result.labels.tobytes(), result.steps

    labels = np.random.default_rng(0).integers(0, 3, (5, 32, 32))
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


class TestWarp:
    @pytest.mark.parametrize("factor", [0.85, 1.0, 1.18])
    def test_areas_grow_with_the_square_of_the_scale(self, factor):
        labels = disc(129, 40)
        settings = only("scale", scale_range=(factor, factor), rotate=1.0)
        result = augment(np.random.default_rng(0), labels[..., None] * 1.0, labels, settings)
        # A disc of radius r has about 2 pi r voxels at its border, half a voxel uncertain each.
        expected = np.pi * (40 * factor) ** 2
        assert result.labels.sum() == pytest.approx(expected, rel=0.01)

    @pytest.mark.parametrize("step", ["rotate", "scale", "elastic"])
    @pytest.mark.parametrize("shape", [(96, 96), (2, 96, 80)])
    def test_image_and_labels_are_moved_by_one_map(self, step, shape):
        """Labels that say the intensity in thousandths still do, to less than one voxel's step."""
        smooth = ndimage.gaussian_filter(np.random.default_rng(0).random(shape), 4)
        labels = np.rint(1000 * smooth).astype(np.int32)
        step_of_one_voxel = np.ptp(sliding_window_view(labels, (2, 2), (-2, -1)), (-2, -1)).max()
        image, moved = labels[..., None].astype(np.float32), []
        for seed in range(5):
            result = augment(np.random.default_rng(seed), image, labels, only(step))
            assert np.abs(result.image[..., 0] - result.labels).max() <= step_of_one_voxel
            moved.append(np.abs(result.labels - labels).max())
        assert max(moved) > step_of_one_voxel

    def test_sections_of_a_block_are_deformed_alike(self):
        labels = np.broadcast_to(np.arange(64 * 64).reshape(64, 64), (4, 64, 64))
        result = augment(np.random.default_rng(0), noise((4, 64, 64)), labels, only("elastic"))
        assert (result.labels == result.labels[0]).all()

    def test_places_are_read_as_scipy_reads_them(self):
        rng = np.random.default_rng(0)
        image, labels = rng.random((2, 20, 30, 3), np.float32), rng.integers(0, 99, (2, 20, 30))
        wild = rng.uniform(-15, 45, (2, 20, 30)).astype(np.float32)
        places = tuple(warp.mirrored(p, n) for p, n in zip(wild, (20, 30), strict=True))
        linear, nearest = warp.take_linear(image, places), warp.take_nearest(labels, places)
        options = {"prefilter": False, "mode": "mirror"}
        for section in range(2):
            found = ndimage.map_coordinates(labels[section], wild, order=0, **options)
            np.testing.assert_array_equal(nearest[section], found)
            for channel in range(3):
                layer = image[section, ..., channel]
                found = ndimage.map_coordinates(layer, wild, order=1, **options)
                np.testing.assert_allclose(linear[section, ..., channel], found, atol=1e-5)

    @given(st.integers(1, 9), st.integers(0, 30))
    def test_the_border_is_a_mirror(self, size, beyond):
        row = np.arange(size)
        expected = np.pad(row, beyond, mode="reflect") if size > 1 else np.zeros(1 + 2 * beyond)
        places = warp.mirrored(np.arange(-beyond, size + beyond), size)
        np.testing.assert_array_equal(row[places], expected)

    def test_a_rotation_turns_about_the_centre(self):
        """A bar along x, turned by 90 degrees, lies along y."""
        labels = np.zeros((31, 31), np.uint8)
        labels[15, 5:26] = 1
        labels[14, 5] = 2
        matrix = warp._matrix(_Fixed(0.0, 90.0), Augmentation(rotate=1, rotate_degrees=90), [])
        turned = warp.take_nearest(labels[None], warp._places((31, 31), matrix, None))[0]
        np.testing.assert_array_equal(turned, np.rot90(labels))

    @given(st.integers(0, 2**16), st.integers(1, 70), st.integers(1, 70))
    def test_elastic_shifts_are_bounded_smooth_and_free_of_folds(self, seed, height, width):
        settings = only("elastic", elastic_voxels=15.0)
        shifts = warp._shifts(np.random.default_rng(seed), (height, width), settings, [])
        assert shifts.shape == (2, height, width)
        assert np.abs(shifts).max() <= 15.0
        if min(height, width) > 1:
            (yy, yx), (xy, xx) = (np.gradient(shift) for shift in shifts)
            assert ((1 + yy) * (1 + xx) - yx * xy).min() > 0

    def test_control_points_all_moved_alike_move_the_crop(self):
        np.testing.assert_allclose(warp._spline(100, 7.3).sum(axis=1), 1, atol=1e-6)
        # A spline follows a straight line: control points that rise evenly, shifts that do.
        points = np.arange(warp._spline(64, 8.0).shape[1])
        line = warp._spline(64, 8.0) @ points
        np.testing.assert_allclose(np.diff(line), 1 / 8, atol=1e-5)


class _Fixed:
    """A generator that gives what it is told."""

    def __init__(self, random, uniform):
        self.random, self.uniform = lambda: random, lambda low, high: uniform


class TestIntensities:
    image = noise((64, 64)) * 0.5 + 0.25

    def vary(self, step, image=None, seed=0, **options):
        image = self.image if image is None else image
        labels = np.zeros(image.shape[:-1], np.uint8)
        return augment(np.random.default_rng(seed), image, labels, only(step, **options))

    def test_brightness_is_added(self):
        result = self.vary("brightness")
        amount = float(re.fullmatch(r"brightness ([+-]\d\.\d\d)", result.steps[0])[1])
        shift = result.image - self.image
        assert shift.std() < 1e-6
        assert shift.mean() == pytest.approx(amount, abs=0.006)
        assert abs(amount) <= 0.1

    def test_contrast_spreads_about_the_mean_of_each_channel(self):
        image = np.concatenate([self.image, 3 + self.image], axis=-1)
        result = self.vary("contrast", image, contrast_range=(1.3, 1.3)).image
        np.testing.assert_allclose(result.mean((0, 1)), image.mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(result.std((0, 1)), 1.3 * image.std((0, 1)), rtol=1e-4)

    def test_gamma_keeps_the_ends(self):
        ramp = np.linspace(-1, 3, 5, dtype=np.float32).reshape(1, 5, 1)
        result = self.vary("gamma", ramp, gamma_range=(2.0, 2.0)).image.ravel()
        np.testing.assert_allclose(result, -1 + 4 * np.array([0, 1 / 16, 1 / 4, 9 / 16, 1]))
        flat = np.full((4, 4, 1), 0.3, np.float32)
        np.testing.assert_array_equal(self.vary("gamma", flat).image, flat)

    def test_blur_is_a_gaussian_in_the_plane(self):
        from skimage.filters import gaussian

        block = noise((3, 32, 32))
        result = self.vary("blur", block, blur_range=(1.0, 1.0)).image
        for section, blurred in zip(block, result, strict=True):
            # skimage's "mirror" is the same border.
            expected = gaussian(section[..., 0], 1.0, mode="mirror", truncate=3.0)
            np.testing.assert_allclose(blurred[..., 0], expected, atol=1e-5)

    def test_noise_has_its_deviation(self):
        result = self.vary("noise", noise_range=(0.05, 0.05)).image - self.image
        # 4096 numbers: the deviation is known to 1.1 %.
        assert result.std() == pytest.approx(0.05, rel=0.05)
        assert result.mean() == pytest.approx(0, abs=0.004)

    def test_counted_particles_vary_as_the_root_of_their_number(self):
        image = np.repeat(np.float32([-1, 0, 0.25, 1]), 10_000).reshape(4, -1, 1)
        result = self.vary("poisson", image, poisson_range=(100.0, 100.0)).image
        np.testing.assert_array_equal(result[:2], image[:2])
        assert result[2:].mean(1).ravel() == pytest.approx([0.25, 1], abs=0.005)
        assert result[2:].std(1).ravel() == pytest.approx([0.05, 0.1], rel=0.03)


class TestSections:
    image = noise((5, 12, 10))
    labels = np.random.default_rng(1).integers(0, 4, (5, 12, 10))

    def test_a_missing_section_holds_its_mean_and_its_labels_stay(self):
        result = augment(np.random.default_rng(0), self.image, self.labels, only("missing"))
        changed = np.flatnonzero((result.image != self.image).any((1, 2, 3)))
        assert result.steps == (f"missing section {changed[0]}",)
        np.testing.assert_allclose(result.image[changed], self.image[changed].mean(), rtol=1e-5)
        np.testing.assert_array_equal(result.labels, self.labels)

    def test_a_shifted_section_takes_its_labels_along(self):
        settings = only("shift", shift_voxels=3)
        result = augment(np.random.default_rng(2), self.image, self.labels, settings)
        words = re.fullmatch(r"section (\d) shifted by (-?\d), (-?\d) px", result.steps[0])
        section, y, x = map(int, words.groups())
        rows, columns = np.arange(3, 9) + y, np.arange(3, 7) + x
        for before, after in ((self.image, result.image), (self.labels, result.labels)):
            others = np.arange(5) != section
            np.testing.assert_array_equal(after[others], before[others])
            moved = after[section][np.ix_(rows, columns)]
            np.testing.assert_array_equal(moved, before[section][3:9, 3:7])

    @pytest.mark.parametrize("shape", [(16, 16), (2, 16, 16)])
    def test_planes_and_pairs_of_sections_lose_none(self, shape):
        settings = Augmentation(missing=1.0, shift=1.0)
        result = augment(
            np.random.default_rng(0), noise(shape), np.zeros(shape, np.uint8), settings
        )
        assert result.steps == ()


def test_what_was_done_is_told_in_words_and_in_order():
    labels = np.zeros((5, 32, 32), np.uint8)
    steps = augment(np.random.default_rng(3), noise((5, 32, 32)), labels, ALL).steps
    expected = [
        "flip z and y and x", "turn (90|180|270)°", r"rotate -?\d+°", r"scale [01]\.\d\d",
        r"elastic \d+\.\d px", r"section \d shifted by -?\d, -?\d px", r"contrast × [01]\.\d\d",
        r"brightness [+-]0\.\d\d", r"gamma [01]\.\d\d", r"blur [01]\.\d px",
        r"Poisson noise of \d+ counts", r"noise 0\.0\d", r"missing section \d",
    ]  # fmt: skip
    assert len(steps) == len(expected)
    for step, pattern in zip(steps, expected, strict=True):
        assert re.fullmatch(pattern, step), step


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_settings_are_plain_values(name):
    settings = augmentation(name)
    assert Augmentation(**asdict(settings)) == settings
    happening = {step for step in STEPS if getattr(settings, step)}
    assert happening == {"none": set(), "flips": {"flip", "turn"}, "standard": set(STEPS)}[name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5; expected a probability, 0 to 1"),
        ({"missing": -1}, "missing is -1; expected a probability"),
        ({"scale_range": (2, 1)}, r"scale_range is \(2, 1\); expected 0 < low <= high"),
        ({"elastic_voxels": 20.0}, "20.0 would fold the crop; expected less than 0.48 of elastic_"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace(augmentation("standard"), **options)


def test_other_names_and_shapes_are_refused():
    with pytest.raises(ValueError, match="'strong'; expected one of none, flips, standard"):
        augmentation("strong")
    rng, plane = np.random.default_rng(0), np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"\(8, 8\) and labels of shape \(8, 8\); expected"):
        augment(rng, plane.astype(np.float32), plane, ALL)
    with pytest.raises(ValueError, match="labels are float64; expected integers"):
        augment(rng, noise((8, 8)), plane.astype(float), ALL)
