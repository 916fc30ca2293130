"""The turns of phrase that all sentences about a scenario share: quoting, listing, "did you mean".

This module knows words only: nothing of TOML, of the model or of files.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alternatives", "did_you_mean", "nearest", "quote"]


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


def nearest(value: object, words: Iterable[object]) -> object | None:
    """Return the word that is nearest to ``value``, whatever the case of either, or None if none is near."""
    spelled = {str(word).lower(): word for word in words}
    near = get_close_matches(str(value).strip().lower(), spelled, n=1, cutoff=0.5)
    return spelled[near[0]] if near else None


def did_you_mean(value: object, words: Iterable[object]) -> str:
    """Return ``; did you mean "b"?`` for the word nearest to ``value``, or nothing if none is near."""
    word = nearest(value, words)
    return "" if word is None else f"; did you mean {quote(word)}?"
