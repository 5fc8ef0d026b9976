"""Valid documents with something wrong in them: trees as JSON and YAML hold them, texts, bytes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

MOST_CHANGES = 4
DEEP = 60
LARGEST = 1e300
# What readers trip over: wrong kinds, numbers no type holds, texts that mean something elsewhere.
STRANGE: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        255,
        256,
        0.5,
        -0.0,
        1e308,
        1e-320,
        10**30,
        -(2**63),
        10**400,
    ),
    *(float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "0",
        "a",
        "z",
        "1e999",
        "nan",
        "../../etc",
        "/",
        "a/../b",
        "s3://b/k",
        "\x00",
        "\x1b[2J",
    ),
    *("\ud800", "<script>alert(1)</script>", "é" * 40, "x" * 5000, "9" * 5000, "{", "[]", "%s%n"),
    *([], {}, [[]], [{}], {"": None}, [None] * 7, [0, 0, 0], ["a", "b"], {"a": {"b": []}}),
)
TOKENS = (
    *("[", "]", "{", "}", "(", ")", ",", ":", "-", "&a ", "*a", "!!int ", "!!timestamp ", "|", ">"),
    *(
        "nan",
        "inf",
        "1e999",
        "0",
        "-1",
        "9" * 50,
        "null",
        "true",
        "=",
        "..",
        "\t",
        "\n",
        "\r",
        "\x08",
    ),
    *("\x1b[31m", "\ufeff", "é", "'", '"', "\\", "loss", "epoch", "predict(x)", "x = [x]", "1.0"),
)


def changed_tree(random: Random, document: Any) -> Any:
    """A copy of a document of dicts, lists and plain values with 1 to 4 changes."""
    holder = {"document": copy.deepcopy(document)}
    for _ in range(random.randint(1, MOST_CHANGES)):
        places = list(_places(holder))
        node, key = random.choice(places)
        _change(random, node, key, random.choice(places))
    return holder["document"]


def _places(root: Any) -> Any:
    """Every value of a tree as the node that holds it and its key, the root's holder first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            yield node, key
            if isinstance(node[key], dict | list):
                waiting.append(node[key])


def _change(random: Random, node: Any, key: Any, other: tuple[Any, Any]) -> None:
    kind = random.randrange(8)
    value = node[key]
    if kind <= 2:
        node[key] = copy.deepcopy(random.choice(STRANGE))
    elif kind == 3 and key != "document":
        del node[key]
    elif kind == 4:
        node[key] = copy.deepcopy(other[0][other[1]])
    elif kind == 5 and isinstance(node, dict) and key != "document":
        node[str(random.choice(STRANGE))[:9]] = node.pop(key)
    elif kind == 6:
        node[key] = [value] if random.random() < 0.8 else _nested(value)
    elif isinstance(value, list) and value:
        value.append(copy.deepcopy(random.choice(value)))
    elif isinstance(value, int | float) and abs(value) < LARGEST:
        node[key] = value * random.choice((-1, 0, 2, 0.5, 1000))
    elif isinstance(value, str):
        node[key] = changed_text(random, value)


def _nested(value: Any) -> Any:
    for _ in range(DEEP):
        value = [value]
    return value


def changed_text(random: Random, text: str) -> str:
    """A text with 1 to 4 changes: pieces lost, doubled, moved, overwritten, put in."""
    for _ in range(random.randint(1, MOST_CHANGES)):
        start = random.randint(0, len(text))
        stop = min(len(text), start + random.randint(0, random.choice((1, 8, 80))))
        piece = random.choice(
            (
                "",
                text[start:stop] * random.choice((2, 3, 50)),
                random.choice(TOKENS),
                random.choice(TOKENS) * random.choice((1, 2, 200)),
                "".join(random.sample(text[start:stop], stop - start)),
                chr(random.choice((0, 7, 27, 127, 160, 8238, 65279, random.randrange(55000)))),
            )
        )
        text = text[:start] + piece + text[stop:]
    return text


def changed_bytes(random: Random, data: bytes) -> bytes:
    """Bytes with 1 to 4 changes, now and then cut off."""
    content = bytearray(data)
    for _ in range(random.randint(1, MOST_CHANGES)):
        start = random.randrange(len(content) + 1)
        length = random.choice((1, 1, 4, 64))
        content[start : start + random.choice((0, length))] = random.randbytes(length)
    return bytes(content[: random.randrange(len(content))] if random.random() < 0.1 else content)
