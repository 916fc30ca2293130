"""Several brokers of ours that a run takes for one: started, told, watched and ended together.

They share nothing but the authority that their certificates come from. This module must not know the program.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from simulator.brokers.broker import BrokerUsage

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from simulator.brokers.managed import ManagedBroker
    from simulator.scenario.kinds import BrokerKind, Endpoint

__all__ = ["SeveralBrokers"]


class SeveralBrokers:
    """Brokers of one kind with one trust anchor, at an endpoint each."""

    def __init__(self, brokers: Iterable[ManagedBroker]) -> None:
        self._brokers = tuple(brokers)

    @property
    def kind(self) -> BrokerKind:
        """Where the brokers come from."""
        return self._brokers[0].kind

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to connect, in the order of the brokers; empty before the first start."""
        return tuple(endpoint for broker in self._brokers for endpoint in broker.endpoints)

    @property
    def trust(self) -> tuple[bytes, ...]:
        """The root that all the brokers' certificates chain to, in DER."""
        return self._brokers[0].trust

    @property
    def server_name(self) -> str | None:
        """None: each certificate carries the address of its endpoint."""
        return None

    @property
    def description(self) -> str:
        """How many there are, and what each says of itself but for the address."""
        program, _, rest = self._brokers[0].description.split(", ", 2)
        where = ", ".join(map(str, self.endpoints)) or "not started"
        return f"{len(self._brokers)} x {program}, {where}, {rest}"

    def look(self) -> tuple[str, ...]:
        """Return nothing: the brokers are still to be started."""
        return ()

    async def start(self) -> None:
        """Return when all accept connections; raise BrokerError where one cannot be started.

        Those that run then go on until ``stop()``.
        """
        await _together(broker.start() for broker in self._brokers)

    def admit(self, trust: Sequence[bytes], crls: Sequence[bytes] = ()) -> None:
        """Accept, from the next start on, clients that chain to ``trust`` and are in none of ``crls``."""
        for broker in self._brokers:
            broker.admit(trust, crls)

    async def take_crls(self, crls: Sequence[bytes]) -> None:
        """Return when all of them judge by ``crls``; raise BrokerError where one cannot."""
        await _together(broker.take_crls(crls) for broker in self._brokers)

    async def stop(self) -> None:
        """End all that run, at once."""
        await _together(broker.stop() for broker in self._brokers)

    async def wait_failed(self) -> NoReturn:
        """Raise BrokerError as soon as one of them ends without ``stop()``; never return otherwise."""
        while True:
            await _together(broker.wait_failed() for broker in self._brokers)

    def usage(self) -> BrokerUsage | None:
        """Return what they use together; None where none runs."""
        used = [usage for broker in self._brokers if (usage := broker.usage())]
        if not used:
            return None
        return BrokerUsage(sum(each.cpu_seconds for each in used), sum(each.rss_bytes for each in used))


async def _together(asked: Iterable[Coroutine[object, object, None]]) -> None:
    """Return when all have ended; where one fails, end the others and raise what it raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for number, each in enumerate(asked, 1):
                group.create_task(each, name=f"broker {number}")
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
