"""Commands as documents write them: do the verb and its options exist?

Nothing is run. A verb is known from the table of verbs, its options from the fields of its job. ::

    wrong_words("maskmill segment a.zarr --modle b")   # ["--modle"]
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from flows import jobs, verbs
from flows.command import EXTRA_OPTIONS
from flows.fields import is_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "maskmill"
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
REDIRECTION = re.compile(r"\d*[<>]")
ASSIGNMENT = re.compile(r"\w+=")
# Words that another program follows.
BEFORE = {"$", "with-secrets", "time", "nice"}
# Where a line of a shell begins a new command.
ENDS = {"&&", "||", ";", "|", "do", "then"}


def options() -> dict[str, set[str]]:
    """Options of every verb."""
    return {
        name: {
            f"--{field.replace('_', '-')}"
            for field, about in model.model_fields.items()
            if not is_argument(about)
        }
        | {f"--{extra}" for extra in EXTRA_OPTIONS}
        | {"--help"}
        for name, model, _, _ in verbs.table(jobs)
    }


def wrong_words(command: str) -> list[str]:
    """Words of a command that name no verb or no option of it; what follows ``--`` is another."""
    program, *words = shlex.split(command, comments=True)
    if program != PROGRAM:
        return [program]
    known = options()
    if not words or words[0] in ("--help", "…"):
        return []
    verb, *rest = words
    if verb not in known:
        return [verb]
    own, inner = _parted(rest)
    wrong = [word for word in own if word.startswith("--") and not _is_known(word, known[verb])]
    return wrong + (wrong_words(f"{PROGRAM} {shlex.join(inner)}") if inner else [])


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--`` and what after it."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def _is_known(word: str, known: set[str]) -> bool:
    """Whether an option exists, a flag that is turned off among them."""
    name = word.partition("=")[0]
    return name in known or name.replace("--no-", "--", 1) in known


def blocks(markdown: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block of a page."""
    return FENCE.findall(markdown)


def commands(markdown: str, program: str = PROGRAM) -> Iterator[str]:
    """Commands of a program in the fenced blocks of a page, continued lines joined."""
    for _, block in blocks(markdown):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _of_line(line, program)


def _of_line(line: str, program: str) -> Iterator[str]:
    """Commands of a program where a shell would begin one."""
    found: list[str] = []
    begins = True
    for word in [*_shell_words(line), ";"]:
        if word in ENDS or REDIRECTION.match(word):
            if found:
                yield shlex.join(found)
            found, begins = [], word in ENDS
        elif found:
            found.append(word)
        elif begins and word.rpartition("/")[2] == program:
            found = [program]
        else:
            begins = word in BEFORE or bool(ASSIGNMENT.match(word))


def _shell_words(line: str) -> list[str]:
    """Words as a shell sees them; none of what is no shell's, such as prose with an apostrophe."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return []
