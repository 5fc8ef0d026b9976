"""Keras, imported quietly and once: the one place that knows TensorFlow's switches."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from logging import getLogger
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = getLogger(__name__)

NOTICES = (b"All log messages before absl::InitializeLog()", b"oneDNN custom operations are on")


def import_keras() -> Any:
    """Return the ``keras`` module; its backend says nothing on stderr while it loads."""
    if "keras" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_notices():
        import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.get_logger().setLevel("ERROR")
    return keras


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
