"""A device's end of the wire: who gets what a link brings, and a link that a test opens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulator.link.link import Link
from simulator.link.openssl import LoadedCredential
from simulator.metrics.sample import Phase
from tests.support.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.identity.credential import Credential
    from simulator.link.address import Address
    from simulator.link.failure import LinkError
    from simulator.link.resumption import Resumption
    from simulator.link.source import SourceAddress
    from simulator.link.tls import TlsClient


class Recipient:
    """Keeps what arrives, and why it ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.errors: list[LinkError] = []
        self.opening: asyncio.Future[None] | None = None
        self.greet: Callable[[], None] = lambda: None
        self._changes = Changes()

    def link_opened(self) -> None:
        self.greet()
        if self.opening is not None and not self.opening.done():
            self.opening.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changes.poke()

    def link_lost(self, error: LinkError) -> None:
        if self.opening is not None and not self.opening.done():
            self.opening.set_exception(error)
            return
        self.errors.append(error)
        self._changes.poke()

    async def received(self, data: bytes) -> None:
        """Wait until ``data`` has come, and nothing else."""
        await self._changes.until(lambda: len(self.data) >= len(data))
        assert bytes(self.data) == data

    async def lost(self) -> LinkError:
        """Wait until the link is lost."""
        await self._changes.until(lambda: self.errors)
        (error,) = self.errors
        return error


class Wire:
    """One link and its recipient, on the running loop."""

    def __init__(self, kind: type[Link] = Link, *, greeting: bytes = b"") -> None:
        self.recipient = Recipient()
        self.link = kind(asyncio.get_running_loop(), self.recipient)
        if greeting:
            self.recipient.greet = lambda: self._greet(greeting)

    async def open(
        self,
        address: Address,
        tls: TlsClient,
        credential: Credential | None,
        resumption: Resumption | None = None,
        source: SourceAddress | None = None,
    ) -> None:
        """Start the link and wait until it is open; raise what it is lost by instead."""
        loaded = LoadedCredential(credential) if credential is not None else None
        opening = self.recipient.opening = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(10):
                self.link.start(address, tls, loaded, resumption, source)
                await opening
        except BaseException:
            self.link.close(orderly=False)
            raise

    def _greet(self, greeting: bytes) -> None:
        self.link.phase = Phase.MQTT_CONNECT
        self.link.send(greeting)
