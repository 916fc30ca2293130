"""Quantities as people write them: ``15s``, ``100/s``, ``50%``, ``4KiB``; and back again.

This module knows numbers and units only: nothing of scenarios, files or key paths. A parser takes whatever
a TOML value can be, and raises ``ValueError`` with a phrase that says what was expected, what was found and,
where it is plain, what was meant.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from simulator.scenario.wording import alternatives, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "format_duration",
    "format_rate",
    "parse_duration",
    "parse_rate",
    "parse_share",
    "parse_size",
]

_NANOSECONDS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _NANOSECONDS))
_RATE = re.compile(rf"({_NUMBER})/([smh])")
_PERCENTAGE = re.compile(rf"({_NUMBER})%")
_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB)")

_EXPECTED_DURATION = 'a duration such as "15s" or "250ms"'
_EXPECTED_RATE = 'a rate such as "100/s" or "6000/m"'
_EXPECTED_SHARE = 'a share between 0 and 1, or a percentage such as "50%"'
_EXPECTED_SIZE = 'a size such as "256B" or "4KiB"'

_SPELLINGS = {
    "d": "d day days",
    "h": "h hr hrs hour hours",
    "m": "m min mins minute minutes",
    "s": "s sec secs second seconds sek",
    "ms": "ms msec msecs milli millis millisecond milliseconds",
    "us": "us µs usec usecs microsecond microseconds",
    "ns": "ns nsec nsecs nanosecond nanoseconds",
    "B": "b byte bytes octet octets",
    "KiB": "k kb kib kbyte kbytes",
    "MiB": "mb mib mbyte mbytes",
}
_UNIT_MEANT = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}


def parse_duration(value: object) -> int:
    """Return the nanoseconds of ``"15s"`` or ``"1h30m"``; units d, h, m, s, ms, us, ns, largest first."""
    if value == 0 and not isinstance(value, bool | float):
        return 0
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise _unexpected(_EXPECTED_DURATION, value, _likely_durations(value), parse_duration)
    parts = zip(match.groups(), _NANOSECONDS.values(), strict=True)
    return int(sum(Fraction(number) * factor for number, factor in parts if number))


def format_duration(nanoseconds: int) -> str:
    """Return the shortest whole-numbered spelling, exact to the nanosecond: ``1h30m``, ``250ms``, ``0s``."""
    parts, rest = [], nanoseconds
    for unit, factor in _NANOSECONDS.items():
        count, rest = divmod(rest, factor)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_rate(value: object) -> float:
    """Return the events per second of ``"100/s"``, ``"6000/m"`` or ``"1/h"``."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _unexpected(_EXPECTED_RATE, value, [_likely_rate(value)], parse_rate)
    return float(Fraction(match[1]) / _SECONDS[match[2]])


def format_rate(per_second: float) -> str:
    """Return a rate in the first of s, m and h in which it is at least one, to twelve digits: ``0.5/m``."""
    for unit, seconds in _SECONDS.items():
        if per_second == 0 or per_second * seconds >= 1:
            return f"{_plain(per_second * seconds)}/{unit}"
    return f"{_plain(per_second * 3_600)}/h"


def parse_share(value: object) -> float:
    """Return the share, 0 to 1, of ``0.5`` or ``"50%"``."""
    share = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    elif isinstance(value, str) and (match := _PERCENTAGE.fullmatch(value)):
        share = float(Fraction(match[1]) / 100)
    if not 0 <= share <= 1:
        raise _unexpected(_EXPECTED_SHARE, value, [_likely_share(value)], parse_share)
    return share


def parse_size(value: object) -> int:
    """Return the bytes of ``256``, ``"256B"``, ``"4KiB"`` or ``"1MiB"``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _unexpected(_EXPECTED_SIZE, value, [_likely_size(value)], parse_size)
    return int(match[1]) * _BYTES[match[2]]


def _plain(number: float) -> str:
    text = f"{Decimal(f'{number:.12g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _unexpected(
    expected: str, value: object, meant: Sequence[str | None], parse: Callable[[object], int | float]
) -> ValueError:
    """Return the error to raise; what was meant is offered only if it is new and ``parse`` can read it."""
    offers = [each for each in meant if each not in (None, value) and _reads(parse, each)]
    hint = f"; did you mean {alternatives(offers)}?" if offers else ""
    return ValueError(f"expected {expected}, not {quote(value)}{hint}")


def _reads(parse: Callable[[object], int | float], text: str | None) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _words(value: object) -> str | None:
    """Return text or a number in lower case, without blanks and with a decimal point; None for the rest."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return re.sub(r"\s+", "", str(value)).lower().replace(",", ".")


def _likely_durations(value: object) -> list[str | None]:
    text = _words(value)
    if text is None:
        return []
    if re.fullmatch(_NUMBER, text):
        return [f"{text}s", f"{text}ms"]
    parts = re.findall(rf"({_NUMBER})([a-zµ]+)", text)
    if "".join(map("".join, parts)) != text:
        return []
    return ["".join(f"{number}{_UNIT_MEANT.get(unit, '?')}" for number, unit in parts)]


def _likely_rate(value: object) -> str | None:
    text = _words(value)
    match = re.fullmatch(rf"({_NUMBER})(?:(?:/|per)([a-z]+)|hz)?", text) if text else None
    return f"{match[1]}/{_UNIT_MEANT.get(match[2] or 's', '?')}" if match else None


def _likely_share(value: object) -> str | None:
    text = _words(value)
    match = re.fullmatch(rf"({_NUMBER})(%|percent)?", text) if text else None
    if match is None:
        return None
    percent = Fraction(match[1]) * (1 if match[2] or Fraction(match[1]) > 1 else 100)
    return f"{_plain(float(percent))}%"


def _likely_size(value: object) -> str | None:
    text = _words(value)
    match = re.fullmatch(r"([0-9]+)([a-z]*)", text) if text else None
    return f"{match[1]}{_UNIT_MEANT.get(match[2] or 'b', '?')}" if match else None
