"""What is wrong with a document, in our words: pydantic's errors become phrases at key paths.

This module must not know where the document came from; see ``simulator.scenario.loader`` for files and lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from simulator.scenario.model import Scenario
from simulator.scenario.positions import written
from simulator.scenario.table import Table
from simulator.scenario.wording import alternatives, at_least_one, did_you_mean, nearest, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from simulator.scenario.positions import KeyPath

__all__ = ["Problem", "not_a_word", "phrase", "problems"]

_OF_MAPPING_KEY = "[key]"
"""What pydantic appends to the location of a key that is wrong itself."""

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Problem(NamedTuple):
    """One mistake: the key path it stands at, and a phrase that says what was expected there."""

    path: KeyPath
    phrase: str


def problems(error: ValidationError) -> list[Problem]:
    """Return every mistake in ``error``; a key that is only misspelled is not reported missing as well."""
    found = error.errors(include_url=False)
    meant = set(map(_key_meant, found))
    return [_problem(each) for each in found if each["type"] != "missing" or _path(each) not in meant]


def _path(error: ErrorDetails) -> KeyPath:
    return tuple(part for part in error["loc"] if part != _OF_MAPPING_KEY)


def _problem(error: ErrorDetails) -> Problem:
    path = _path(error)
    if error["type"] == "missing":
        return _missing(path)
    if error["type"] == "extra_forbidden":
        return Problem(path, _unknown(path))
    if error["type"] == "tuple_type" and isinstance(error["input"], dict):
        header = written(path)
        return Problem(path, f"expected [[{header}]], which may be given again, not [{header}]")
    return Problem(path, phrase(error))


def _key_meant(error: ErrorDetails) -> KeyPath | None:
    """Return the path that a key was probably meant to have, where it is unknown as it stands."""
    path = _path(error)
    if error["type"] != "extra_forbidden":
        return None
    key = nearest(path[-1], _fields_at(path[:-1]))
    return (*path[:-1], str(key))


def _missing(path: KeyPath) -> Problem:
    """Say what a table lacks: the example of the field, or the header of tables below it."""
    key = str(path[-1])
    field = _fields_at(path[:-1])[key]
    if field.examples:
        return Problem(
            path[:-1], f"the key {quote(key)} is missing, for instance {key} = {quote(field.examples[0])}"
        )
    return Problem(path, at_least_one(key, get_origin(field.annotation)))


def _unknown(path: KeyPath) -> str:
    keys = _fields_at(path[:-1])
    return f"unknown key{did_you_mean(path[-1], keys) or f'; expected {alternatives(sorted(keys))}'}"


def phrase(error: ErrorDetails) -> str:
    """Return what was expected instead of a value, and what was probably meant."""
    value = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "mistake":
            said = str(context["phrase"])
        case "value_error":
            said = str(context["error"])
        case "enum" | "literal_error":
            said = not_a_word(value, context["expected"])
        case "greater_than_equal":
            said = f"expected {context['ge']} or more, not {quote(value)}"
        case "less_than_equal":
            said = f"expected {context['le']} or less, not {quote(value)}"
        case "string_too_short":
            said = 'expected text, not ""'
        case kind:
            expected, meant = _type_expected(kind, value)
            said = f"expected {expected}, not {quote(value)}" + (f"; did you mean {meant}?" if meant else "")
    return said


def _type_expected(kind: str, value: object) -> tuple[str, str | None]:
    """Return what a value of the wrong type should have been, and what it was probably meant to be."""
    match kind:
        case "string_type":
            return "text in quotes", quote(str(value)) if isinstance(value, int | float) else None
        case "bool_type":
            word = str(value).lower()
            return "true or false", "true" if word in _TRUE else "false" if word in _FALSE else None
        case "int_type" | "int_from_float" | "int_parsing":
            return "a whole number", _whole_number(value)
        case "tuple_type":
            return "a list", f"[{quote(value)}]" if isinstance(value, str) else None
    return "a table", None


def _whole_number(value: object) -> str | None:
    digits = re.fullmatch(r"\s*([0-9]+)(?:\.0+)?\s*", str(value))
    return digits[1] if digits else None


def not_a_word(value: object, listing: str) -> str:
    """Say which words a closed list has; ``listing`` is pydantic's ``'a', 'b' or 'c'`` or ``0, 1 or 2``."""
    quoted = re.findall(r"'([^']*)'", listing)
    words: Sequence[object] = quoted or [int(number) for number in re.findall(r"[0-9]+", listing)]
    return f"expected {alternatives(words)}, not {quote(value)}{did_you_mean(value, words)}"


def _fields_at(path: KeyPath) -> dict[str, FieldInfo]:
    """Return the fields, by their keys, that the table at ``path`` may have."""
    return {
        field.alias or name: field
        for table in _tables_at(path, Scenario)
        for name, field in table.model_fields.items()
    }


def _tables_at(path: KeyPath, annotation: Any) -> Iterator[type[Table]]:
    """Yield the kinds of table that may stand at ``path`` below a value of type ``annotation``."""
    if get_origin(annotation) in {dict, tuple}:
        if path:
            inner = get_args(annotation)[1 if get_origin(annotation) is dict else 0]
            yield from _tables_at(path[1:], inner)
    elif not (isinstance(annotation, type) and issubclass(annotation, Table)):
        for alternative in get_args(annotation):
            yield from _tables_at(path, alternative)
    elif not path:
        yield annotation
    else:
        for name, field in annotation.model_fields.items():
            if (field.alias or name) == path[0]:
                yield from _tables_at(path[1:], field.annotation)
