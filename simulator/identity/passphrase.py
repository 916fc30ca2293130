"""Where a passphrase comes from: the environment, or a person at the terminal. Never the command line.

``SIMULATOR_PASSPHRASE`` opens fleet files, and protects those that are made while it is set; for changing a
passphrase, ``SIMULATOR_NEW_PASSPHRASE`` is the one that a file gets. What is not in the environment is asked
for at the terminal, which does not show it. Knows nothing of what a passphrase protects.
"""

from __future__ import annotations

import os
from getpass import getpass
from typing import TYPE_CHECKING

from simulator.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NEW_VARIABLE", "VARIABLE", "chosen", "given", "in_environment"]

VARIABLE = "SIMULATOR_PASSPHRASE"
NEW_VARIABLE = "SIMULATOR_NEW_PASSPHRASE"

_TERMINAL = "/dev/tty"
_ATTEMPTS = 3


def given(path: Path) -> str:
    """Return the passphrase of a fleet file that is protected.

    Raises ``UsageError`` where it is neither in the environment nor is there a terminal to ask at.
    """
    return in_environment(VARIABLE) or _ask(f"Passphrase of {path}: ", VARIABLE, f"{path} is protected")


def chosen(path: Path, variable: str = VARIABLE) -> str:
    """Return the passphrase that a fleet file shall get; a person types it twice.

    Raises ``UsageError`` as ``given`` does, and where two entries do not agree three times in a row.
    """
    if passphrase := in_environment(variable):
        return passphrase
    for _ in range(_ATTEMPTS):
        first = _ask(f"New passphrase of {path}: ", variable, f"{path} is to be protected")
        if first and _ask("The same again: ", variable, f"{path} is to be protected") == first:
            return first
    raise UsageError(f"no passphrase was typed the same twice, so {path} is left as it was")


def in_environment(variable: str = VARIABLE) -> str | None:
    """Return what the environment holds; None where it holds nothing, or nothing but an empty text."""
    return os.environ.get(variable) or None


def _ask(prompt: str, variable: str, why: str) -> str:
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError(
            f"{why} by a passphrase, and there is no terminal to ask for it at: set {variable} to it"
        ) from None
    try:
        return getpass(prompt)
    except EOFError:
        raise UsageError(f"{why} by a passphrase, and none was typed") from None
