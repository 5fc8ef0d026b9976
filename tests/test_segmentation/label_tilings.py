"""Labels, voxel sizes, ragged tilings and small tools that the tests of distances share."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.metrics.surface import SurfaceOptions, count_surfaces
from segmentation.region import Region

SIZES = st.sampled_from([0.3, 0.5, 1.0, 1.7, 2.0]) | st.floats(0.25, 4)

PLANE = SurfaceOptions(2, (1.0, 1.0), cap=4.0)


@st.composite
def tilings(draw, shape):
    """Boxes of any size that partition an array: it is halved, and the halves, again and again."""
    boxes = [Region.whole(shape)]
    for _ in range(draw(st.integers(0, 5))):
        box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        if box.shape[axis] == 1:
            boxes.append(box)
            continue
        cut = draw(st.integers(box.start[axis] + 1, box.stop[axis] - 1))
        boxes += [
            Region(box.start, (*box.stop[:axis], cut, *box.stop[axis + 1 :])),
            Region((*box.start[:axis], cut, *box.start[axis + 1 :]), box.stop),
        ]
    return draw(st.permutations(boxes))


@st.composite
def label_pairs(draw, num_classes=3, ignore_label=9):
    """Truth and mask, 2D or 3D: noise, one box of a class, one class everywhere, or nothing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))

    def labels(*extra):
        kind = draw(st.sampled_from(["noise", "box", "box", "full"]))
        values = st.sampled_from([*range(num_classes), *extra])
        if kind == "noise":
            return draw(hnp.arrays(np.uint8, shape, elements=values))
        filled = np.full(shape, draw(values) if kind == "full" else 0, np.uint8)
        start = [draw(st.integers(0, size - 1)) for size in shape]
        stop = [draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True)]
        filled[Region(tuple(start), tuple(stop)).slices] = draw(values)
        return filled

    return labels(ignore_label, num_classes), labels(num_classes)


@st.composite
def sizes_and_caps(draw, dimensions):
    """Voxel size and a cap that reaches from less than one voxel to beyond the image."""
    size = tuple(draw(SIZES) for _ in range(dimensions))
    multiples = st.integers(1, 5).map(lambda count: count * size[0])
    return size, draw(multiples | st.floats(0.1, 12))


def grown(core, halo, shape):
    """The core and its halo, cut at the image border."""
    return Region(
        tuple(max(0, a - h) for a, h in zip(core.start, halo, strict=True)),
        tuple(min(n, b + h) for b, h, n in zip(core.stop, halo, shape, strict=True)),
    )


def counted(count, labels, core, halo, **options):
    """What a function counts in one core, shown that and its halo only."""
    shape = labels[0].shape
    read = grown(core, halo, shape)
    blocks = (array[read.slices].copy() for array in labels)
    return count(*blocks, read=read, core=core, shape=shape, **options)


def whole(truth, mask, options):
    box = Region.whole(truth.shape)
    return count_surfaces(truth, mask, read=box, core=box, shape=truth.shape, options=options)


def square(start, stop, shape=(12, 12)):
    labels = np.zeros(shape, np.uint8)
    labels[Region(start, stop).slices] = 1
    return labels


def as_rows(counts):
    keys = zip(counts.value, counts.direction, counts.code, counts.squared, strict=True)
    return dict(zip((tuple(k.item() for k in key) for key in keys), counts.count, strict=True))
