"""Keras, imported quietly and once: the one place that knows TensorFlow's switches."""

from __future__ import annotations

import os
from logging import getLogger
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

logger = getLogger(__name__)


def import_keras() -> ModuleType:
    """Return the ``keras`` module; its backend says nothing on stderr while it loads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN is on by default, but says so on stderr unless it was asked for.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.get_logger().setLevel("ERROR")
    return keras


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
