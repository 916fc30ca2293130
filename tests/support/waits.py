"""When a thread stood ready to run and the machine did something else: what the kernel says, noted elsewhere.

    python tests/support/waits.py TID

A process of its own asks the kernel a thousand times a second how long the thread has waited for a processor
(Linux, /proc/TID/schedstat), and looks whether it is woken up late itself although no processor was taken:
then the machine stood still. So there is a record, which the thread has no part in, of what it cannot help.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

EVERY = 1_000_000
NOTED = 100_000
"""Nanoseconds: shorter waits are those of any thread that is woken up."""
STILL = 400_000
"""Nanoseconds that a process may be woken up late by a machine that runs."""
SLACK = 2_000_000
"""Nanoseconds in which a thread with nothing to wait for comes round to anything."""


class Wait(NamedTuple):
    """The thread lost ``length`` somewhere between two times of the monotonic clock; all are nanoseconds."""

    since: int
    until: int
    length: int


class Waits:
    """All waits of a thread, oldest first, and what they did to what it had to do."""

    def __init__(self, waits: Iterable[Wait] = (), watched: int = 0) -> None:
        self._watched = watched
        self._waits = sorted(waits, key=lambda wait: wait.until)
        self._ends = [wait.until for wait in self._waits]

    @property
    def share(self) -> float:
        """How much of the time that it was watched the thread was kept from what it had to do."""
        return sum(wait.length for wait in self._waits) / self._watched if self._watched else 0.0

    def near(self, *moments: int) -> int:
        """Return how long the thread was kept from what it had to do about these times."""
        touched = {index for at in moments for index in (*self._from(at), *self._up_to(at))}
        return sum(self._waits[index].length for index in touched)

    def _from(self, at: int) -> Iterator[int]:
        until = at + SLACK
        for index in range(bisect_right(self._ends, at), len(self._waits)):
            if self._waits[index].since > until:
                return
            until += self._waits[index].length
            yield index

    def _up_to(self, at: int) -> Iterator[int]:
        since = at - SLACK
        for index in range(bisect_right(self._ends, at) - 1, -1, -1):
            if self._waits[index].until < since:
                return
            since -= self._waits[index].length
            yield index


class Watched:
    """Has the thread that enters it watched until it leaves; ``waits`` are there then."""

    def __init__(self) -> None:
        self.waits = Waits()

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-S", __file__, str(threading.get_native_id())]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self._out.readline()
        self._begun = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watched = time.monotonic_ns() - self._begun
        out, _ = self._process.communicate()
        self.waits = Waits((Wait(*map(int, line.split())) for line in out.splitlines()), watched)

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout


def waited(thread: int | str) -> int:
    """Return how long a thread has waited for a processor in all its life, nanoseconds."""
    return int(Path(f"/proc/{thread}/schedstat").read_text().split()[1])


def watch(thread: int, over: threading.Event) -> Iterator[Wait]:
    """Yield what is worth noting, until ``over``."""
    at, theirs, ours = time.monotonic_ns(), waited(thread), waited("thread-self")
    while not over.is_set():
        planned = at + EVERY
        time.sleep(EVERY / 1e9)
        before, at = at, time.monotonic_ns()
        before_theirs, theirs = theirs, waited(thread)
        before_ours, ours = ours, waited("thread-self")
        lost = theirs - before_theirs
        if lost > NOTED:
            yield Wait(before - lost, at, lost)
        still = at - planned - (ours - before_ours)
        if still > STILL:
            yield Wait(before, at, still)


def main() -> None:
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(3))
    over = threading.Event()
    threading.Thread(target=until_the_end_of_stdin, args=(over,), daemon=True).start()
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    waits = list(watch(int(sys.argv[1]), over))
    sys.stdout.writelines(f"{wait.since} {wait.until} {wait.length}\n" for wait in waits)


def until_the_end_of_stdin(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main()
