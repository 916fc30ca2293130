"""What the faulty broker really did, as it did it: one JSON line an event, in the order of happening.

A thread of its own writes them, so that a reader who is slow, or waits until all is over, holds up nobody.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from tests.support.faulty_plan import Step  # noqa: TC001 - pydantic reads the annotation

if TYPE_CHECKING:
    from typing import TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One event. All times are nanoseconds of the monotonic clock, which all processes of a machine share.

    ``listening``    a port is open (``port``)
    ``accepted``     a connection was accepted
    ``answered``     a step was answered: its last byte was ``heard`` by the kernel and the answer ``said``
    ``untrusted``    TLS refused the client
    ``fault``        the fault of the plan was done, at ``said``
    ``ended``        a connection is over; ``how`` says who ended it
    ``uncrowded``    a port takes connections from now on
    ``disconnect``   the client said DISCONNECT
    ``frozen``       the process stood still from ``heard`` to ``said``
    ``marked``       everything before this has been told
    """

    event: str
    at: int
    listener: str = ""
    port: int = 0
    connection: int = 0
    client: str = ""
    """Client identifier, once CONNECT has told it."""
    step: Step | None = None
    heard: int = 0
    said: int = 0
    due: int = 0
    """When the message of a ``publish`` was due, by its own words: nanoseconds since 1970."""
    how: str = ""
    received: int = 0
    """Bytes on TCP so far; so is ``sent``."""
    sent: int = 0


NOTE = TypeAdapter(Note)


class Journal:
    """Takes notes from any thread."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._notes: SimpleQueue[Note] = SimpleQueue()
        threading.Thread(target=self._write, name="journal", daemon=True).start()

    def take(self, note: Note) -> None:
        self._notes.put(note)

    def _write(self) -> None:
        while True:
            note = self._notes.get()
            self._out.write(NOTE.dump_json(note, exclude_defaults=True).decode() + "\n")
            self._out.flush()
