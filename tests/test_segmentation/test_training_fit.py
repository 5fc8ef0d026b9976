"""Training: it learns, repeats itself, goes on where it was killed, and says what is wrong."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from segmentation.normalize import IntensityTransform
from segmentation.packing import working_geometry
from segmentation.predictor import NetworkPredictor
from segmentation.region import Region
from segmentation.training.checkpoint import CHECKPOINT, Checkpoint, CheckpointError
from segmentation.training.fit import TrainingStopped, train
from segmentation.training.history import Epoch, Row, history_csv, read_epoch
from segmentation.training.monitor import resolve_monitor
from segmentation.training.samples import TrainingVolume
from segmentation.training.scorer import TrainingParts
from segmentation.training.settings import TrainSettings
from segmentation.training.validate import row_of, validate
from tests.test_segmentation.networks import layers, network
from tests.test_segmentation.trainings import (
    MONITOR,
    NAMES,
    QUICK,
    TRAINING,
    VALIDATION,
    blobs,
    prepared,
    small_unet,
)

TWO_STEPS = replace(QUICK, steps=2, steps_per_epoch=1)


def weights(model):
    return [variable.numpy() for variable in model.weights]


def assert_equal(first, second):
    for one, other in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def trained():
    """A network with dropout, whose seeds are part of the state, and what was told of it."""
    training, told = prepared(model=small_unet(dropout=0.2)), []
    return training, train(training, MONITOR, on_epoch=told.append), told


def test_it_learns_and_tells_about_every_epoch(trained):
    _, result, told = trained
    assert tuple(told) == result.epochs
    assert [(epoch.epoch, epoch.steps) for epoch in told] == [(1, 20), (2, 40), (3, 60)]
    assert result.best.curves["val"].macro_foreground_dice > 0.7
    assert result.stopped == "all steps were taken"
    seconds = [epoch.seconds for epoch in told]
    assert seconds == sorted(seconds)


def test_every_epoch_has_four_curves_three_of_them_on_the_same_weights(trained):
    training, result, _ = trained
    last = result.epochs[-1].curves
    assert list(last) == ["train_running", "train_eval", "val", "val_batchstats"]
    assert all(len(row.dice) == 3 and row.cross_entropy > 0 for row in last.values())
    # The kept weights are those of the last epoch here, so they must give its row again.
    assert result.best == result.epochs[-1]
    predictor = NetworkPredictor(
        training.model, head="softmax", geometry=working_geometry(training.model, "yx")
    )
    assert row_of(validate(predictor, [VALIDATION], exact=True)) == last["val"]


def test_the_learning_rate_rises_then_falls_to_nothing():
    training = prepared(replace(QUICK, steps=100))
    rates = [training.rate(step) for step in (0, 5, 10, 55, 100)]
    # 10 of 100 steps rise to the peak; a cosine over the other 90 is half way down at 55.
    assert rates == pytest.approx([0.0, 5e-3, 1e-2, 5e-3, 0.0], abs=1e-6)


def test_the_same_seed_gives_the_same_weights(trained):
    training, _, _ = trained
    again = prepared(model=small_unet(dropout=0.2))
    train(again, MONITOR)
    assert_equal(training.model, again.model)


@pytest.mark.parametrize("killed_at", [1, 30, 59])
def test_killed_and_started_again_it_ends_with_the_same_weights(trained, tmp_path, killed_at):
    training, result, _ = trained
    steps = iter(range(1, 1000))
    first = prepared(model=small_unet(dropout=0.2))
    with pytest.raises(TrainingStopped, match=f"stopped at step {killed_at}$"):
        train(first, MONITOR, folder=tmp_path, is_stopped=lambda: next(steps) >= killed_at)
    told = []
    second = prepared(model=small_unet(dropout=0.2, seed=9))
    if killed_at < QUICK.steps_per_epoch:
        second = prepared(model=small_unet(dropout=0.2))
    again = train(second, MONITOR, folder=tmp_path, on_epoch=told.append)
    assert_equal(training.model, second.model)
    assert [e.epoch for e in told] == list(range(killed_at // QUICK.steps_per_epoch + 1, 4))
    for one, other in zip(result.epochs, again.epochs, strict=True):
        assert one == replace(other, seconds=one.seconds)


def test_train_eval_equals_val_where_both_are_the_same_data():
    """Acceptance row S2-3: what is left between the curves is bookkeeping."""
    parts = TrainingParts((TRAINING,), (TRAINING,))
    result = train(prepared(replace(QUICK, steps=9, steps_per_epoch=3), parts=parts), MONITOR)
    for epoch in result.epochs:
        assert epoch.curves["train_eval"] == epoch.curves["val"]
        assert epoch.curves["train_running"] != epoch.curves["val"]


def test_without_batch_norm_there_is_no_fourth_curve():
    result = train(prepared(TWO_STEPS, model=small_unet(batch_norm=False)), MONITOR)
    assert result.epochs[0].curves["val_batchstats"] is None


def test_patience_ends_a_training_that_gets_no_better():
    settings = replace(TWO_STEPS, steps=50, learning_rate=1e-9, patience=3)
    still = [layers.Conv2D(4, 3, padding="same"), layers.ReLU()]
    result = train(prepared(settings, model=network(*still, classes=3)), MONITOR)
    assert result.stopped == "no better epoch for 3 epochs"
    assert result.epochs[-1].epoch - result.best.epoch == 3


def test_blocks_train_a_network_of_three_axes():
    settings = replace(TWO_STEPS, crop=(4, 16, 16))
    result = train(prepared(settings, model=small_unet("zyx")), MONITOR)
    assert len(result.epochs) == 2


def test_a_network_that_is_not_exact_trains_too():
    body = [layers.Conv2D(4, 3, padding="same"), layers.GroupNormalization(1), layers.ReLU()]
    result = train(prepared(TWO_STEPS, model=network(*body, classes=3)), MONITOR)
    assert result.epochs[-1].curves["val"].cross_entropy > 0


def test_steps_in_bfloat16_leave_weights_of_float32(trained):
    training = prepared(replace(QUICK, precision="bfloat16"))
    result = train(training, MONITOR)
    assert {str(w.dtype) for w in training.model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in training.model.layers} == {"float32"}
    assert {layer.compute_dtype for layer in training.working.layers[:-1]} >= {"bfloat16"}
    assert training.working.layers[-1].compute_dtype == "float32"
    assert result.best.curves["val"].macro_foreground_dice > 0.7


def test_validation_is_tiled_as_the_untiled_network_would_answer(monkeypatch):
    model = small_unet()
    image, label = blobs((2, 150, 90))
    region = Region((0, 10, 3), (2, 149, 90))
    transform = IntensityTransform((0.0,), (200.0,))
    source = TrainingVolume(image, label, region, transform)
    predictor = NetworkPredictor(model, head="softmax", geometry=working_geometry(model, "yx"))
    for name, value in (("LEAST_TILE", 32), ("LARGEST_TILE", 32), ("BOX", 64)):
        monkeypatch.setattr(f"segmentation.training.validate.{name}", {2: value})
    outputs = np.asarray(model(transform(image[..., np.newaxis]), training=False))[region.slices]
    truth = label[region.slices]
    (scored,) = validate(predictor, [source], exact=True)
    rows = [
        [np.count_nonzero((truth == t) & (outputs.argmax(-1) == p)) for p in range(3)]
        for t in range(3)
    ]
    assert scored.confusion.counts.tolist() == rows
    chosen = np.take_along_axis(outputs, truth[..., np.newaxis].astype(int), -1)
    assert scored.surprise == pytest.approx(-np.log(chosen.astype(float)).sum(), rel=1e-5)


def test_ignored_truth_trains_and_scores_nothing():
    image, label = blobs((2, 64, 64))
    label[:, :32] = 255
    source = TrainingVolume(image, label, Region.whole(label.shape), TRAINING.transform)
    training = prepared(
        replace(TWO_STEPS, ignore_label=255), parts=TrainingParts((source,), (source,))
    )
    train(training, MONITOR)
    (scored,) = training.scorer.score([source])
    assert scored.confusion.ignored == np.count_nonzero(label == 255)
    assert int(training.metric.matrix.numpy().sum()) <= 4 * 32 * 32


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
        prepared(num_classes=5)


def test_a_loss_that_is_not_finite_stops_the_training():
    image, label = blobs((2, 32, 32))
    wild = TrainingVolume(
        np.full(image.shape, 3e38, np.float32),
        label,
        Region.whole(label.shape),
        TRAINING.transform,
    )
    with pytest.raises(ValueError, match="the loss is nan at step 1; lower the learning rate"):
        train(prepared(parts=TrainingParts((wild,), (VALIDATION,))), MONITOR)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(prepared(TWO_STEPS), MONITOR, folder=tmp_path)
    other = prepared(TWO_STEPS, model=small_unet(batch_norm=False))
    with pytest.raises(CheckpointError, match="written by another training"):
        train(other, MONITOR, folder=tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(prepared(TWO_STEPS), MONITOR, folder=tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="remove it to begin the training anew"):
        Checkpoint.load(tmp_path)
    assert Checkpoint.load(tmp_path / "elsewhere") is None


def row(value):
    return Row(value, (0.9, value, None), 0.5)


def epoch(number, value, **changes):
    curves = {"train_running": row(0.1), "train_eval": row(0.2), "val": row(value)}
    curves["val_batchstats"] = None
    return Epoch(number, 10 * number, 100, 1.5, 1e-3, 0.7, curves, **changes)


def test_epochs_survive_json_and_read_as_a_table():
    first = epoch(1, 0.25, best=True)
    assert read_epoch(json.loads(json.dumps(first.to_dict()))) == first
    head, line = history_csv([first], ["a", "b", "c"]).splitlines()
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert (cells["epoch"], cells["loss"], cells["best"]) == ("1", "0.7", "1")
    assert (cells["val_dice_b"], cells["val_dice_c"]) == ("0.25", "")
    assert (cells["train_eval_cross_entropy"], cells["val_batchstats_dice_a"]) == ("0.5", "")


# Acceptance rows S0-7, S0-8, S2-5 and S4-4: what the source cases watched, and what is said.
@pytest.mark.parametrize(
    ("name", "direction", "code", "message"),
    [
        ("Accuracy", None, "TRAIN-MONITOR-ON-TRAIN", "'Accuracy' is no score of the validation"),
        ("loss", None, "TRAIN-MONITOR-ON-TRAIN", "'loss' is no score of the validation part"),
        ("train_eval_dice_dark", None, "TRAIN-MONITOR-ON-TRAIN", "what the network was trained on"),
        ("val_dice_coef", None, "TRAIN-MONITOR-MISSING", "no epoch logs 'val_dice_coef'"),
        ("val_loss", None, "TRAIN-MONITOR-MISSING", "expected one of val_macro_foreground_dice"),
        ("val_dice_dark", "min", "TRAIN-MONITOR-DIRECTION", "would keep the worst epoch"),
        ("val_cross_entropy", "max", "TRAIN-MONITOR-DIRECTION", "leave it out, or give 'min'"),
    ],
)
def test_what_cannot_choose_an_epoch_is_refused(name, direction, code, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve_monitor(name, direction, NAMES)
    assert caught.value.code == code
    assert str(caught.value).startswith(code)


def test_a_monitor_knows_its_direction_and_its_class():
    dark = resolve_monitor("val_dice_dark", None, NAMES)
    surprise = resolve_monitor("val_cross_entropy", "min", NAMES)
    assert (dark.direction, dark.value, surprise.direction) == ("max", 1, "min")
    assert dark.score(epoch(1, 0.25)) == 0.25
    assert surprise.score(epoch(1, 0.25)) == 0.5
    assert resolve_monitor("val_dice_bright", None, NAMES).score(epoch(1, 0.25)) is None
    assert MONITOR.is_better(epoch(2, 0.3), epoch(1, 0.25))
    assert not MONITOR.is_better(epoch(2, 0.25), epoch(1, 0.25))
    assert not MONITOR.is_better(epoch(2, 0.2), epoch(1, 0.25))
    assert MONITOR.is_better(epoch(2, 0.2), epoch(1, None))
    assert not MONITOR.is_better(epoch(2, None), epoch(1, 0.25))


def test_settings_say_everything():
    assert asdict(TrainSettings())["loss"] == "cross-entropy+dice"
