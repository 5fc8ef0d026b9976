"""Which errors say that memory ran out: the one kind that a smaller batch can help."""

from __future__ import annotations

SIGNS = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OOM when allocating")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy, TensorFlow or JAX means that memory ran out.

    The frameworks have classes of their own, which are told by name: this must not load them.
    """
    if isinstance(error, MemoryError):
        return True
    return any(sign in f"{type(error).__name__}: {error}" for sign in SIGNS)
