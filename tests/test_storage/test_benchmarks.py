"""The benchmarks of storage at a tiny size: they run, and say how much faster what is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyramid", "importing"])
def test_a_benchmark_prints_its_figures(tmp_path, name):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--bytes", "2e6", "--side", "512"]
    command += ["--rounds", "1", "--folder", str(tmp_path), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures = json.loads(done.stdout)
    cases = [figures] if name == "pyramid" else [figures["one file"], figures["planes, deflate"]]
    for case in cases:
        assert case["contenders"]["maskmill"]["seconds"] > 0
        assert all(ratio > 0 for ratio in case["times_as_fast_as"].values())
    assert list(tmp_path.iterdir()) == []
