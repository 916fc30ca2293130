"""The pacer: calls each action when it is due, by a clock that does not wait for anybody.

An action gets the due time it was set for and returns the next one, or None when it is done. It is never
called early. How late it is called is the generator's *lag*; whoever takes a sample keeps both times.
"""

from __future__ import annotations

import ctypes
import os
import sys
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from simulator.clock import MICROSECOND, SECOND, now

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Pacer"]

BATCH = 32
"""Actions in a row before the loop may read sockets again: more would show as latency of what waits there."""

REST = 100 * MICROSECOND
"""Least time between waking up twice: above 10,000 arrivals a second one waking serves several of them."""


class Pacer:
    """A queue of due actions on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[tuple[int, int, Callable[[int], int | None]]] = []
        self._number = 0
        self._alarm: Alarm = (
            KernelAlarm(loop, self._wake) if sys.platform == "linux" else LoopAlarm(loop, self._wake)
        )
        self._wakes_at: int | None = None
        self._woke_at = 0
        self._running = False
        self._stopped = False

    def at(self, due: int, action: Callable[[int], int | None]) -> None:
        """Call ``action(due)`` once the monotonic clock has passed ``due`` nanoseconds."""
        if self._stopped:
            return
        self._number += 1
        heappush(self._queue, (due, self._number, action))
        if not self._running and (self._wakes_at is None or due < self._wakes_at):
            self._sleep()

    def stop(self) -> None:
        """Forget everything that is still to come, and take nothing new."""
        self._stopped = True
        self._queue.clear()
        self._alarm.close()

    def _wake(self) -> None:
        if self._stopped:
            return
        self._wakes_at = None
        self._running = True
        self._woke_at = now()
        queue = self._queue
        left = BATCH
        try:
            while queue and left and queue[0][0] <= now():
                due, number, action = heappop(queue)
                following = action(due)
                if following is not None and not self._stopped:
                    heappush(queue, (following, number, action))
                left -= 1
        finally:  # an action that fails must not hold up the others; its error goes to the loop
            self._running = False
            if queue:
                self._sleep()

    def _sleep(self) -> None:
        self._wakes_at = due = self._queue[0][0]
        self._alarm.set(max(due, self._woke_at + REST))


class Alarm(Protocol):
    """Calls back once at a given time, the last one that was set."""

    def set(self, at: int) -> None:
        """Ring at this time of the monotonic clock, in nanoseconds; at once where it has passed."""

    def close(self) -> None:
        """Never ring again."""


class LoopAlarm:
    """The event loop's own timers; uvloop's tick in milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.Handle | None = None

    def set(self, at: int) -> None:
        """Ring at this time."""
        self.close()
        wait = at - now()
        self._timer = (
            self._loop.call_later(wait / SECOND, self._ring) if wait > 0 else self._loop.call_soon(self._ring)
        )

    def close(self) -> None:
        """Never ring again."""
        if self._timer is not None:
            self._timer.cancel()


class TimeSpec(ctypes.Structure):
    """``struct timespec`` of time.h."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class TimerSpec(ctypes.Structure):
    """``struct itimerspec`` of sys/timerfd.h."""

    _fields_ = (("interval", TimeSpec), ("value", TimeSpec))


class KernelAlarm:
    """A Linux timerfd, which the loop watches like a socket: it rings within tens of microseconds.

    An absolute time on CLOCK_MONOTONIC, the clock of ``clock.now``. Setting it anew takes back a ring that
    has not been seen yet, so it is never read.
    """

    ABSOLUTE = 1  # TFD_TIMER_ABSTIME

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)  # 1: CLOCK_MONOTONIC
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._armed = False
        self._spec = TimerSpec()
        self._pointer = ctypes.byref(self._spec)
        loop.add_reader(self._fd, self._rung)

    def set(self, at: int) -> None:
        """Ring at this time."""
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(at, 1), SECOND)
        self._libc.timerfd_settime(self._fd, self.ABSOLUTE, self._pointer, None)
        self._armed = True

    def close(self) -> None:
        """Never ring again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _rung(self) -> None:
        self._armed = False
        self._ring()
        if not self._armed and self._fd >= 0:
            self._spec.value.seconds = self._spec.value.nanoseconds = 0  # disarms it (timerfd_settime(2))
            self._libc.timerfd_settime(self._fd, 0, self._pointer, None)
