"""What there is to do, of which kind: the words in which a scenario is counted and a machine is measured."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Kind", "Work"]


class Kind(StrEnum):
    """What a device does that takes the generator's time, and the broker's."""

    CONNECT = "connect"
    RECONNECT = "reconnect"
    """Saying goodbye and connecting again."""
    FAREWELL = "farewell"
    FAILURE = "failure"
    """Losing the broker, and every attempt while it is away."""
    MESSAGE = "message"
    COMMAND = "command"
    """To a device, with its answer."""
    TEND = "tend"
    """Looking after a session that is established, every few seconds."""


class Work(NamedTuple):
    """One kind of work of one fleet."""

    kind: Kind
    fleet: str
