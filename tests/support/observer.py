"""An independent client (aiomqtt, on paho) that hears what a broker hears, and says what it is told to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiomqtt

from tests.support.changes import SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from simulator.brokers.broker import Broker

Heard = aiomqtt.Message


class Observer:
    """Keeps what it hears, in order."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.heard: list[Heard] = []
        self._client = client
        self._messages = aiter(client.messages)

    async def says(self, topic: str, payload: str, qos: int = 2, *, retain: bool = False) -> None:
        """Publish a message, and wait until the broker has taken it."""
        await self._client.publish(topic, payload, qos=qos, retain=retain)

    async def hears(self, enough: Callable[[list[Heard]], bool]) -> list[Heard]:
        """Listen until it is enough."""
        async with asyncio.timeout(SECONDS):
            while not enough(self.heard):
                self.heard.append(await anext(self._messages))
        return self.heard

    async def hears_of(self, number: int) -> list[dict[str, Any]]:
        """Listen until so many JSON payloads have come, and return them."""
        heard = await self.hears(lambda messages: len(messages) >= number)
        return [json.loads(bytes(message.payload)) for message in heard]


@asynccontextmanager
async def observing(
    broker: Broker, context: ssl.SSLContext, *filters: str, qos: int = 2
) -> AsyncIterator[Observer]:
    """Subscribe to filters before anything else happens."""
    host, port = broker.endpoints[0]
    async with aiomqtt.Client(host, port, tls_context=context, timeout=SECONDS) as client:
        for each in filters:
            await client.subscribe(each, qos=qos)
        yield Observer(client)
