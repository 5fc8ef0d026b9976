"""Pictures of Prefect's pages with the shipped deployments, as headless Chromium shows them.

Run ``python -m benchmarks.prefect_pages docs/images``; it starts PostgreSQL, a Prefect server and
a worker, segments a small volume with a shifted truth, and writes ``prefect-form.png`` (the form of
a deployment), ``prefect-run.png`` (the run) and ``prefect-worst.png`` (its worst section). It needs
PostgreSQL and Chromium.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.daemons import ServiceAbsentError
from tests.services.pages import chromium
from tests.services.postgres import postgres
from tests.services.prefect_site import prefect_site
from tests.services.volumes import make_volume

if TYPE_CHECKING:
    from tests.services.pages import Page
    from tests.services.prefect_site import Site

FLOW = "segment-volume/segment-volume"


def main() -> None:
    """Start everything, run one segmentation, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go, such as docs/images")
    target = parser.parse_args().folder
    if not target.is_dir():
        raise SystemExit(f"{target} is no folder; give the one where the pictures go")
    auth = f"admin:{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        try:
            with postgres() as database, prefect_site(database, home, auth) as site:
                run = segmented(site, home)
                with chromium(home, auth) as page:
                    take(page, site, run, target)
        except ServiceAbsentError as error:
            raise SystemExit(str(error)) from error


def segmented(site: Site, folder: Path) -> str:
    """A finished run of the deployment that segments a volume; its id."""
    site.deploy()
    image = make_volume(folder / "volume", shape=(8, 384, 384))
    job = {"image": image, "model": "identity", "name": "cells", "truth": "truth"}
    with site.worker(folder / "worker.txt"):
        run = site.start(FLOW, job | {"executor": "serial"})
        state = site.ended(run)
    if state != "Completed":
        raise SystemExit(f"the run ended as {state}; see {folder / 'worker.txt'}")
    return run


def take(page: Page, site: Site, run: str, target: Path) -> None:
    """Write the pictures."""
    form = f"deployments/deployment/{site.deployment(FLOW)['id']}/run"
    artifacts = site.artifacts(run)
    worst = next(found["id"] for key, found in artifacts.items() if key.endswith("-worst"))
    for name, address, text in (
        ("form", form, "name of the mask volume"),
        ("run", f"runs/flow-run/{run}", "publish"),
        ("worst", f"artifacts/artifact/{worst}", "macro-foreground Dice"),
    ):
        page.open(f"{site.url}/{address}", text)
        page.until("[...document.images].every(image => image.complete)")
        picture = page.screenshot(target / f"prefect-{name}.png")
        sys.stdout.write(f"{picture}: {picture.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main()
