"""Catalogs, configurations, tables and logs that are wrong: the bytes of a file, what is said."""

from __future__ import annotations

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = b"[" * 1000

CATALOGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "has no volumes; expected 'volumes:' and a list"),
    "binary": (bytes(range(256)), "is no text in UTF-8; expected YAML"),
    "control": (b"volumes: \x07", "is not YAML: .*special characters are not allowed"),
    "deep": (DEEP, "is not YAML: maximum recursion depth exceeded"),
    "bomb": (f"{BOMB}volumes: [*i]".encode(), "unfolds to more than 5,000,000 values"),
    "ring": (b"volumes: &a [*a]", "unfolds to more than 5,000,000 values"),
    "python": (
        b"volumes: !!python/object/apply:os.system ['touch owned']",
        "is not YAML: could no",
    ),
    "date": (b"volumes: 2026-13-45", "is not YAML: month must be in 1..12"),
    "number": (b"volumes: !!int x", "is not YAML: "),
    "time": (b"volumes: !!timestamp x", "is not YAML: "),
    "many digits": (b"volumes: " + b"9" * 5000, "is not YAML: Exceeds the limit"),
    "two documents": (b"volumes: []\n---\nvolumes: []", "is not YAML: expected a single document"),
    "key": (b"? [volumes]\n: 1", "is not YAML: while constructing a mapping"),
    "a list": (b"- 1", "has no volumes; expected 'volumes:'"),
    "no list": (b"volumes: {image: a}", "has no volumes; expected 'volumes:'"),
    "unknown": (b"volumes: [1]\nrun: rm", "has the field 'run'; expected volumes and classes"),
    "a number": (b"volumes: [7]", "volume 1 of the catalog has the fields 7"),
    "no label": (b"volumes: [{image: stack.zarr}]", r"has the fields \['image'\]; expected image,"),
    "outside": (
        b"volumes: [{image: stack.zarr, label: ../../x}]",
        r"label name '../../x' is not usable",
    ),
    "no name": (b"volumes: [{image: stack.zarr, label: {a: 1}}]", "label name .* is not usable"),
    "no image": (b"volumes: [{image: ' ', label: truth}]", "is not a Zarr|does not exist"),
    "scheme": (b"volumes: [{image: 'http://a/b', label: truth}]", "has the scheme 'http'; use a p"),
    "split": (b"volumes: [{image: stack.zarr, label: truth, split: []}]", r"has the split \[\]"),
    "region": (
        b"volumes: [{image: stack.zarr, label: truth, region: {z: 1}}]",
        "is not AXIS=START:STOP",
    ),
    "classes": (
        b"classes: [a, a]\nvolumes: [{image: stack.zarr, label: truth}]",
        "expected a list of at least two different names",
    ),
    "class name": (
        b'classes: [a, "b\\nc"]\nvolumes: [{image: stack.zarr, label: truth}]',
        "class name .* is not usable",
    ),
    "samples": (b"samples: 7", "names no table; expected samples: TABLE.csv"),
    "no table": (b"samples: none.csv", "the table .*none.csv cannot be read"),
}

CONFIGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds NoneType; expected fields: values"),
    "binary": (bytes(range(256)), "is no text in UTF-8; expected YAML"),
    "deep": (DEEP, "is not YAML: maximum recursion depth exceeded"),
    "bomb": (f"{BOMB}image: *i".encode(), "unfolds to more than 5,000,000 values"),
    "python": (b"image: !!python/name:os.system", "is not YAML: could not determine a construct"),
    "a list": (b"[image, model]", "holds list; expected fields: values"),
    "unknown": (b"imagee: a", r"has the unknown fields \['imagee'\]"),
    "kinds": (b"image: [1]\nmodel: {a: 1}\nname: 7", "IMAGE .*; --model .*; --name "),
    "memory": (b"image: a\nmodel: b\nname: c\nmemory: much", "'much' is not a size; write 8GiB"),
    "negative": (b"image: a\nmodel: b\nname: c\nworkers: -1", "--workers -1: input should be gre"),
    "infinite": (b"image: a\nmodel: b\nname: c\ngpus_per_worker: .inf", "--gpus-per-worker inf: "),
    "not a number": (
        b"image: a\nmodel: b\nname: c\ngpus_per_worker: .nan",
        "--gpus-per-worker nan",
    ),
    "executor": (b"image: a\nmodel: b\nname: c\nexecutor: sh", "--executor 'sh': input should be "),
}

TABLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"has the columns \[\] and 0 rows; expected a CSV"),
    "binary": (b"\xff\xfe\x00", "cannot be read: .*codec"),
    "no image": (b"class,label\na,0\n", "expected a CSV table with the column image"),
    "uneven": (b"image,class\na.png,x,y\n", "more or fewer cells than its head in the lines 2"),
    "twice": (b"image,class\na.png,x\na.png,y\n", "names a.png more than once"),
    "no name": (b"image,class\n,x\na.png,y\n", "names no image in the lines 2"),
    "huge cell": (b"image,class\n" + b"x" * 200_000 + b",y\n", "is not CSV: field larger than fie"),
    "label": (b"image,class,label\na.png,x,-1\n", "has the label '-1' for a.png; expected a whol"),
    "split": (b"image,class,split\na.png,x,all\nb.png,y,\n", "has the split 'all' for a.png"),
    "outside": (b"image,class\n../../a.png,x\nb.png,y\n", "holds no image '../../a.png'"),
}

LOGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; expected a table such as"),
    "binary": (bytes(range(256)), "is no text; expected a table such as"),
    "no log": (b"hello\n", "the text is no log of a training"),
    "uneven": (b"epoch,loss\n1,2,3\n4,5\n", "the text is no log|has 3 cells; expected at most 2"),
    "words": (b"epoch,loss\n1,high\n2,low\n", "line 2 of the table has 'high' for loss"),
    "huge cell": (
        b"epoch,loss\n1," + b"9" * 200_000 + b"\n",
        "field larger than field limit|no lo",
    ),
}

THRESHOLDS: dict[str, str] = {
    "data": "expected NAME=NUMBER",
    "data.rare_share": "expected NAME=NUMBER",
    "data.rare_share=": "expected NAME=NUMBER",
    "data.rare_share=much": "expected NAME=NUMBER",
    "data.rare_share=nan": "expected NAME=NUMBER",
    "data.rare_share=inf": "expected NAME=NUMBER",
    "data.fewest_items=1e400": "expected NAME=NUMBER",
    "data.fewest_items=2.5": "threshold data.fewest_items is 2.5; expected a whole number",
    "data.none=1": "there is no threshold 'data.none'; of data there are",
    "none.none=1": "there is no threshold 'none.none'; expected one of",
    "data.__class__=1": "there is no threshold 'data.__class__'",
    "__class__.x=1": "there is no threshold '__class__.x'",
}
