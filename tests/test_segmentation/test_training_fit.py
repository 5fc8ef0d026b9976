"""Training: it learns, repeats itself, keeps the best weights, and says what is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.networks.unet import build_unet
from segmentation.normalize import IntensityTransform
from segmentation.packing import working_geometry
from segmentation.predictor import NetworkPredictor
from segmentation.region import Region
from segmentation.training import fit
from segmentation.training.fit import TrainSettings, train
from segmentation.training.samples import TrainingVolume
from segmentation.training.validate import validate
from tests.test_segmentation.networks import layers, network

TRANSFORM = IntensityTransform((0.0,), (200.0,))
QUICK = TrainSettings(
    crop=(32, 32), batch_size=4, steps=80, steps_per_epoch=40, learning_rate=1e-2, class_share=0.7
)


def blobs(shape, seed=0):
    """Bright and dark blobs on grey: three classes that a small network tells apart."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), (0,) * (len(shape) - 2) + (4, 4))
    smooth /= smooth.std()
    label = np.digitize(smooth, [-1.0, 1.0]).astype(np.uint8)
    label = np.array([1, 0, 2], np.uint8)[label]
    image = np.array([100, 40, 160])[label] + rng.normal(0, 15, shape)
    return image.clip(0, 255).astype(np.uint8), label


def volume(part, shape=(6, 64, 64), **options):
    image, label = blobs(shape)
    region = Region((part.start, *(0,) * (len(shape) - 1)), (part.stop, *shape[1:]))
    return TrainingVolume(image, label, region, TRANSFORM, **options)


def small_unet(axes="yx", **options):
    return build_unet(axes, channels=1, num_classes=3, width=4, depth=1, **options)


TRAINING, VALIDATION = volume(slice(0, 4)), volume(slice(4, 6))


@pytest.fixture(scope="module")
def trained():
    model, told = small_unet(), []
    result = train(
        model, [TRAINING], [VALIDATION], num_classes=3, settings=QUICK, on_epoch=told.append
    )
    return model, result, told


def test_it_learns_and_tells_about_every_epoch(trained):
    _, result, told = trained
    assert tuple(told) == result.epochs
    assert [(epoch.number, epoch.steps) for epoch in told] == [(1, 40), (2, 80)]
    assert result.best.macro_foreground_dice > 0.8
    assert told[-1].learning_rate < told[0].learning_rate <= 1e-2
    assert result.to_dict()["best_epoch"] == result.best.number


def test_the_model_ends_with_the_weights_of_the_best_epoch(trained):
    model, result, _ = trained
    predictor = NetworkPredictor(model, head="softmax", geometry=working_geometry(model, "yx"))
    assert validate(predictor, [VALIDATION], exact=True) == result.confusion
    assert result.best.macro_foreground_dice == max(
        epoch.macro_foreground_dice for epoch in result.epochs
    )


def test_the_same_seed_gives_the_same_weights(trained):
    model, _, _ = trained
    again = small_unet()
    train(again, [TRAINING], [VALIDATION], num_classes=3, settings=QUICK)
    for first, second in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_blocks_train_a_network_of_three_axes():
    settings = replace(QUICK, crop=(4, 16, 16), steps=2, steps_per_epoch=2)
    result = train(small_unet("zyx"), [TRAINING], [VALIDATION], num_classes=3, settings=settings)
    assert result.confusion.voxels == VALIDATION.region.voxels


def test_a_network_that_is_not_exact_trains_too():
    body = [layers.Conv2D(4, 3, padding="same"), layers.GroupNormalization(1), layers.ReLU()]
    settings = replace(QUICK, steps=2, steps_per_epoch=2)
    result = train(
        network(*body, classes=3), [TRAINING], [VALIDATION], num_classes=3, settings=settings
    )
    assert result.confusion.voxels == VALIDATION.region.voxels


def test_validation_is_tiled_as_the_untiled_network_would_answer(monkeypatch):
    model = small_unet()
    image, label = blobs((2, 150, 90))
    region = Region((0, 10, 3), (2, 149, 90))
    source = TrainingVolume(image, label, region, TRANSFORM)
    predictor = NetworkPredictor(model, head="softmax", geometry=working_geometry(model, "yx"))
    monkeypatch.setattr("segmentation.training.validate.LEAST_TILE", {2: 32})
    monkeypatch.setattr("segmentation.training.validate.BOX", {2: 64})
    whole = np.asarray(model(TRANSFORM(image[..., np.newaxis]), training=False)).argmax(-1)
    expected = ConfusionMatrix.from_labels(label[region.slices], whole[region.slices], 3)
    assert validate(predictor, [source], exact=True) == expected


def test_ignored_truth_trains_and_scores_nothing():
    image, label = blobs((2, 64, 64))
    label[:, :32] = 255
    source = TrainingVolume(image, label, Region.whole(label.shape), TRANSFORM)
    settings = replace(QUICK, steps=2, steps_per_epoch=2, ignore_label=255)
    result = train(small_unet(), [source], [source], num_classes=3, settings=settings)
    assert result.confusion.ignored == np.count_nonzero(label == 255)


def test_the_clock_plans_the_steps_when_asked(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()

    def step(run):
        clock.now += 2.0
        run.done += 1
        return 1.0

    monkeypatch.setattr(fit, "time", clock)
    monkeypatch.setattr(fit._Run, "step", step)
    settings = replace(QUICK, steps=10_000, steps_per_epoch=50, seconds=224.0)
    result = train(small_unet(), [TRAINING], [VALIDATION], num_classes=3, settings=settings)
    # 12 steps take 24 of the 224 seconds; 85 % of the other 200 are 85 steps of 2 seconds.
    assert result.epochs[-1].steps == 12 + 85


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0; expected more than 0"),
        ({"class_share": 2.0}, "class_share is 2.0; expected 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(QUICK, **change)


def test_a_network_for_other_classes_is_refused():
    with pytest.raises(ValueError, match="softmax head has 3 channels, but 5 classes were named"):
        train(small_unet(), [TRAINING], [VALIDATION], num_classes=5, settings=QUICK)


def test_a_loss_that_is_not_finite_stops_the_training():
    image, label = blobs((2, 32, 32))
    wild = TrainingVolume(
        np.full(image.shape, 3e38, np.float32), label, Region.whole(label.shape), TRANSFORM
    )
    with pytest.raises(ValueError, match="the loss is nan at step 1; lower the learning rate"):
        train(small_unet(), [wild], [VALIDATION], num_classes=3, settings=QUICK)
