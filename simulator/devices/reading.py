"""Reads what devices say: the inverse of the payload models, for whoever holds messages against each other.

It must be cheap, since an observer does it for each message: a pattern that looks at the head of a payload,
not a parser of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from simulator.devices.telemetry import PLACEHOLDER
from simulator.scenario.model import TemplatePayload

if TYPE_CHECKING:
    from simulator.scenario.model import Telemetry

__all__ = ["Reader", "Reading", "reader_of"]

_HEAD = re.compile(
    rb'\{"device":"(?P<device>[^"]+)","n":(?P<counter>[0-9]{1,19}),"due":(?P<due>[0-9]{1,19}),'
)
_FIELDS = {"device": ".+?", "counter": "[0-9]{1,19}", "due": "[0-9]{19}"}
"""What each placeholder can become; nanoseconds since 1970 have 19 digits from 2001 to 2286.

No number of ours is longer, and Python refuses to read one of thousands of digits.
"""


class Reading(NamedTuple):
    """What a message says of itself; ``due`` is nanoseconds since 1970 UTC."""

    device: str
    counter: int
    due: int


Reader: TypeAlias = Callable[[bytes], Reading | None]


def reader_of(telemetry: Telemetry, fleet: str) -> Reader:
    """Return what reads the payloads of a fleet's telemetry; it returns None for anything else."""
    match telemetry.payload:
        case TemplatePayload(template=text):
            find = _pattern(text, fleet).fullmatch
        case _:
            find = _HEAD.match

    def read(payload: bytes) -> Reading | None:
        found = find(payload)
        if found is None:
            return None
        try:
            device = found["device"].decode()
        except UnicodeDecodeError:  # whoever sent it is no device of ours
            return None
        return Reading(device, int(found["counter"]), int(found["due"]))

    return read


def _pattern(text: str, fleet: str) -> re.Pattern[bytes]:
    """Return what matches a filled-in template: a placeholder that comes again stands for the same thing."""
    pattern, seen = "", set()
    for place, piece in enumerate(PLACEHOLDER.split(text)):
        if not place % 2:
            pattern += re.escape(piece)
        elif piece == "fleet":
            pattern += re.escape(fleet)
        elif piece in seen:
            pattern += f"(?P={piece})"
        else:
            seen.add(piece)
            pattern += f"(?P<{piece}>{_FIELDS[piece]})"
    return re.compile(pattern.encode(), re.DOTALL)
