"""The folder of a training: what it belongs to, and where everything lies.

```
BUNDLE/model.keras, card.json          the network, or the mean of the folds' networks
BUNDLE/training/run.json               job, digest
BUNDLE/training/split.json             who was trained, validated and tested on
BUNDLE/training/epochs.json, history.csv, checkpoint.npz, result.json, report.html
BUNDLE/recalibrated/                   a bundle with other BatchNorm statistics, where it helps
BUNDLE/fold-0/ …                       the same again, for every fold
```
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from flows.errors import RequestError
from flows.model import open_model
from flows.new_bundle import new_bundle, resumed_bundle
from flows.train_network import check_settings
from flows.training_data import TrainingData, prepare_data
from segmentation.bundle import CARD_FILE

if TYPE_CHECKING:
    from flows.jobs import TrainJob

SCHEMA = 1
TRAINING = "training"
FOLD = "fold-"
RECALIBRATED = "recalibrated"
RUN = "run.json"
SPLIT = "split.json"
EPOCHS = "epochs.json"
HISTORY = "history.csv"
RESULT = "result.json"
STOP = "stop"
# What is asked for but changes no weight.
FREE = frozenset(
    {"catalog", "out", "executor", "workers", "gpus_per_worker", "address", "memory", "overfit_one"}
)


class LearningData(Protocol):
    """What every kind of training learns from: items divided into parts."""

    @property
    def split(self) -> dict[str, Any]:
        """Content of split.json."""


Data = TypeVar("Data", bound=LearningData, covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class AnyTraining(Generic[Data]):
    """A training with its folder, whatever is learned.

    Attributes
    ----------
    job : TrainJob
        What was asked for.
    data : LearningData
        Volumes or samples, and their split.
    folder : Path
        The bundle.
    digest : str
        Of everything that can change a weight.
    """

    job: TrainJob
    data: Data
    folder: Path
    digest: str

    @property
    def folds(self) -> range:
        """Numbers of the networks to train."""
        return range(len(self.data.split["folds"]))

    @property
    def records(self) -> Path:
        """Folder of everything but the bundle itself."""
        return self.folder / TRAINING

    def home(self, fold: int) -> Path:
        """Bundle of one network."""
        return self.folder / f"{FOLD}{fold}" if self.job.folds else self.folder

    def records_of(self, fold: int) -> Path:
        """Records of one network."""
        return self.home(fold) / TRAINING

    def result(self) -> dict[str, Any] | None:
        """What came of it, where it is done."""
        return _done(self.folder)

    def result_of(self, fold: int) -> dict[str, Any] | None:
        """What came of one network, where it is done."""
        return _done(self.home(fold))


def _done(bundle: Path) -> dict[str, Any] | None:
    path = bundle / TRAINING / RESULT
    if not path.is_file() or not (bundle / CARD_FILE).is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result


TrainingRun: TypeAlias = AnyTraining[TrainingData]


def plan_training(job: TrainJob) -> TrainingRun:
    """Everything about a training that can be known before a worker starts; nothing is written.

    Raises
    ------
    RequestError, StorageError
        If there is no place for the bundle, or it holds another bundle, another training or
        something else; if volumes, split or settings make the training impossible.
    """
    folder = checked_place(job)
    data = prepare_data(job)
    check_settings(job, data)
    digest = training_digest(job, data)
    known = folder / TRAINING / RUN
    if known.is_file() and not job.overfit_one:
        check_same(known, job, digest)
    return AnyTraining(job, data, folder, digest)


def checked_place(job: TrainJob) -> Path:
    """Folder of the bundle: a new one, or one in which a training was begun.

    Raises
    ------
    RequestError
        If none is named, or it holds something else.
    """
    if job.overfit_one:
        return Path(job.out or ".")
    if job.out is None:
        raise RequestError("--out is missing; give the bundle to make")
    begun = resumed_bundle(job.out, f"{TRAINING}/{RUN}")
    return begun or new_bundle(job.out, (TRAINING,))


def open_training(run: AnyTraining[LearningData], fold: int) -> Path:
    """Make the folders of a network and note what they belong to; its records.

    Workers do this, once they know that the network can be trained: a request that is refused
    leaves nothing behind.
    """
    run.records.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, "digest": run.digest, "job": deciding(run.job)}
    write_whole(run.records / RUN, json.dumps(document, indent=1))
    write_whole(run.records / SPLIT, json.dumps(run.data.split, indent=1))
    run.records_of(fold).mkdir(parents=True, exist_ok=True)
    return run.records_of(fold)


def forget_stop(run: AnyTraining[LearningData]) -> None:
    """Forget an earlier wish to stop."""
    for fold in run.folds:
        (run.records_of(fold) / STOP).unlink(missing_ok=True)


def training_digest(job: TrainJob, data: TrainingData) -> str:
    """Hex SHA-256 of settings, split, images and labels, and the network that is started from."""
    start = open_model(job.pretrained).digest if job.pretrained else None
    content = {"job": deciding(job), "split": data.split["digest"], "pretrained": start}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Replace a small file in one go; several processes may."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.write_text(text + "\n", encoding="utf-8")
    os.replace(draft, path)


def deciding(job: TrainJob) -> dict[str, Any]:
    """Fields of a job that can change a weight, for JSON."""
    fields: dict[str, Any] = job.model_dump(mode="json")
    return {name: value for name, value in fields.items() if name not in FREE}


def check_same(known: Path, job: TrainJob, digest: str) -> None:
    """Refuse a folder that another training was begun in.

    Parameters
    ----------
    known : Path
        The run.json there.
    job, digest
        Of the training that is asked for.

    Raises
    ------
    RequestError
        With the settings that differ.
    """
    document = json.loads(known.read_text())
    if document["digest"] == digest:
        return
    now, then = deciding(job), document["job"]
    changed = [
        f"--{name.replace('_', '-')} {then.get(name)} → {now[name]}"
        for name in now
        if now[name] != then.get(name)
    ]
    raise RequestError(
        f"{known.parent.parent} holds another training "
        f"({'; '.join(changed) or 'of other data, or of data that were changed since'}); "
        "repeat its settings to go on with it, or choose another folder"
    )
