"""Waiting for something to become true, woken by whatever may have made it so: never by a clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 10.0
"""How long a test waits for what must come; only a failing test waits as long."""


class Changes:
    """Call ``poke`` after each change; ``until`` looks again each time."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def poke(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter
