"""A real store that cannot create an object only if it is absent: refused before any write."""

import numpy as np
import pytest

from tests.services.shell import Shell

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


def test_a_store_without_conditional_put_is_refused(swift, tmp_path):
    shell = Shell(swift, {})
    place = swift.make_bucket("stacks")
    np.save(tmp_path / "voxels.npy", np.ones((4, 32, 32), np.uint8))
    answer = shell("import", tmp_path / "voxels.npy", f"{place}/stack.zarr", "--axes", "zyx")
    assert answer.code == 2, answer
    assert answer.out == ""
    messages = [line for line in answer.err.splitlines() if line.startswith("maskmill: ")]
    (message,) = messages
    assert "conditional" in message
    assert place in message
    assert "Traceback" not in answer.err
    assert swift.objects(place) == {}
