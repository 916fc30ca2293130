"""Names of brokers made into addresses, once before a run, so that no device waits for a name server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import BrokerUnreachableError

if TYPE_CHECKING:
    import asyncio

    from simulator.scenario.kinds import Endpoint

__all__ = ["Address", "resolve"]


class Address(NamedTuple):
    """One address of an endpoint, ready for ``socket.connect``."""

    host: str
    family: socket.AddressFamily
    sockaddr: tuple[str | bytes | int, ...]


async def resolve(endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> Address:
    """Return the first address of an endpoint; raises BrokerUnreachableError where the name has none."""
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: it does not fit IDNA
        reason = error.strerror if isinstance(error, OSError) else "it is not a name that DNS can hold"
        raise BrokerUnreachableError(
            f"the name of the broker, {endpoint.host}, cannot be resolved: {reason}"
        ) from error
    family, _, _, _, sockaddr = found[0]
    return Address(endpoint.host, socket.AddressFamily(family), sockaddr)
