"""The command in a process of its own, with the credentials of a store; and what it stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.test_flows.images import COMMAND, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.endpoint import Endpoint

CLASSES = ("background", "membrane", "synapse")
NAME = "cells"
SECONDS = 600.0
VERSION = re.compile(rf"{NAME}-[0-9a-f]{{8}}")


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run.

    Attributes
    ----------
    endpoint : Endpoint
        The store, which they find in their environment.
    settings : dict
        Variables for all commands.
    """

    endpoint: Endpoint
    settings: dict[str, str]

    def __call__(self, *arguments: Any, **env: str) -> Answer:
        """Run a command to its end."""
        return self.answer(self.start(*arguments, **env))

    def start(self, *arguments: Any, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **self.endpoint.environment,
                **self.settings,
                **env,
            },
        )

    def answer(self, process: subprocess.Popen[str]) -> Answer:
        """What a started command left behind; no secret is in it."""
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert self.endpoint.secret not in out + err
        return Answer(process.returncode, out, err)

    def segment(self, image: str, *arguments: Any, **env: str) -> Answer:
        """Segment an image with scores, in one process."""
        return self.answer(self.start(*segmentation(image, *arguments), **env))


def segmentation(image: str, *arguments: Any) -> list[Any]:
    """The arguments of a segmentation with the identity predictor and scores."""
    request = ["segment", image, "--model", "identity", "--name", NAME, "--truth", "truth"]
    return [*request, "--executor", "serial", *arguments]


def await_event(
    process: subprocess.Popen[str], event: Callable[[], bool], seconds: float = 300.0
) -> None:
    """Wait until something came to be while a command runs."""
    deadline = time.monotonic() + seconds
    while not event():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing came to be"
        time.sleep(0.1)


def tree(folder: str) -> dict[str, bytes]:
    """Bytes of every file below a folder, by key."""
    root = Path(folder)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def comparable(labels: dict[str, bytes]) -> dict[str, Any]:
    """The objects below ``labels/`` without what names the image and its place.

    A version's folder and provenance hold digests of the image's listing, which has times in a
    file system and ETags in a store; all else has to be the same bytes.
    """
    found: dict[str, Any] = {}
    for key, data in labels.items():
        name = VERSION.sub(NAME, key)
        found[name] = data
        if name.endswith("zarr.json") and name.count("/") < 2:
            document = json.loads(VERSION.sub(NAME, data.decode()))
            document.get("attributes", {}).pop("maskmill", None)
            found[name] = document
    return found
