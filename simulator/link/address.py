"""Names of brokers made into addresses, once before a run, so that no device waits for a name server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import BrokerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.scenario.kinds import Endpoint

__all__ = ["Address", "addresses", "resolve"]

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
    with _telling(endpoint):
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    first, *others = _addresses(endpoint, found)
    for address in (first, *others) if others else ():
        if await accepts(address, loop):
            return address
    return first


def addresses(endpoint: Endpoint) -> tuple[Address, ...]:
    """Return every address of an endpoint; it blocks for as long as a name server takes.

    Raises BrokerUnreachableError where the name has none.
    """
    with _telling(endpoint):
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return _addresses(endpoint, found)


def _addresses(
    endpoint: Endpoint, found: Iterable[tuple[int, int, int, str, tuple[str | bytes | int, ...]]]
) -> tuple[Address, ...]:
    return tuple(Address(endpoint.host, socket.AddressFamily(each[0]), each[4]) for each in found)


@contextmanager
def _telling(endpoint: Endpoint) -> Iterator[None]:
    """Say in one sentence why a name cannot be resolved."""
    try:
        yield
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: it does not fit IDNA
        reason = error.strerror if isinstance(error, OSError) else "it is not a name that DNS can hold"
        raise BrokerUnreachableError(
            f"the name of the broker, {endpoint.host}, cannot be resolved: {reason}"
        ) from error


async def accepts(address: Address, loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether something listens at an address, such as ::1 where a broker may know only 127.0.0.1."""
    try:
        with socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(sock, address.sockaddr)
    except OSError:  # TimeoutError is one
        return False
    return True
