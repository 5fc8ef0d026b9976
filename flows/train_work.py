"""What training workers do: a network of a fold, or one network of all folds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.train_network import check_network
from flows.training_run import TrainingRun, open_training
from segmentation.bundle import bundle_digest, load_card, load_model, save_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

STOPPED = "interrupted"


@dataclass(frozen=True, slots=True)
class TrainWork:
    """Trains the network of a fold.

    Attributes
    ----------
    run : TrainingRun
        What to train, and where it goes.
    threads : int
        Threads of the device runtime.
    """

    run: TrainingRun
    threads: int

    def open(self) -> Callable[[int], dict[str, Any]]:
        """Check what can be checked before a crop is read.

        Raises
        ------
        RequestError
            If this network cannot be trained in this way.
        """
        from segmentation.networks.runtime import configure

        configure(self.threads)
        check_network(self.run.job, self.run.data)
        return self.train

    def train(self, fold: int) -> dict[str, Any]:
        """Document of a fold; what an earlier attempt finished is not done again."""
        from flows.train_session import Session
        from segmentation.training.fit import TrainingStopped

        done = self.run.result_of(fold)
        if done is not None:
            return done
        open_training(self.run, fold)
        try:
            return Session.begin(self.run, fold).finish()
        except TrainingStopped:
            return {STOPPED: True}


@dataclass(frozen=True, slots=True)
class EnsembleWork:
    """Makes one network of those of all folds.

    Attributes
    ----------
    run : TrainingRun
        All its folds are done.
    """

    run: TrainingRun

    def open(self) -> Callable[[int], str]:
        """Nothing is shared."""
        return self.make

    def make(self, _item: int) -> str:
        """Save the bundle; its digest."""
        from segmentation.networks.ensemble import average_networks
        from segmentation.packing import make_card

        homes = [self.run.home(fold) for fold in self.run.folds]
        cards = [load_card(home) for home in homes]
        model = average_networks([load_model(home) for home in homes])
        first = cards[0]
        made = make_card(
            model,
            first.classes,
            axes=first.axes,
            intensity=first.intensity,
            voxel_size=first.voxel_size,
            unit=first.unit,
            training={
                "ensemble": [bundle_digest(home) for home in homes],
                "settings": first.training["settings"],
                "split": first.training["split"],
            },
        )
        save_bundle(self.run.folder, model, made)
        return bundle_digest(self.run.folder)


@dataclass(frozen=True, slots=True)
class OverfitWork:
    """Lets a network learn one sample by heart.

    Attributes
    ----------
    run : TrainingRun
        Nothing is written into its folder.
    threads : int
        Threads of the device runtime.
    """

    run: TrainingRun
    threads: int

    def open(self) -> Callable[[int], dict[str, Any]]:
        """As `TrainWork.open`."""
        TrainWork(self.run, self.threads).open()
        return self.overfit

    def overfit(self, fold: int) -> dict[str, Any]:
        """What came of it."""
        from flows.train_session import Session
        from segmentation.training.overfit import GOOD_DICE, STEPS, overfit_one

        # The learning rate has to last for these steps.
        job = self.run.job.model_copy(update={"steps": STEPS})
        session = Session.begin(replace(self.run, job=job), fold)
        classes = self.run.data.classes
        found = overfit_one(session.training, num_classes=len(classes), head=session.network.head)
        return {
            "passed": found.passed,
            "steps": found.steps,
            "expected": GOOD_DICE,
            "macro_foreground_dice": found.macro_foreground_dice,
            "dice": {c.name: dice for c, dice in zip(classes, found.dice, strict=True)},
        }
