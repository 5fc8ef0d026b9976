"""What workers do when a classifier is trained: the network of a fold, or one of all folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.classifier_run import ClassifierRun, build, classifier_settings, intensity_rule
from flows.errors import RequestError
from flows.pool import training_workers
from flows.prepared_images import CACHE_BYTES, PreparedImages
from flows.sizing import RESERVED_TRAINING, training_memory
from flows.train_work import STOPPED
from flows.training_run import open_training
from segmentation.bundle import bundle_digest, load_card, load_model, save_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class ClassifierWork:
    """Trains the network of a fold.

    Attributes
    ----------
    run : ClassifierRun
        What to train, and where it goes.
    threads : int
        Threads of the device runtime.
    """

    run: ClassifierRun
    threads: int

    def open(self) -> Callable[[int], dict[str, Any]]:
        """Check what can be checked before an image is read.

        Raises
        ------
        RequestError
            If a step does not fit into memory.
        """
        from segmentation.networks.runtime import configure

        configure(self.threads)
        _check_memory(self.run, build(self.run))
        data = self.run.data
        images = PreparedImages(
            data.samples.images, data.channels, intensity_rule(self.run.job), data.image_size
        )
        return lambda fold: self.train(fold, images)

    def train(self, fold: int, images: PreparedImages) -> dict[str, Any]:
        """Document of a fold; what an earlier attempt finished is not done again."""
        from flows.classifier_session import ClassifierSession
        from segmentation.training.fit import TrainingStopped

        done = self.run.result_of(fold)
        if done is not None:
            return done
        open_training(self.run, fold)
        try:
            return ClassifierSession.begin(self.run, fold, images).finish()
        except TrainingStopped:
            return {STOPPED: True}


def _check_memory(run: ClassifierRun, model: Any) -> None:
    """Refuse a step that cannot fit; a GPU's memory is its own and not looked at."""
    from segmentation.networks.memory import training_bytes

    batch = classifier_settings(run.job, "float32").batch_size
    have = training_memory(run.job.memory, training_workers(run.job))
    need = RESERVED_TRAINING + CACHE_BYTES + training_bytes(model, run.data.image_size, batch)
    if need > have and not run.job.gpus_per_worker:
        raise RequestError(
            f"a step of {batch} images of {run.data.image_size} needs about "
            f"{need // MEBIBYTE} MiB and one training has {have // MEBIBYTE} MiB; use a smaller "
            "--batch-size, --image-size or --width, or give more --memory"
        )


@dataclass(frozen=True, slots=True)
class ClassifierEnsembleWork:
    """Makes one classifier of those of all folds.

    Attributes
    ----------
    run : ClassifierRun
        All its folds are done.
    """

    run: ClassifierRun

    def open(self) -> Callable[[int], str]:
        """Nothing is shared."""
        return self.make

    def make(self, _item: int) -> str:
        """Save the bundle; its digest."""
        from segmentation.classification.card import classifier_card
        from segmentation.networks.ensemble import average_networks

        homes = [self.run.home(fold) for fold in self.run.folds]
        cards = [load_card(home) for home in homes]
        model = average_networks([load_model(home) for home in homes])
        training = {
            "ensemble": [bundle_digest(home) for home in homes],
            "settings": cards[0].training["settings"],
            "split": cards[0].training["split"],
        }
        card = classifier_card(
            model, cards[0].classes, intensity=cards[0].intensity, training=training
        )
        save_bundle(self.run.folder, model, card)
        return bundle_digest(self.run.folder)
