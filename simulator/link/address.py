"""Names of brokers made into addresses, once before a run, so that no device waits for a name server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import BrokerUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.link.source import Sources
    from simulator.scenario.kinds import Endpoint

__all__ = ["Address", "addresses", "reachable", "resolve"]

PATIENCE = 3.0
"""Seconds that an address gets to accept a connection before the next one is tried."""


class Address(NamedTuple):
    """One address of an endpoint, ready for ``socket.connect``."""

    host: str
    family: socket.AddressFamily
    sockaddr: tuple[str | bytes | int, ...]


async def resolve(
    endpoint: Endpoint, loop: asyncio.AbstractEventLoop, sources: Sources | None = None
) -> Address:
    """Return the address of an endpoint: of several, the first that accepts a connection, else the first.

    Of those, that is, which connections can reach from ``sources``. Raises BrokerUnreachableError where the
    name has none, and UsageError where all it has are of another family.
    """
    with _telling(endpoint):
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    first, *others = reachable(endpoint, _addresses(endpoint, found), sources or {})
    for address in (first, *others) if others else ():
        if await accepts(address, loop):
            return address
    return first


def reachable(endpoint: Endpoint, found: tuple[Address, ...], sources: Sources) -> tuple[Address, ...]:
    """Return those of an endpoint's addresses that have the family of a source, or all without any source.

    Raises UsageError where that leaves nothing.
    """
    if not sources:
        return found
    fitting = tuple(each for each in found if each.family in sources)
    if not fitting:
        listed = ", ".join(str(each.sockaddr[0]) for each in found)
        where = endpoint.host if endpoint.host == listed else f"{endpoint.host} ({listed})"
        raise UsageError(
            f"no address in link.source can reach the broker at {where}: IPv4 and IPv6 do not mix; name"
            " source addresses of its kind"
        )
    return fitting


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
