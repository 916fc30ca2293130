"""Names of brokers made into addresses, once before a run, so that no device waits for a name server."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import BrokerUnreachableError

if TYPE_CHECKING:
    from simulator.scenario.kinds import Endpoint

__all__ = ["Address", "resolve"]

PATIENCE = 3.0
"""Seconds that an address gets to accept a connection before the next one is tried."""


class Address(NamedTuple):
    """One address of an endpoint, ready for ``socket.connect``."""

    host: str
    family: socket.AddressFamily
    sockaddr: tuple[str | bytes | int, ...]


async def resolve(endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> Address:
    """Return the address of an endpoint: of several, the first that accepts a connection, else the first.

    Raises BrokerUnreachableError where the name has none.
    """
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: it does not fit IDNA
        reason = error.strerror if isinstance(error, OSError) else "it is not a name that DNS can hold"
        raise BrokerUnreachableError(
            f"the name of the broker, {endpoint.host}, cannot be resolved: {reason}"
        ) from error
    addresses = [Address(endpoint.host, socket.AddressFamily(each[0]), each[4]) for each in found]
    for address in addresses[:-1]:
        if await accepts(address, loop):
            return address
    return addresses[-1] if len(addresses) == 1 or await accepts(addresses[-1], loop) else addresses[0]


async def accepts(address: Address, loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether something listens at an address, such as ::1 where a broker may know only 127.0.0.1."""
    try:
        with socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(sock, address.sockaddr)
    except OSError:  # TimeoutError is one
        return False
    return True
