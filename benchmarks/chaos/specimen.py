"""The volume that is segmented, and the places where its copies lie."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.blobs import Blobs
from storage.convert import import_image, import_labels
from storage.stores import is_local, join_url

# 48 write-grid cells, some 10 MiB stored: work for a second or two.
SHAPE = (48, 768, 768)
CLASSES = ("background", "membrane", "glia", "mitochondria", "synapse")
IMAGE = "image.zarr"
TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Place:
    """Where copies of the volume lie, one folder for each run.

    Attributes
    ----------
    root : str
        URL.
    source : Path
        The volume they are copied from.
    """

    root: str
    source: Path

    def image(self, name: str) -> str:
        """URL of a copy."""
        return join_url(self.root, name, IMAGE)

    def copy(self, name: str) -> str:
        """Make a fresh copy; its URL."""
        self.remove(name)
        if is_local(self.root):
            # With its times, which belong to the digest of the image.
            shutil.copytree(self.source, self.image(name))
        else:
            there, here = Blobs(self.image(name)), Blobs(str(self.source))
            for key, _ in here.list():
                there.write(key, here.read(key))
        return self.image(name)

    def remove(self, name: str) -> None:
        """Remove a copy and its runs."""
        Blobs(join_url(self.root, name)).delete_all()

    def partials(self, name: str) -> int:
        """Temporary files of killed writers, which no reader takes for an object."""
        return len(list(Path(self.root, name).rglob(".*.partial"))) if is_local(self.root) else 0


def make_source(folder: Path) -> Path:
    """A volume of five classes with a truth that differs from it in places; made once."""
    image = folder / IMAGE
    if image.is_dir():
        return image
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    voxels = generator.integers(0, len(CLASSES), SHAPE, np.uint8)
    truth = np.where(voxels == 1, 2, voxels).astype(np.uint8)
    made = folder / "made.zarr"
    shutil.rmtree(made, ignore_errors=True)
    for name, array in (("voxels", voxels), ("truth", truth)):
        np.save(folder / f"{name}.npy", array)
    import_image(
        [str(folder / "voxels.npy")],
        str(made),
        axes="zyx",
        voxel_size=(0.05, 0.01, 0.01),
        unit="micrometer",
    )
    import_labels([str(folder / "truth.npy")], str(made), name=TRUTH, axes="zyx", classes=CLASSES)
    return made.rename(image)
