"""Names of brokers, resolved by this machine."""

from __future__ import annotations

import asyncio
import socket

import pytest

from simulator.errors import BrokerUnreachableError
from simulator.link.address import Address, resolve
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
