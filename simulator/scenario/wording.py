"""The turns of phrase that all sentences about a scenario share: quoting, listing, "did you mean".

This module knows words only: nothing of TOML, of the model or of files.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alternatives", "at_least_one", "did_you_mean", "nearest", "quote"]


def quote(value: object) -> str:
    """Return a TOML value as a sentence shows it: text in double quotes, ``true``, ``1.5``, "a list"."""
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else str(value)


def alternatives(values: Iterable[object]) -> str:
    """Return ``"a", "b" or "c"``."""
    *most, last = map(quote, values)
    return f"{', '.join(most)} or {last}" if most else last


def at_least_one(key: str, kind: object) -> str:
    """Return what a file lacks that has no table under ``key``: one by a name, or one of a list."""
    return f"expected at least one [{key}.NAME]" if kind is dict else f"expected at least one [[{key}]]"


def nearest(value: object, words: Iterable[object]) -> object | None:
    """Return the word that ``value`` most likely stands for, or None; the case of letters does not count.

    That is one spelled almost alike, or else one that ``value`` begins.
    """
    spelled = {str(word).lower(): word for word in words}
    given = str(value).strip().lower()
    near = get_close_matches(given, spelled, n=1) or [
        word for word in spelled if given and word.startswith(given)
    ]
    return spelled[near[0]] if near else None


def did_you_mean(value: object, words: Iterable[object]) -> str:
    """Return ``; did you mean "b"?`` for the word nearest to ``value``, or nothing if none is near."""
    word = nearest(value, words)
    return "" if word is None else f"; did you mean {quote(word)}?"
