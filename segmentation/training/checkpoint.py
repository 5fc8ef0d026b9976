"""The whole state of a training in one file, replaced in one go after every epoch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from segmentation.networks.runtime import reading_weights
from segmentation.training.history import Epoch, read_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHECKPOINT = "checkpoint.npz"
SCHEMA = 1


class CheckpointError(ValueError):
    """The checkpoint cannot be gone on from."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after an epoch.

    Attributes
    ----------
    state : list of numpy.ndarray
        Of network and optimizer, in the order of `state_variables`.
    best : list of numpy.ndarray
        Weights of the best epoch.
    epochs : tuple of Epoch
        All so far.
    """

    state: list[NDArray[Any]]
    best: list[NDArray[Any]]
    epochs: tuple[Epoch, ...]

    def save(self, folder: Path) -> None:
        """Write it; a kill at any moment leaves the earlier one or this one, whole."""
        document = {"schema": SCHEMA, "epochs": [epoch.to_dict() for epoch in self.epochs]}
        arrays = {f"state-{n}": array for n, array in enumerate(self.state)}
        arrays |= {f"best-{n}": array for n, array in enumerate(self.best)}
        draft = folder / f"{CHECKPOINT}.draft"
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, document=np.array(json.dumps(document)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, folder / CHECKPOINT)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """The checkpoint of a folder; None if there is none yet.

        Raises
        ------
        CheckpointError
            If it cannot be read.
        """
        path = folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            # Opened here: NumPy leaves a damaged file open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                document = json.loads(str(file["document"]))
                state, best = (_numbered(file, kind) for kind in ("state", "best"))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise CheckpointError(
                f"{path} cannot be read ({error}); remove it to begin the training anew"
            ) from error
        if document["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has schema {document['schema']}; this version goes on from {SCHEMA}. "
                "Remove it to begin the training anew"
            )
        return cls(state, best, tuple(map(read_epoch, document["epochs"])))


def _numbered(file: Any, kind: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(f"{kind}-") for name in file.files)
    return [file[f"{kind}-{n}"] for n in range(count)]


def read_state(model: Any) -> list[NDArray[Any]]:
    """Copies of everything that changes in training: weights, statistics, seeds, optimizer."""
    with reading_weights():
        return [np.array(variable) for variable in state_variables(model)]


def write_state(model: Any, state: Sequence[NDArray[Any]]) -> None:
    """Inverse of `read_state`.

    Raises
    ------
    CheckpointError
        If the state is that of another network or optimizer.
    """
    variables = state_variables(model)
    if [tuple(v.shape) for v in variables] != [array.shape for array in state]:
        raise CheckpointError(
            f"the checkpoint holds {len(state)} arrays that do not fit the network's "
            f"{len(variables)}; it was written by another training. Remove it to begin anew"
        )
    for variable, array in zip(variables, state, strict=True):
        variable.assign(array)


def state_variables(model: Any) -> list[Any]:
    """Variables of a compiled model and its optimizer, in a fixed order."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
