"""Whether a Prefect server may be configured, told in no time: Prefect itself takes seconds."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

API_URL = "PREFECT_API_URL"
PROFILE = "PREFECT_PROFILE"
# Files of the working directory that Prefect reads settings from.
LOCAL_FILES = (".env", "prefect.toml")


def may_be_configured(environment: Mapping[str, str], folder: Path | None = None) -> bool:
    """Whether Prefect may find a server in its settings; False only where it surely does not.

    Parameters
    ----------
    environment : mapping of str
        Of this process.
    folder : Path, optional
        Working directory.
    """
    if "prefect" in sys.modules or environment.get(API_URL) or environment.get(PROFILE):
        return True
    folder = folder or Path.cwd()
    if any((folder / name).exists() for name in LOCAL_FILES):
        return True
    try:
        project = folder / "pyproject.toml"
        in_project = project.is_file() and "prefect" in _tables(project).get("tool", {})
        return in_project or _in_profile(environment)
    except (OSError, ValueError, TypeError, AttributeError):
        # What is wrong with such a file is for Prefect to say.
        return True


def _in_profile(environment: Mapping[str, str]) -> bool:
    """Whether the active profile of the user names a server."""
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    if not path.is_file():
        return False
    content = _tables(path)
    active = content.get("active")
    return bool(content.get("profiles", {}).get(active, {}).get(API_URL))


def _tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
