"""YAML files from outside: small, of plain values, and read with one message for whatever is wrong.

YAML can name one value many times. A few lines of that unfold into more than any memory holds as
soon as something walks over them, so what was read is counted first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.errors import RequestError

MAX_BYTES = 2**26
MAX_VALUES = 5_000_000
LONGEST_REASON = 300


def read_yaml(path: str, what: str) -> Any:
    """Content of a YAML file: mappings, lists and plain values; no objects are made.

    Parameters
    ----------
    path : str
        Local file.
    what : str
        What it should be, such as ``catalog``; for the message.

    Raises
    ------
    RequestError
        If it cannot be read, is no UTF-8 text, no YAML, too large, or unfolds without end.
    """
    import yaml

    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise RequestError(f"{what} {path} has more than {MAX_BYTES // 2**20} MiB; it is none")
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{what} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} {path} is no text in UTF-8; expected YAML") from error
    except RequestError:
        raise
    # Beside its own errors the parser lets through what making a date or a number raises.
    except (
        *(yaml.YAMLError, ArithmeticError, AttributeError, LookupError),
        *(RecursionError, TypeError, ValueError),
    ) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise RequestError(f"{what} {path} is not YAML: {reason}") from error
    if not _is_small(content):
        raise RequestError(
            f"{what} {path} unfolds to more than {MAX_VALUES:,} values; write it without "
            "references (& and *) to lists of references"
        )
    return content


def _is_small(content: Any) -> bool:
    """Whether the values are few, each counted as often as it is named."""
    waiting, counted = [content], 0
    while waiting and counted <= MAX_VALUES:
        counted += 1
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)
    return not waiting
