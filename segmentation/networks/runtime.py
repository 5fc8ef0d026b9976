"""Keras, imported quietly and once: the one place that knows TensorFlow's switches."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import warnings
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = getLogger(__name__)

# Nearly half of the seconds that the import takes; each is optional to Keras or TensorFlow.
COMPANIONS = frozenset({"jax", "pandas", "sklearn"})
NOTICES = (b"All log messages before absl::InitializeLog()", b"oneDNN custom operations are on")


def import_keras() -> Any:
    """Return the ``keras`` module; its backend says nothing on stderr while it loads."""
    if "keras" in sys.modules:
        # Not what is there: another thread may be in the middle of it.
        import keras

        return keras
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_notices(), _without_companions():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            tensorflow.get_logger().setLevel("ERROR")
    return keras


class _Absent(MetaPathFinder):
    """Says of packages that they are not installed, to the thread that made it."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names, self._thread = names, threading.get_ident()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Refuse the packages; leave all others to the next finder."""
        if threading.get_ident() == self._thread and fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"no {fullname} for Keras", name=fullname)


@contextmanager
def _without_companions() -> Iterator[None]:
    """Hide what Keras and TensorFlow import where they find it, and we never hand to them."""
    finder = _Absent(COMPANIONS - {_wanted_backend()})
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _wanted_backend() -> str:
    """The backend that Keras will take, by its own rules."""
    wanted = os.environ.get("KERAS_BACKEND")
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "keras.json")
    if wanted or not file.is_file():
        return wanted or "tensorflow"
    try:
        return str(json.loads(file.read_text())["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


@contextmanager
def _without_notices() -> Iterator[None]:
    """Hold back what is written to stderr; afterwards pass on all but the notices.

    TensorFlow's C++ side greets before any switch of its own is read.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not any(notice in line for notice in NOTICES):
                    os.write(2, line)


@contextmanager
def reading_weights() -> Iterator[None]:
    """Hold while Keras turns variables into arrays: TensorFlow's lack NumPy 2's ``copy``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


def configure(threads: int | None = None) -> None:
    """Make the backend repeatable, in full float32, and limit its threads.

    Parameters
    ----------
    threads : int, optional
        Threads within one operation. They are fixed when the backend first computes; a later
        wish is logged and changes nothing.
    """
    keras = import_keras()
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        return
    import tensorflow

    tensorflow.config.experimental.enable_op_determinism()
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    if threads is None:
        return
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        logger.info("TensorFlow is already running; it keeps its threads, %d were asked", threads)
