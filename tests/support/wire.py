"""A device's end of the wire: who gets what a link brings, and a link that a test opens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulator.link.link import Link
from tests.support.changes import Changes

if TYPE_CHECKING:
    from simulator.identity.credential import Credential
    from simulator.link.address import Address
    from simulator.link.failure import LinkError
    from simulator.link.tls import TlsClient


class Recipient:
    """Keeps what arrives, and why it ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.errors: list[LinkError] = []
        self._changes = Changes()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changes.poke()

    def link_lost(self, error: LinkError) -> None:
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

    def __init__(self, kind: type[Link] = Link) -> None:
        self.recipient = Recipient()
        self.link = kind(asyncio.get_running_loop(), self.recipient)

    async def open(self, address: Address, tls: TlsClient, credential: Credential | None) -> None:
        async with asyncio.timeout(10):
            await self.link.open(address, tls, credential)
