"""Thresholds of all findings: defaults, each of which can be set by the command line.

Where a value was measured rather than chosen, its attribute says on what.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DataThresholds:
    """Of findings on images, labels and their split.

    Attributes
    ----------
    rare_share : float
        Share of the labelled voxels below which a class is rare.
    imbalance : float
        Ratio of the largest to the smallest class above which they are unbalanced.
    fewest_items : int
        Items or images that hold a class, below which they say little.
    fewest_groups : int
        The same, of groups.
    empty_share : float
        Share of items without foreground above which that is said.
    alike : float
        Correlation of thumbnails above which images are nearly the same.
    shift_voxels : float
        Distance between image and label, in voxels, above which they are misaligned.
    unscaled_ratio : float
        Mean of the intensities in standard deviations above which they are unscaled.
    unscaled_most : float
        Largest intensity for a network that does not normalise its input.
    lost_components : float
        Share of the components of a class that may vanish in resizing.
    prior_shift : float
        Difference of a class's share between parts that is large by itself.
    null_quantile : float
        Of random divisions by groups; beyond it a division is no accident.
    null_splits : int
        Random divisions drawn for that.
    half_width : float
        Half the width of an interval of the validation score above which it says little.
    expected_spread : float
        Standard deviation of a Dice between specimens, to judge a validation part before there
        are scores. Measured on trainings of others: .056 to .111.
    least_shift : float
        Difference of a class's share below which parts are alike, however unusual it is.
    intensity_shift : float
        The same of intensities: difference of medians in standard deviations between items.
    order : float
        Probability of so regular an order by chance, below which items are sorted.
    edge_correlation : float
        Correlation of image edges and label borders below which a shift is not believed.
    """

    rare_share: float = 0.01
    imbalance: float = 100.0
    fewest_items: int = 5
    fewest_groups: int = 3
    empty_share: float = 0.5
    alike: float = 0.98
    shift_voxels: float = 2.0
    unscaled_ratio: float = 10.0
    unscaled_most: float = 50.0
    lost_components: float = 0.2
    prior_shift: float = 0.15
    null_quantile: float = 0.95
    null_splits: int = 200
    half_width: float = 0.05
    expected_spread: float = 0.06
    least_shift: float = 0.05
    intensity_shift: float = 1.0
    order: float = 0.01
    edge_correlation: float = 0.05


@dataclass(frozen=True, slots=True)
class MetricThresholds:
    """Of findings on metrics and losses.

    Attributes
    ----------
    tolerance : float
        Difference of two values that count as equal.
    class_blind : float
        Change of a loss, relative to its size, that moving errors to a rare class must bring.
    alike : float
        Difference from another score up to which a metric is that score under another name.
    smooth : float
        What a score gives for 5 false voxels where nothing is, up to which its constant is small.
    """

    tolerance: float = 1e-4
    class_blind: float = 1e-2
    alike: float = 1e-2
    smooth: float = 0.05


@dataclass(frozen=True, slots=True)
class TrainThresholds:
    """Of findings on the course of a training.

    Attributes
    ----------
    explained : float
        Share of the gap between two curves that an explanation has to account for.
    noise_ratio : float
        How much noisier one curve has to be than another. Measured: .0043 against .0004.
    together : float
        Correlation of the changes of two curves that move as one. Measured: .96.
    worse_epochs : int
        Epochs that validation has to get worse for over-fitting.
    near_chance : float
        Distance from chance within which nothing was learned.
    learning_share : float
        Share of the epochs after which something should have been.
    inert_patience : float
        Share of the epochs which a patience may take before stopping cannot happen.
    zero_loss : float
        Validation loss below which it is degenerate, where the training loss is not.
    still_rising : float
        Gain of validation per tenth of the epochs, at the end, that more steps would continue.
    least_noise : float
        Noise of a curve, from epoch to epoch, below which it does not matter. Measured: .0043
        with moving BatchNorm statistics.
    least_gap : float
        Difference of two curves, or fall of one, below which it does not matter; of a loss, as a
        share of it.
    growth : float
        How many times its first value a training loss has to reach to have diverged.
    spread : float
        Standard deviation of Dice between images that is worth knowing.
    twin : float
        Difference up to which accuracy and a Dice are one number. Measured: .0075 to .033.
    by_chance : float
        Number of readings that arbitrary accuracies would have, up to which one is evidence.
    """

    explained: float = 0.8
    noise_ratio: float = 3.0
    together: float = 0.8
    worse_epochs: int = 3
    near_chance: float = 0.1
    learning_share: float = 0.2
    inert_patience: float = 0.5
    zero_loss: float = 1e-6
    still_rising: float = 0.01
    least_noise: float = 0.002
    least_gap: float = 0.01
    growth: float = 3.0
    spread: float = 0.03
    twin: float = 0.04
    by_chance: float = 0.05


@dataclass(frozen=True, slots=True)
class ModelThresholds:
    """Of findings on a network.

    Attributes
    ----------
    bn_gap_warning, bn_gap_error : float
        Score that moving BatchNorm statistics lose against those of the population.
    bn_disagreement : float
        Share of voxels, or of samples, whose class changes with them.
    bn_sample_disagreement : float
        The same, of samples of a classifier.
    bn_left : float
        Share of the initial statistics that is left in the moving ones.
    variance_ratio : float
        Moving variance over the population's, median of the channels. Measured: 3.9 to 5.7.
    one_class : float
        Share of predictions of one class that is a collapse.
    class_share : float
        Share of that class in the truth, up to which it is.
    saturated : float
        Share of outputs that are exactly 0 or 1.
    active : float
        Share of positions up to which a channel is dead.
    dead_share : float
        Share of a layer's channels that are dead, above which it is said.
    head_share, parameters_per_image : float
        Share of all parameters in one dense layer, and parameters for each training image.
    batch_difference : float
        Difference of a probability that company in a batch may make where rounding makes less.
        Measured: 6e-8; 9e-7 for a U-Net.
    tiled_change : float
        Share of voxels whose class changes with the tiling, above which that is grave.
    """

    bn_gap_warning: float = 0.05
    bn_gap_error: float = 0.15
    bn_disagreement: float = 0.02
    bn_sample_disagreement: float = 0.05
    bn_left: float = 0.05
    variance_ratio: float = 2.0
    one_class: float = 0.99
    class_share: float = 0.9
    saturated: float = 0.5
    active: float = 0.001
    dead_share: float = 0.25
    head_share: float = 0.8
    parameters_per_image: float = 1e4
    batch_difference: float = 1e-6
    tiled_change: float = 0.01


@dataclass(frozen=True, slots=True)
class EvaluationThresholds:
    """Of findings on scores.

    Attributes
    ----------
    pooled_gap : float
        How far a pooled score may exceed the mean over the foreground classes.
    pooled_high, class_low : float
        A pooled score above the one hides a class with a Dice below the other.
    background_share : float
        Share of background above which a score that includes it says little.
    recall_missed : float
        Recall below which a class is missed.
    foreground_found, macro_low : float
        Foreground found as such, above the one, although its classes have less than the other.
    disparity : float
        Difference between pooled Dice and the mean over images.
    outlier, outlier_gap : float
        Robust deviations below the median of the images, and Dice below it, that make an outlier.
    outlier_rows, outlier_support : int
        Images or sections needed to speak of one, and voxels of the class that each must hold.
    outlier_share : float
        The same, as a share of what half of them hold: the last voxels of a structure are hard.
    no_skill_iou : float
        Overlap with the foreground below which an accuracy no better than a constant is no skill.
    calibration : float
        Calibration error of a class.
    threshold_gain : float
        Dice that another threshold than 0.5 would bring.
    fewest_groups : int
        Groups below which there is no interval.
    fewest_samples : int
        Samples of a class below which even a perfect recall is uncertain: the lower end of
        Wilson's interval of 20 of 20 is 0.84.
    agreement : float
        Share of compared voxels of the same class as in float32, below which a lower precision
        changes too many.
    false_skip : float
        Share of the voxels of blocks that looked empty to which the network gives a class.
    """

    pooled_gap: float = 0.15
    pooled_high: float = 0.8
    class_low: float = 0.1
    background_share: float = 0.7
    recall_missed: float = 0.01
    foreground_found: float = 0.8
    macro_low: float = 0.5
    disparity: float = 0.1
    outlier: float = 3.5
    outlier_gap: float = 0.1
    outlier_rows: int = 8
    outlier_support: int = 50
    outlier_share: float = 0.1
    no_skill_iou: float = 0.05
    calibration: float = 0.1
    threshold_gain: float = 0.02
    fewest_groups: int = 3
    fewest_samples: int = 20
    agreement: float = 0.995
    false_skip: float = 0.001


@dataclass(frozen=True, slots=True)
class InferenceThresholds:
    """Of findings on how a mask was made.

    Attributes
    ----------
    seam_p : float
        Probability of so many class changes at tile faces by chance.
    seam_ratio : float
        How many times more often, or more seldom, classes change at tile faces than elsewhere.
    drift, drift_share : float
        Jump of a class's share between neighbouring sections, in robust deviations, and as a
        share of the section.
    outside : float
        Share of the voxels outside the intensities of the training.
    tile_correlation : float
        Correlation of jumps at tile faces against the mean intensities of the tiles. Measured:
        -0.57 to -0.73 with tiles normalised each by itself, 0.06 to 0.51 without.
    changed : float
        Share of voxels whose class may change between two ways that should agree.
    """

    seam_p: float = 0.01
    seam_ratio: float = 1.5
    drift: float = 8.0
    drift_share: float = 0.02
    outside: float = 0.1
    tile_correlation: float = 0.4
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All of them, by what they are about."""

    data: DataThresholds = field(default_factory=DataThresholds)
    metric: MetricThresholds = field(default_factory=MetricThresholds)
    train: TrainThresholds = field(default_factory=TrainThresholds)
    model: ModelThresholds = field(default_factory=ModelThresholds)
    evaluation: EvaluationThresholds = field(default_factory=EvaluationThresholds)
    inference: InferenceThresholds = field(default_factory=InferenceThresholds)

    @classmethod
    def changed(cls, values: Mapping[str, float]) -> Thresholds:
        """Defaults but for some, such as ``{"data.rare_share": 0.02}``.

        Raises
        ------
        ValueError
            If there is no such threshold, with the nearest names; or it counts and is not whole.
        """
        made = cls()
        for name, value in values.items():
            room, _, key = name.partition(".")
            part = getattr(made, room, None) if room in _names(made) else None
            if part is None or key not in _names(part):
                raise ValueError(f"there is no threshold {name!r}; {_known(made, room)}")
            kind = type(getattr(part, key))
            if kind is int and value != int(value):
                raise ValueError(f"threshold {name} is {value:g}; expected a whole number")
            made = replace(made, **{room: replace(part, **{key: kind(value)})})
        return made

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for JSON."""
        return asdict(self)


def _names(instance: Any) -> list[str]:
    return [one.name for one in fields(instance)]


def _known(thresholds: Thresholds, room: str) -> str:
    if room not in _names(thresholds):
        return f"expected one of {', '.join(f'{name}.…' for name in _names(thresholds))}"
    return f"of {room} there are {', '.join(_names(getattr(thresholds, room)))}"
