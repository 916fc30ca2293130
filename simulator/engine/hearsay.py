"""What devices on another machine do, told afterwards to the cloud: an ear that takes notes, to be read out.

Times cross from the clock of the machine that took the notes to the clock of the one that reads them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulator.devices.ear import Ear

__all__ = ["Note", "NoteTaker", "read_out"]


class Said(NamedTuple):
    """A device has published its counter-th message of telemetry."""

    fleet: str
    device: str
    counter: int
    qos: int
    due: int
    started: int


class Unanswered(NamedTuple):
    """What a device sent at that time will not be acknowledged any more."""

    fleet: str
    device: str
    started: int


class Told(NamedTuple):
    """A device got a command, and began to answer; None where it could not."""

    fleet: str
    device: str
    number: int
    at: int
    answered: int | None


Note: TypeAlias = Said | Unanswered | Told


class NoteTaker:
    """The ear of one fleet's devices."""

    def __init__(self, fleet: str, note: Callable[[Note], object]) -> None:
        self._fleet = fleet
        self._note = note

    def said(self, device: str, counter: int, qos: int, due: int, started: int) -> None:
        """Note it."""
        self._note(Said(self._fleet, device, counter, qos, due, started))

    def unanswered(self, device: str, started: int) -> None:
        """Note it."""
        self._note(Unanswered(self._fleet, device, started))

    def told(self, device: str, number: int, at: int, answered: int | None) -> None:
        """Note it."""
        self._note(Told(self._fleet, device, number, at, answered))


def read_out(notes: Iterable[Note], ears: Mapping[str, Ear], ahead: int) -> None:
    """Tell the ears what was noted where the monotonic clock is so many nanoseconds ahead of ours."""
    for note in notes:
        ear = ears[note.fleet]
        match note:
            case Said(_, device, counter, qos, due, started):
                ear.said(device, counter, qos, due - ahead, started - ahead)
            case Unanswered(_, device, started):
                ear.unanswered(device, started - ahead)
            case Told(_, device, number, at, answered):
                ear.told(device, number, at - ahead, None if answered is None else answered - ahead)
