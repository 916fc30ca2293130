"""What the cloud says to a device, and what the device answers: a number, counted for each device from 1.

Pure functions of both ends, so that each reads what the other writes.
"""

from __future__ import annotations

import re

__all__ = ["answer", "answered", "command", "commanded"]

_COMMAND = re.compile(rb'\{"command":([0-9]{1,19})\}')
_ANSWER = re.compile(rb'\{"device":"([^"]+)","answer":([0-9]{1,19})\}')
"""No number of ours is longer, and Python refuses to read one of thousands of digits."""


def command(number: int) -> bytes:
    """Return the payload of a device's number-th command."""
    return b'{"command":%d}' % number


def commanded(payload: bytes) -> int | None:
    """Return the number of a command, or None where a payload is none."""
    found = _COMMAND.fullmatch(payload)
    return int(found[1]) if found else None


def answer(device: str, number: int) -> bytes:
    """Return the payload with which a device answers a command."""
    return f'{{"device":"{device}","answer":{number}}}'.encode()


def answered(payload: bytes) -> tuple[str, int] | None:
    """Return which device answers which command, or None where a payload is no answer."""
    found = _ANSWER.fullmatch(payload)
    if found is None:
        return None
    try:
        return found[1].decode(), int(found[2])
    except UnicodeDecodeError:  # whoever sent it is no device of ours
        return None
