"""Networks and strategies that the tests of geometry, packing and prediction share."""

from hypothesis import strategies as st

from segmentation.networks.runtime import import_keras

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
def unets(draw, max_depth=3, axes=("yx", "zyx")):
    """Options of `build_unet`, thin enough to be quick."""
    axes = draw(st.sampled_from(axes))
    depth = draw(st.integers(0, max_depth if axes == "yx" else min(max_depth, 2)))
    windows = st.tuples(*[st.integers(1, 3) for _ in axes])
    return {
        "axes": axes,
        "channels": draw(st.integers(1, 2)),
        "num_classes": 3,
        "width": 2,
        "depth": depth,
        "pool": draw(st.none() | st.lists(windows, min_size=depth, max_size=depth)),
        "kernel_size": draw(st.sampled_from([1, 2, 3, 5])),
        "dilation": draw(st.sampled_from([1, 2])),
        "upsampling": draw(st.sampled_from(["nearest", "transpose"])),
        "batch_norm": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**16)),
    }


@st.composite
def _plain(draw):
    kind = draw(st.sampled_from(["Conv2D", "SeparableConv2D", "DepthwiseConv2D"]))
    options = {"kernel_size": draw(st.integers(1, 5)), "dilation_rate": draw(st.integers(1, 3))}
    filters = {} if kind == "DepthwiseConv2D" else {"filters": 2}
    return [(kind, {**options, **filters, "padding": "same", "activation": "relu"})]


@st.composite
def _unpadded(draw):
    size = draw(st.integers(2, 5))
    before = draw(st.integers(0, size - 1))
    pad = ((before, size - 1 - before),) * 2
    parts = [
        ("ZeroPadding2D", {"padding": pad}),
        ("Conv2D", {"filters": 2, "kernel_size": size}),
    ]
    return draw(st.permutations(parts))


@st.composite
def _down_and_up(draw):
    step = draw(st.sampled_from([2, 3]))
    window = draw(st.integers(1, 4))
    pool = {"pool_size": window, "strides": step, "padding": "same"}
    down = [
        ("Conv2D", {"filters": 2, "kernel_size": window, "strides": step, "padding": "same"}),
        ("MaxPooling2D", pool),
        ("AveragePooling2D", pool),
    ]
    kernel = draw(st.integers(step, 5))
    up = [
        ("UpSampling2D", {"size": step}),
        ("UpSampling2D", {"size": 2 if step == 2 else 4, "interpolation": "bilinear"}),
        ("Conv2DTranspose",
         {"filters": 2, "kernel_size": kernel, "strides": step, "padding": "same"}),
    ]  # fmt: skip
    way_up = draw(st.sampled_from(up if step == 2 else [up[0], up[2]]))
    return [draw(st.sampled_from(down)), *draw(_plain()), way_up]


@st.composite
def graphs(draw):
    """Blocks of (layer, options), each with a shortcut past it or not; all keep the size."""
    block = st.one_of(_plain(), _unpadded(), _down_and_up())
    return draw(st.lists(st.tuples(block, st.booleans()), min_size=1, max_size=4))


def build_graph(blocks):
    """The network of a drawn list of blocks."""
    source = keras.Input((None, None, 1))
    features = source
    for block, shortcut in blocks:
        before = features
        for kind, options in block:
            features = getattr(layers, kind)(**options)(features)
        if shortcut:
            features = layers.Concatenate()([features, before])
    return keras.Model(source, layers.Conv2D(2, 1, activation="softmax")(features))
