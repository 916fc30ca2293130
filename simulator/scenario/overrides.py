"""Changes to a scenario from the command line, such as ``--set fleet.core2.devices=2000`` and ``--broker``.

They are made in the text itself, comments kept, so that what is saved with a run is what ran. This module
must not know what a scenario may say: a wrong value is found when the changed text is read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import Any

import tomlkit

from simulator.scenario.kinds import BrokerKind
from simulator.scenario.positions import KeyPath, split_key, written
from simulator.scenario.wording import did_you_mean, quote

__all__ = [
    "Override",
    "authorised_override",
    "broker_override",
    "change",
    "parse_override",
    "seed_override",
]

_ASSIGNMENT = re.compile(r"((?:\"[^\"]*\"|'[^']*'|[^=\"'])+)=(.*)", re.DOTALL)
_INDEX = re.compile(r"\[([0-9]+)\]")
_OF_MANAGED, _OF_ELSEWHERE = ("host", "port"), ("trust", "server_name")
_OF_EXTERNAL = ("endpoints", "authorised", *_OF_ELSEWHERE)
_SHARED = {
    BrokerKind.EMBEDDED: _OF_MANAGED,
    BrokerKind.MOSQUITTO: (*_OF_MANAGED, "count"),
    BrokerKind.EXTERNAL: _OF_EXTERNAL,
}
"""Settings of a file's broker that one of the same sort, started by the run or not, has as well; a permission
to load the file's endpoints is none for others."""


@dataclass(frozen=True, slots=True)
class Override:
    """One change: how it was given, the key path it sets, and the value."""

    given: str
    path: KeyPath
    value: object


def parse_override(text: str) -> Override:
    """Read ``KEY.PATH=VALUE``; the value is TOML, or text where it is not."""
    match = _ASSIGNMENT.fullmatch(text)
    path = _key_path(match[1].strip()) if match else ()
    secret = match is not None and "password" in text
    given = f"--set {match[1].strip()}=…" if match and secret else f"--set {text}"
    if match is None or not path:
        raise ValueError(f"{given}: expected a key and a value, such as fleet.core2.devices=2000")
    return Override(given, path, _value(match[2].strip()))


def seed_override(seed: int) -> Override:
    """Return the change that ``--seed`` stands for."""
    return Override(f"--seed {seed}", ("seed",), seed)


def authorised_override() -> Override:
    """Return the change that ``--authorised`` stands for."""
    return Override("--authorised", ("broker", "authorised"), True)


def broker_override(text: str, now: object) -> Override:
    """Return the change that ``--broker`` stands for: a kind, or the endpoints of an external broker.

    ``now`` is the file's own broker, of which that stays which the new one has as well.
    """
    given = f"--broker {text}"
    if text in set(BrokerKind):
        new: dict[str, object] = {"kind": text}
        shared = _SHARED[BrokerKind(text)]
    elif ":" in text or "." in text or text == "localhost":
        new = {"kind": "external", "endpoints": [part.strip() for part in text.split(",")]}
        shared = _OF_ELSEWHERE
    else:
        meant = did_you_mean(text, BrokerKind)
        raise ValueError(
            f'{given}: expected "embedded", "mosquitto" or an endpoint such as "host:8883"{meant}'
        )
    old = now if isinstance(now, dict) else {}
    return Override(given, ("broker",), {key: old[key] for key in shared if key in old} | new)


def change(text: str, overrides: list[Override]) -> tuple[str, list[Override], list[str]]:
    """Return the text with all changes made, the changes with the paths they had, and what went wrong."""
    made: list[Override] = []
    wrong: list[str] = []
    for override in overrides:
        document = tomlkit.parse(text)
        try:
            path = _set(document, override)
        except ValueError as error:
            wrong.append(f"{override.given}: {error}")
        else:
            made.append(Override(override.given, path, override.value))
            text = tomlkit.dumps(document)
    return text, made, wrong


def _key_path(text: str) -> KeyPath:
    """Return the parts of a dotted key; ``stage[0].name`` and ``stage.0.name`` are the same."""
    dotted = text if set(text) & set("\"'") else _INDEX.sub(r".\1", text)
    try:
        tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    return split_key(dotted)


def _value(text: str) -> object:
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text


def _set(document: MutableMapping[str, Any], override: Override) -> KeyPath:
    """Set one value and return its path, with the index of each list element that was named."""
    node: Any = document
    path: KeyPath = ()
    rest = [str(key) for key in override.path]
    while True:
        key = _place(node, rest.pop(0), path)
        path = (*path, key)
        if not rest or (isinstance(node, MutableMapping) and key not in node):
            node[key] = _nested(rest, override.value)
            return (*path, *rest)
        node = node[key]


def _nested(keys: list[str], value: object) -> object:
    """Return ``value`` inside of one new table for each of ``keys``."""
    return {keys[0]: _nested(keys[1:], value)} if keys else value


def _place(node: object, key: str, path: KeyPath) -> str | int:
    """Return what ``key`` is in ``node``, which stands at ``path``: a key, or an index of a list."""
    match node:
        case MutableMapping():
            if path == ("fleet",) and key not in node:
                meant = did_you_mean(key, node) or "."
                raise ValueError(f"unknown fleet {quote(key)}{meant} This scenario has: {', '.join(node)}")
            return key
        case MutableSequence():
            return _index(node, key)
        case _:
            raise ValueError(f"{written(path)} is a value, and has no keys")


def _index(node: MutableSequence[Any], key: str) -> int:
    """Return the index that ``key`` means: a number, or the name of an element."""
    if key.isdecimal() and int(key) < len(node):
        return int(key)
    names = [each.get("name") for each in node if isinstance(each, MutableMapping)]
    if key in names:
        return names.index(key)
    known = ", ".join(map(str, names)) or f"0 to {len(node) - 1}"
    raise ValueError(f"there is no element {quote(key)}{did_you_mean(key, names) or '.'} There are: {known}")
