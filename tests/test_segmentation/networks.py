"""Networks and strategies that the tests of geometry, packing and prediction share."""

from hypothesis import strategies as st

from segmentation.networks.runtime import import_keras
from segmentation.networks.unet import build_unet

keras = import_keras()
layers = keras.layers


def network(*body, axes="yx", channels=1, classes=2):
    """A sequence of layers between a free-sized input and a softmax head."""
    source = keras.Input((*(None,) * len(axes), channels))
    features = source
    for layer in body:
        features = layer(features)
    head = getattr(layers, f"Conv{len(axes)}D")(classes, 1, activation="softmax", name="head")
    return keras.Model(source, head(features))


@st.composite
def unets(draw, max_depth=3):
    """U-Nets of every kind, thin enough to be quick."""
    axes = draw(st.sampled_from(["yx", "zyx"]))
    depth = draw(st.integers(0, max_depth if axes == "yx" else min(max_depth, 2)))
    windows = st.tuples(*[st.integers(1, 3) for _ in axes])
    return build_unet(
        axes,
        channels=draw(st.integers(1, 2)),
        num_classes=3,
        width=2,
        depth=depth,
        pool=draw(st.none() | st.lists(windows, min_size=depth, max_size=depth)),
        kernel_size=draw(st.sampled_from([1, 2, 3, 5])),
        dilation=draw(st.sampled_from([1, 2])),
        upsampling=draw(st.sampled_from(["nearest", "transpose"])),
        batch_norm=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


def _plain(draw, features):
    kind = draw(st.sampled_from([layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D]))
    size = {"kernel_size": draw(st.integers(1, 5)), "dilation_rate": draw(st.integers(1, 3))}
    filters = {} if kind is layers.DepthwiseConv2D else {"filters": 2}
    return kind(**filters, **size, padding="same", activation="relu")(features)


def _unpadded(draw, features):
    size, before = draw(st.integers(2, 5)), draw(st.integers(0, 4))
    before = min(before, size - 1)
    pad = (before, size - 1 - before)
    parts = [layers.ZeroPadding2D((pad, pad)), layers.Conv2D(2, size)]
    for part in draw(st.permutations(parts)):
        features = part(features)
    return features


def _down_and_up(draw, features):
    step = draw(st.sampled_from([2, 3]))
    shortcut = features
    window = draw(st.integers(1, 4))
    down = draw(
        st.sampled_from(
            [
                layers.Conv2D(2, window, strides=step, padding="same"),
                layers.MaxPooling2D(window, step, "same"),
                layers.AveragePooling2D(window, step, "same"),
            ]
        )
    )
    features = _plain(draw, down(features))
    up = draw(
        st.sampled_from(
            [
                layers.UpSampling2D(step),
                layers.UpSampling2D(step, interpolation="bilinear" if step == 2 else "nearest"),
                layers.Conv2DTranspose(2, draw(st.integers(step, 5)), step, padding="same"),
            ]
        )
    )
    features = up(features)
    return layers.Concatenate()([features, shortcut]) if draw(st.booleans()) else features


@st.composite
def graphs(draw):
    """Chains of local blocks of all sorts, with shortcuts, that keep the image's size."""
    source = keras.Input((None, None, 1))
    features = source
    blocks = st.sampled_from([_plain, _unpadded, _down_and_up])
    for block in draw(st.lists(blocks, min_size=1, max_size=4)):
        features = block(draw, features)
    return keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(features))
