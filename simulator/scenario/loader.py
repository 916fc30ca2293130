"""From a TOML file to a scenario, or to every mistake in it, each in one sentence with its line.

A sentence opens with where the mistake is: ``x.toml:12: fleet.core2.devices``, or the option of the command
line that brought it in. This module reads files; it must not know what any key means.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import (
    Override,
    authorised_override,
    broker_override,
    change,
    parse_override,
    seed_override,
)
from simulator.scenario.positions import Positions, written
from simulator.scenario.problems import Problem, problems
from simulator.scenario.shipped import shipped
from simulator.scenario.wording import did_you_mean, nearest, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LoadedScenario", "load"]

_QUOTES = 'text such as "15s" needs quotes'
_SYNTAX = {
    "Invalid value": f"expected a value; {_QUOTES}",
    "Expected newline": f"expected the end of the line; {_QUOTES}",
    "Unclosed inline table": f"expected a comma or }}; {_QUOTES}",
    "Unclosed array": f"expected a comma or ]; {_QUOTES}",
    "Illegal character '\\n'": "expected the closing quote of a text",
    "Cannot overwrite a value": "this key is given twice",
    "Duplicate inline table key": "this key is given twice",
    "Cannot declare": "this table is given twice",
}
"""What beginners run into, by how tomllib's message begins; its other messages stand as they are."""


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario, the text it was read from with all overrides in it, and the file that text came from."""

    scenario: Scenario
    text: str
    path: Path
    changes: tuple[str, ...] = ()
    """The options that made the overrides, as they were given, but for passwords."""

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """The folder that the scenario's relative paths start from."""
        return self.path.parent

    def resolve(self, relative: str) -> Path:
        """Return the path that a setting means; ``~`` is the user's home."""
        return self.folder / Path(relative).expanduser()


def load(
    path_or_name: str | Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    broker: str | None = None,
    *,
    authorised: bool = False,
) -> LoadedScenario:
    """Read a scenario file, or one that ships, and make the changes of the command line in it.

    ``overrides`` are ``KEY.PATH=VALUE``; ``broker`` is a kind or ``host:port``; ``authorised`` says that its
    operator lets the user load it. ``ScenarioError`` holds all mistakes that were found.
    """
    path = _find(path_or_name)
    source = _read(path)
    document = _parse(path, source)
    changes, wrong = _changes(document, overrides, seed, broker)
    if authorised:
        changes.append(authorised_override())
    text = source
    if changes:
        text, changes, refused = change(source, changes)
        wrong += refused
    try:
        scenario = Scenario.model_validate(tomllib.loads(text))
    except ValidationError as error:
        wrong += _sentences(problems(error), path, Positions(source), changes)
    if wrong:
        raise ScenarioError(wrong)
    return LoadedScenario(scenario, text, path, tuple(each.given for each in changes))


def _find(path_or_name: str | Path) -> Path:
    """Return the file: a word without folder and suffix is the name of a scenario that ships."""
    path = Path(path_or_name)
    if path.suffix or path.name != str(path_or_name):
        return path
    ships = {each.name: each.path for each in shipped()}
    if path.name in ships:
        return _from_here(ships[path.name])
    meant = did_you_mean(path.name, ships) or "."
    raise ScenarioError([f"no scenario {quote(path.name)} ships{meant} There are: {', '.join(ships)}"])


def _from_here(path: Path) -> Path:
    """Return ``path`` as somebody in the working folder would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ScenarioError([f"{path}: there is no such file{_near_file(path)}"]) from None
    except UnicodeDecodeError as error:
        raise ScenarioError([f"{path}: expected UTF-8 text; byte {error.start} is not"]) from None
    except OSError as error:
        raise ScenarioError([f"{path}: cannot be read: {error.strerror}"]) from None


def _near_file(path: Path) -> str:
    beside = [str(each) for each in path.parent.glob("*.toml")]
    if near := nearest(path, beside):
        return f"; did you mean {near}?"
    ships = [each.name for each in shipped()]
    return f"{did_you_mean(path.stem, ships) or '.'} These ship: {', '.join(ships)}"


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
    match = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", message, re.DOTALL)
    line = int(match[2]) if match else text.count("\n") + 1
    what = match[1] if match else message.removesuffix(" (at end of document)")
    known = (phrase for start, phrase in _SYNTAX.items() if what.startswith(start))
    phrase = next(known, what[0].lower() + what[1:])
    raise ScenarioError([f"{path}:{line}: not valid TOML: {phrase}"])


def _changes(
    document: dict[str, Any], overrides: Sequence[str], seed: int | None, broker: str | None
) -> tuple[list[Override], list[str]]:
    """Return the changes that the command line asks for, the plainest last, and what is wrong with others."""
    asked: list[Callable[[], Override]] = []
    if broker is not None:
        asked.append(partial(broker_override, broker, document.get("broker")))
    if seed is not None:
        asked.append(partial(seed_override, seed))
    asked += [partial(_override_from_here, text) for text in overrides]
    changes: list[Override] = []
    wrong: list[str] = []
    for make in asked:
        try:
            changes.append(make())
        except ValueError as error:
            wrong.append(str(error))
    return changes, wrong


def _override_from_here(text: str) -> Override:
    """Read ``--set``; a path in it starts from the working folder, unlike one in a file."""
    change = parse_override(text)
    match change.path, change.value:
        case ("fleet", _, "store"), str(path):
            return replace(change, value=_absolute(path))
        case ("broker", "trust"), list(paths):
            return replace(
                change, value=[_absolute(path) if isinstance(path, str) else path for path in paths]
            )
    return change


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _sentences(
    found: list[Problem], path: Path, positions: Positions, changes: Sequence[Override]
) -> list[str]:
    """Return a sentence for each problem, in the order of the file, those of the command line first."""
    placed: list[tuple[int, str]] = []
    for problem in found:
        source = _brought_in_by(problem, changes)
        if source is None:
            line = positions.line(problem.path)
            where = [f"{path}:{line}", written(problem.path)]
        else:
            line = 0
            where = [source.given, "" if problem.path == source.path else written(problem.path)]
        placed.append((line, ": ".join([*filter(None, where), problem.phrase])))
    return [sentence for _, sentence in sorted(placed, key=lambda each: each[0])]


def _brought_in_by(problem: Problem, changes: Sequence[Override]) -> Override | None:
    """Return the last change that set the key of ``problem`` or a table around it."""
    for each in reversed(changes):
        if problem.path[: len(each.path)] == each.path:
            return each
    return None
