"""What typer finds wrong with a command line, said as everything else is said here: in one sentence.

Its own way is a box around words that are click's or pydantic's. Knows no verb.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from simulator.errors import UsageError
from simulator.scenario.problems import not_a_word, phrase
from simulator.scenario.wording import alternatives

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from typer import TyperException

__all__ = ["usage_error"]

_SAID = {
    r"Missing argument '(.+)'\.": "{} is missing",
    r"Missing option '(.+)'\.": "the option {} is missing",
    r"Got unexpected extra argument\(?s?\)? \((.+)\)": "{} is too much",
    r"Option '(.+)' requires an argument\.": "{} needs a value",
    r"No such option: (\S+).*": "there is no option {}",
    r"No such command '(.+?)'\..*": "there is no command {}",
    r"Invalid value for '(.+?)': (.+)": "{}: {}",
}
"""Click's sentences and ours. One that is not here stands as it is."""


def usage_error(error: TyperException) -> UsageError | None:
    """Return the error to show; None where typer has shown its help already and has nothing else to say."""
    if not error.message and not hasattr(error, "param"):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "simulator"
    said = _sentence(error) + _meant(error)
    return UsageError(f"{said}{' See' if said.endswith('?') else '; see'} `{command} --help`")


def _sentence(error: TyperException) -> str:
    said = error.format_message()
    if isinstance(error.__cause__, ValidationError):
        option = re.match(r"Invalid value for '(.+?)'", said)
        return f"{option[1] if option else said}: {_expected(error.__cause__.errors()[0])}"
    for theirs, ours in _SAID.items():
        if match := re.fullmatch(theirs, said, re.DOTALL):
            return ours.format(*match.groups())
    return said[:1].lower() + said[1:].removesuffix(".")


def _expected(wrong: ErrorDetails) -> str:
    """Return what was expected of a value; of words to choose from typer makes a sentence of its own."""
    choice = re.search(r"'(.*)' is not one of (.+)", wrong["msg"])
    return not_a_word(choice[1], choice[2]) if choice else phrase(wrong)


def _meant(error: TyperException) -> str:
    """Return what was probably meant, where typer has an idea of it."""
    options: list[str] = getattr(error, "possibilities", None) or []
    commands = re.findall(r"'([^']+)'", error.message.partition(" Did you mean ")[2])
    meant = [*options, *commands]
    return f"; did you mean {alternatives(meant)}?" if meant else ""
