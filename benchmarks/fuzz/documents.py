"""Valid documents, small but with every field that is read."""

from __future__ import annotations

import hashlib
from typing import Any

DIGEST = "0123456789abcdef" * 4
WEIGHTS = b"weights"

IMAGE: dict[str, Any] = {
    "ome": {
        "version": "0.5",
        "multiscales": [
            {
                "name": "stack",
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "z", "type": "space", "unit": "micrometer"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [
                    {
                        "path": str(level),
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, 0.05, 0.01 * 2**level, 0.01]},
                            {"type": "translation", "translation": [0, 0, 0.005, 0.005]},
                        ],
                    }
                    for level in range(2)
                ],
                "coordinateTransformations": [{"type": "identity"}],
            }
        ],
    }
}
PLATE: dict[str, Any] = {"plate": {"wells": [{"path": "A/1"}]}}
WELL: dict[str, Any] = {"ome": {"well": {"images": [{"path": "0"}]}, "version": "0.5"}}
LABELS: dict[str, Any] = {"ome": {"version": "0.5", "labels": ["truth", "cells-1f0c9a7e"]}}
LABEL: dict[str, Any] = {
    "ome": {
        "image-label": {
            "colors": [{"label-value": 1, "rgba": [200, 0, 0, 255]}],
            "properties": [
                {"label-value": 0, "class": "background"},
                {"label-value": 1, "class": "membrane"},
            ],
            "source": {"image": "../../"},
        }
    }
}

CARD: dict[str, Any] = {
    "schema": 1,
    "classes": [
        {"value": 0, "name": "background", "color": [0, 0, 0, 0]},
        {"value": 1, "name": "membrane", "color": [200, 0, 0, 255]},
    ],
    "axes": "yx",
    "channels": 1,
    "head": "softmax",
    "intensity": {"rule": "fixed", "low": [0.0], "high": [200.0]},
    "stride": [4, 4],
    "halo": [8, 8],
    "exact": True,
    "inexact_reasons": [],
    "mismatch": {"max_difference": 0.0},
    "tile": [64, 64],
    "activation_bytes": 64,
    "voxel_size": [0.01, 0.01],
    "unit": "micrometer",
    "model_sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "training": {"packed": "a.keras"},
    "versions": {"keras": "3"},
    "task": "segmentation",
    "image_size": None,
    "resize": None,
}

PLAN: dict[str, Any] = {
    "shape": [3, 40, 36],
    "region": {"start": [0, 0, 0], "stop": [3, 40, 36]},
    "cell": [1, 32, 32],
    "shard_shape": [1, 32, 32],
    "tiling": {"tile": [1, 64, 64], "halo": [0, 8, 8], "stride": [1, 4, 4], "exact": True},
    "batch": 1,
    "projected_bytes": 1000,
}
RUN: dict[str, Any] = {
    "schema": 1,
    "kind": "segment",
    "digest": DIGEST,
    "identity": {"schema": 1},
    "job": {"image": "a.zarr", "model": "identity", "name": "cells"},
    "directory": "cells-01234567",
    "target": "a.zarr/labels/cells-01234567",
    "intensity": {"low": [0.0], "high": [1.0], "rule": "fixed"},
    "plan": PLAN,
    "versions": {},
}
EVALUATION: dict[str, Any] = {
    **{key: RUN[key] for key in ("schema", "digest", "identity")},
    "kind": "evaluate",
    "job": {"image": "a.zarr", "labels": "cells", "truth": "truth"},
    "plans": [PLAN],
}
RECORD: dict[str, Any] = {
    "item": 3,
    "attempt": "20260101T000000-00000000",
    "region": {"start": [0, 0, 0], "stop": [1, 32, 32]},
    "objects": [{"key": "0/c/0/0/0", "size": 10, "checksum": "00"}],
    "seconds": 0.5,
}
HEADER: dict[str, Any] = {
    **{"schema": 1, "job": DIGEST, "stage": "infer"},
    "attempt": "20260101T000000-00000000",
}

MODEL: dict[str, Any] = {
    "module": "keras.src.models.functional",
    "class_name": "Functional",
    "registered_name": "Functional",
    "config": {
        "name": "net",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Conv2D",
                "registered_name": None,
                "config": {
                    "filters": 3,
                    "kernel_initializer": {
                        "module": "keras.initializers",
                        "class_name": "GlorotUniform",
                        "config": {"seed": None},
                    },
                },
            }
        ],
    },
}

SEGMENT_JOB: dict[str, Any] = {
    **{"image": "a.zarr", "model": "identity", "name": "cells", "region": "z=0:2,y=1:30"},
    **{
        "memory": "8GiB",
        "workers": 2,
        "channels": "0,1",
        "probabilities": True,
        "gpus_per_worker": 0,
    },
}
EVALUATE_JOB: dict[str, Any] = {
    **{
        "image": "a.zarr",
        "labels": "cells",
        "truth": "truth",
        "tolerances": "0.05,0.1",
        "cap": 2.5,
    },
    **{"split": "test", "instances": True, "images_along": "z"},
}
TRAIN_JOB: dict[str, Any] = {
    **{"catalog": "c.yaml", "out": "b", "folds": 5, "shares": "0.7,0.15,0.15", "crop": "256,256"},
    **{"learning_rate": 0.003, "preset": "default", "intensity_percentiles": "1,99"},
}

CATALOG = """\
classes: [background, membrane]
volumes:
  - {image: stack.zarr, label: truth, group: fly1, region: "z=0:1"}
  - image: stack.zarr
    label: truth
    region: z=1:3
    split: test
    images_along: z
"""
SAMPLES = """\
samples: truth.csv
images: images
classes: [non_covid, covid]
"""
TABLE = """\
image,class,label,group,split
a.png,non_covid,0,p1,train
b.png,covid,1,p2,test
"""
TABLE_LOG = """\
epoch,loss,accuracy,val_loss,val_accuracy,lr
1,0.81,0.71,0.68,0.75,0.001
2,0.61,0.78,0.66,0.76,0.001
3,0.52,0.80,0.71,0.74,0.0005
4,0.41,0.83,nan,0.73,0.0005
"""
KERAS_LOG = """\
model.compile(loss='categorical_crossentropy', optimizer=SGD(lr=0.01), metrics=['accuracy'])
EarlyStopping(min_delta=0.01, monitor='accuracy', patience=40, mode='max')
reduce_lr = ReduceLROnPlateau(factor=0.5, patience=3)
X = np.ones(100)
xs = [X, X]
model.fit(X, y, batch_size=10, validation_split=0.1, epochs=3, callbacks=[reduce_lr])
Epoch 1/3
90/90 [==============================] - 43s 478ms/step - loss: 0.8159 - accuracy: 0.7111 - \
val_loss: 0.6816 - val_accuracy: 0.7000
Epoch 2/3
90/90 [==============================] - 43s 478ms/step - loss: 0.6159 - accuracy: 0.7222 - \
val_loss: 0.6916 - val_accuracy: 0.7000
Epoch 3/3
90/90 ━━━━━━━━━━━━━━━━━━━━ 43s 478ms/step - loss: 0.5159 - accuracy: 0.7333 - \
val_loss: 0.7816 - val_accuracy: 0.6000
>>> model.predict(X)
array([[0.1, 0.9],
       [1.0, 0.0]], dtype=float32)
>>> test_function(xs)
[0.6816, 0.7325]
dice: 0.91 - iou: 0.85 - loss: 0.12
"""
THRESHOLDS = "data.rare_share=0.02,model.one_class=0.95,data.fewest_items=7"
REGION = "z=0:2,y=1:30"
