#!/usr/bin/env python3
"""Whether a page answers with success: a health check for images without curl."""

from __future__ import annotations

import sys
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT_SECONDS = 5.0


def main() -> int:
    """Entry point: 0 if the page of the only argument answers."""
    try:
        with urlopen(sys.argv[1], timeout=TIMEOUT_SECONDS):  # noqa: S310 the operator's own
            return 0
    except (URLError, OSError) as error:
        sys.stderr.write(f"{sys.argv[1]}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
