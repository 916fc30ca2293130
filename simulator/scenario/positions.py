"""On which line of a TOML text each key stands: ``tomllib`` keeps no positions.

The text must already have been accepted by ``tomllib``; this module finds keys in it and checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from simulator.scenario.wording import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KeyPath", "Positions", "split_key", "written"]

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document down."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = r"'''(?s:.*?)'''(?!')|\"\"\"(?s:(?:\\.|[^\\])*?)\"\"\"(?!\")|'[^'\n]*'|\"(?:\\.|[^\"\\\n])*\""
_KEY_PART = r"(?:[A-Za-z0-9_-]+|'[^'\n]*'|\"(?:\\.|[^\"\\\n])*\")"
_KEY = re.compile(rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*")
_PART = re.compile(_KEY_PART)
_SCALAR = re.compile(rf"{_STRING}|[^\s,\]}}#](?:[^,\]}}#\n]*[^\s,\]}}#])?")


def split_key(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted key, quotes resolved: ``a."b.c"`` is ``("a", "b.c")``."""
    parts = _PART.findall(text)
    return tuple(next(iter(tomllib.loads(f"{part} = 0"))) for part in parts)


def written(path: KeyPath) -> str:
    """Return a key path as people write it: ``stage[0].connect.rate``, ``thresholds."publish.p99"``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else quote(part))
    return text


class Positions:
    """The lines of all keys, and of all elements of lists, in one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}
        self._read_document()

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line, from 1, of ``path``, or of the nearest table around it that has one."""
        for length in range(len(path), 0, -1):
            found = self._lines.get(tuple(path[:length]))
            if found is not None:
                return found
        return 1

    def _read_document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._take("[["):
                table = self._open_element(self._read_key())
                self._take("]]")
            elif self._take("["):
                table = self._mark((), self._inside_last(self._read_key()))
                self._take("]")
            else:
                self._read_pair(table)

    def _open_element(self, key: tuple[str, ...]) -> KeyPath:
        """Return the path of the next element of the array of tables ``key``."""
        array = (*self._inside_last(key[:-1]), key[-1])
        index = self._tables.get(array, 0)
        self._tables[array] = index + 1
        self._mark((), array)
        return self._mark(array, (index,))

    def _inside_last(self, key: KeyPath) -> KeyPath:
        """Return ``key`` with the index of the latest element after each array of tables in it."""
        path: KeyPath = ()
        for part in key:
            path = (*path, part)
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _read_pair(self, table: KeyPath) -> None:
        path = self._mark(table, self._read_key())
        self._skip_blank()
        self._take("=")
        self._skip_blank()
        self._read_value(path)

    def _read_value(self, path: KeyPath) -> None:
        if self._take("{"):
            while self._skip_blank() and not self._take("}"):
                self._read_pair(path)
                self._skip_blank()
                self._take(",")
        elif self._take("["):
            index = 0
            while self._skip_blank() and not self._take("]"):
                self._read_value(self._mark(path, (index,)))
                index += 1
                self._skip_blank()
                self._take(",")
        else:
            self._match(_SCALAR)

    def _read_key(self) -> tuple[str, ...]:
        self._skip_blank()
        key = split_key(self._match(_KEY))
        self._skip_blank()
        return key

    def _mark(self, table: KeyPath, key: KeyPath) -> KeyPath:
        """Note where each part of ``key`` is named first, and return its path from the top."""
        line = self._text.count("\n", 0, self._at) + 1
        for length in range(1, len(key) + 1):
            self._lines.setdefault((*table, *key[:length]), line)
        return (*table, *key)

    def _skip_blank(self) -> bool:
        """Move to what is neither blank nor comment; tell whether there is any."""
        self._match(_BLANK)
        return self._at < len(self._text)

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) if found else 0
        return found

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"not TOML at character {self._at}")
        self._at = match.end()
        return match[0]
