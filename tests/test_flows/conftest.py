"""What several tests of the flows share: one Ray cluster, tiny images, a tiny bundle."""

from dataclasses import replace

import numpy as np
import pytest

from flows.ray_executor import RayExecutor


@pytest.fixture(scope="session")
def ray_executor():
    """Two workers on the one Ray cluster of the session."""
    executor = RayExecutor(workers=2, cpus_per_worker=1.0)
    executor.start()
    yield executor
    executor.close()


@pytest.fixture
def one_ray_worker(ray_executor):
    """One worker on the same cluster."""
    return replace(ray_executor, workers=1)
