"""Pages in a headless browser: what they complain of, how they look, how wide they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 90
WIDTH = 1200  # pixels of a desktop page
DARK = "--blink-settings=preferredColorScheme=0"
NARROW = [360, 660, 940]  # pixels: a telephone, a small tablet, the narrowest page with real tables
LISTEN = """
onmessage = event => {
  for (let i = 0; i < frames.length; i++)
    if (frames[i] === event.source) document.body.setAttribute("data-frame" + i, event.data);
}
"""


def browse(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser with a profile of its own."""
    profile = path.parent / "profile"
    always = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    always += ["--disable-dev-shm-usage", "--virtual-time-budget=2000"]
    command = [str(CHROMIUM), *always, f"--user-data-dir={profile}", *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)


def complaints(path: Path) -> list[str]:
    """What the page writes to the console, refused requests among it."""
    done = browse(path, "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert "</html>" in done.stdout
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(path: Path, height: int, *flags: str) -> np.ndarray:
    """The top of a page as red, green and blue, shape (height, `WIDTH`, 3)."""
    target = path.parent / "shot.png"
    target.unlink(missing_ok=True)
    browse(path, f"--window-size={WIDTH},{height}", f"--screenshot={target}", *flags)
    with Image.open(target) as image:
        return np.asarray(image.convert("RGB"))


def inner_widths(page: str, folder: Path) -> list[int]:
    """Width of what there is to scroll, in frames of the widths in `NARROW`, all tables open.

    A script can only be run in a copy of the page whose policy allows it.
    """
    told = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    copy = copy.replace("<details>", "<details open>").replace("</body>", f"{told}</body>")
    (folder / "copy.html").write_text(copy, encoding="utf-8")
    frames = "".join(
        f'<iframe src="copy.html" style="width:{width}px;height:800px;border:0"></iframe>'
        for width in NARROW
    )
    outer = folder / "outer.html"
    outer.write_text(f"<body><script>{LISTEN}</script>{frames}</body>")
    found = dict(re.findall(r'data-frame(\d)="(\d+)"', browse(outer, "--dump-dom").stdout))
    return [int(found[str(place)]) for place in range(len(NARROW))]
