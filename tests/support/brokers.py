"""A broker of ours that runs for several tests, on a loop of its own."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.brokers.managed import ManagedBroker


@contextmanager
def running(make: Callable[[], ManagedBroker]) -> Iterator[ManagedBroker]:
    """Start a broker, and stop it at the end; its process lives beside the loops of the tests."""

    async def start() -> ManagedBroker:
        broker = make()
        await broker.start()
        return broker

    with asyncio.Runner() as runner:
        broker = runner.run(start())
        try:
            yield broker
        finally:
            runner.run(broker.stop())
