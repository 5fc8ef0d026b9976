"""Model files that want something: made by hand, without Keras."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from pathlib import Path

import h5py
import numpy as np

LAYER = {"module": "keras.layers", "class_name": "Conv2D", "config": {"filters": 3}}


def description(*layers):
    """A functional network of some layers."""
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "registered_name": "Functional",
        "config": {"name": "net", "layers": [LAYER, *layers]},
    }


def weights(write=None):
    """An HDF5 file of weights; `write` puts more into it."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers/conv/vars/0"] = np.ones(8, np.float32)
        if write is not None:
            write(file)
    return data.getvalue()


def members(*layers, write=None):
    """What a whole model file holds, by name."""
    return {
        "config.json": json.dumps(description(*layers)).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": weights(write),
    }


def archive(path, content, more=(), *, compression=zipfile.ZIP_STORED):
    """Write an archive; `more` are members of any name, perhaps of one that is there already."""
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in [*content.items(), *more]:
            target.writestr(name, data)
    return Path(path)


def link(name, target):
    """A member that is a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def both_in_one(path, hidden):
    """HDF5 with one description in front, an archive with a harmless one behind."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(hidden)
        file["model_weights/conv/kernel"] = np.ones(3)
    with zipfile.ZipFile(path, "a") as target:
        for name, data in members().items():
            target.writestr(name, data)
    return Path(path)


def layer(kind, module="keras.layers", **config):
    """One entry of the layers."""
    return {"module": module, "class_name": kind, "config": config}


CODE = {
    "lambda layer": (layer("Lambda", function="os.system('touch owned')"), "uses Lambda,"),
    "lambda by its own module": (layer("Lambda", "keras.src.layers.core.lambda_layer"), "uses Lam"),
    "a marshalled function": (
        layer("Activation", activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
        "uses __lambda__,",
    ),
    "a program": (layer("system", "os", command="touch owned"), r"uses system \(of os\)"),
    "eval": (layer("eval", "builtins"), r"uses eval \(of builtins\)"),
    "a named function": (
        layer("Activation", activation={"class_name": "function", "config": "owned"}),
        "uses the function owned",
    ),
    "a download": (layer("get_file", "keras.utils"), r"uses get_file \(of keras.utils\)"),
    "safe mode off": (
        layer("enable_unsafe_deserialization", "keras.config"),
        r"uses enable_unsafe_deserialization \(of keras.config\)",
    ),
    "another model": (layer("load_model", "keras"), r"uses load_model \(of keras\)"),
    "a module of keras that imports": (layer("x", "keras.src.utils.x"), r"of keras.src.utils.x"),
    "not keras": (layer("Conv2D", "keras_evil.layers"), r"uses Conv2D \(of keras_evil.layers\)"),
    "another program's model": (layer("TFSMLayer", filepath="/tmp/a"), "uses TFSMLayer,"),  # noqa: S108 a name only
    "a pickled model": (layer("TorchModuleWrapper"), "uses TorchModuleWrapper,"),
    "a file of words": (layer("StringLookup", vocabulary="/etc/passwd"), "uses StringLookup,"),
    "a registered class": (
        layer("Conv2D") | {"registered_name": "evil>Conv2D"},
        r"uses Conv2D \(registered as evil>Conv2D\)",
    ),
    "no module": (layer("Sharpen", None), r"uses Sharpen \(of an unnamed module\)"),
    "no text": (layer(["Conv2D"]), r"uses \['Conv2D'\],"),
    "deep inside": (layer("Conv2D", a=[{"b": {"c": layer("Lambda")}}]), "uses Lambda,"),
}

NAMES = {
    "up": "../../owned",
    "root": "/tmp/owned",  # noqa: S108 a name only
    "inside": "assets/vocabulary.txt",
    "drive": "C:\\owned",
    "back": "..\\owned",
    "other": "model.weights.npz",
    "long": "a" * 5000,
}


def outside_link(file):
    file["more"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["more"] = h5py.SoftLink("/layers")


def outside_data(file):
    file.create_dataset("more", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual_data(file):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("more", layout)


def endless_data(file):
    file.create_dataset("more", (2**40,), "f4", chunks=(1024,))


WEIGHTS = {
    "a link outside": (outside_link, "has the link 'more' in place of weights"),
    "a link inside": (soft_link, "has the link 'more' in place of weights"),
    "data outside": (outside_data, "has the weights 'more' in another file"),
    "virtual data": (virtual_data, "has the weights 'more' in another file"),
    "more than there is": (endless_data, r"unfolds to 4,398,046,511,1\d\d, more than 50 times"),
}
