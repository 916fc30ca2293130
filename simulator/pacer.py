"""The pacer: calls each action when it is due, by a clock that does not wait for anybody.

An action gets the due time it was set for and returns the next one, or None when it is done. It is never
called early. How late it is called is the generator's *lag*; whoever takes a sample keeps both times.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from simulator.clock import MILLISECOND, SECOND, now

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Pacer"]

BATCH = 32
"""Actions in a row before the loop may read sockets again: more would show as latency of what waits to be read."""


class Pacer:
    """A queue of due actions on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[tuple[int, int, Callable[[int], int | None]]] = []
        self._number = 0
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0
        self._running = False
        self._stopped = False

    def at(self, due: int, action: Callable[[int], int | None]) -> None:
        """Call ``action(due)`` once the monotonic clock has passed ``due`` nanoseconds."""
        if self._stopped:
            return
        self._number += 1
        heappush(self._queue, (due, self._number, action))
        if not self._running and (self._timer is None or due < self._wakes_at):
            self._sleep()

    def stop(self) -> None:
        """Forget everything that is still to come, and take nothing new."""
        self._stopped = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._timer = None
        self._running = True
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
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = self._queue[0][0]
        wait = self._wakes_at - now()
        if wait <= 0:
            self._timer = self._loop.call_soon(self._wake)
        else:
            # Up to the next millisecond, in which uvloop's timers tick: waking early would mean to spin.
            self._timer = self._loop.call_later(-(-wait // MILLISECOND) * MILLISECOND / SECOND, self._wake)
