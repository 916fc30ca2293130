"""Names of brokers, resolved by this machine."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from simulator.errors import BrokerUnreachableError
from simulator.link.address import Address, addresses, resolve
from simulator.scenario.kinds import Endpoint


@pytest.mark.parametrize(
    ("host", "family", "sockaddr"),
    [
        ("127.0.0.1", socket.AF_INET, ("127.0.0.1", 8883)),
        ("::1", socket.AF_INET6, ("::1", 8883, 0, 0)),
    ],
)
async def test_an_address_is_taken_as_it_is(
    host: str, family: socket.AddressFamily, sockaddr: tuple[str | int, ...]
) -> None:
    found = await resolve(Endpoint(host, 8883), asyncio.get_running_loop())
    assert found == Address(host, family, sockaddr)
    assert addresses(Endpoint(host, 8883)) == (found,)


async def test_a_name_keeps_its_name() -> None:
    found = await resolve(Endpoint("localhost", 8883), asyncio.get_running_loop())
    assert found.host == "localhost"
    assert found.sockaddr[:2] in {("127.0.0.1", 8883), ("::1", 8883)}


@pytest.mark.parametrize("host", ["broker.invalid", "a..example", "x" * 64])
async def test_a_name_without_an_address_is_told_in_one_sentence(host: str) -> None:
    with pytest.raises(
        BrokerUnreachableError, match=rf"^the name of the broker, {host}, cannot be resolved: \w.+$"
    ):
        await resolve(Endpoint(host, 8883), asyncio.get_running_loop())
    with pytest.raises(BrokerUnreachableError, match=rf"^the name of the broker, {host}, cannot be resolved"):
        addresses(Endpoint(host, 8883))


class TwoAddresses:
    """A loop whose name server knows two addresses of every name; all else is the running loop's."""

    def __init__(self, ports: tuple[int, int]) -> None:
        self._ports = ports
        self._loop = asyncio.get_running_loop()

    async def getaddrinfo(self, host: str, port: int, *, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        return [(socket.AF_INET, type, 0, "", ("127.0.0.1", each)) for each in self._ports]

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


@pytest.mark.parametrize("listening", [0, 1, None], ids=["the first", "the second", "none"])
async def test_of_two_addresses_the_one_that_accepts_is_taken(listening: int | None) -> None:
    """As localhost is ::1 first on many machines, and many a broker listens at 127.0.0.1 alone."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused
        alive, dead = server.getsockname()[1], closed.getsockname()[1]
        ports = {0: (alive, dead), 1: (dead, alive), None: (dead, dead)}[listening]
        loop = cast("asyncio.AbstractEventLoop", TwoAddresses(ports))
        found = await resolve(Endpoint("broker", 8883), loop)
    assert found.sockaddr == ("127.0.0.1", ports[listening or 0])
