"""Several mosquittos that a run takes for one broker."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from simulator.brokers.launch import open_broker
from simulator.brokers.managed import _free_port
from simulator.brokers.several import SeveralBrokers
from simulator.errors import BrokerError
from simulator.identity.store import FleetStore
from simulator.scenario import model
from simulator.scenario.kinds import BrokerKind
from tests.brokers.wire import CONNACK_ACCEPTED, Papers, connect
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.brokers.broker import Broker
    from simulator.identity.authority import Authority
    from simulator.scenario.kinds import Endpoint

COUNT = 3


def several(authority: Authority, port: int = 0) -> Broker:
    require("mosquitto")
    broker = open_broker(model.Broker(kind=BrokerKind.MOSQUITTO, count=COUNT, port=port), [authority.root])
    assert isinstance(broker, SeveralBrokers)
    return broker


@pytest.fixture
async def brokers(authority: Authority) -> AsyncIterator[Broker]:
    broker = several(authority)
    yield broker
    await broker.stop()


def mosquittos() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.name() == "mosquitto"]


async def accepted(broker: Broker, endpoint: Endpoint, papers: Papers) -> bool:
    """Tell whether a device gets its CONNACK at one endpoint; its certificate is checked against the host."""
    try:
        reader, writer = await asyncio.open_connection(*endpoint, ssl=papers.context(broker))
        writer.write(connect("device-00001"))
        answer = await reader.read(len(CONNACK_ACCEPTED))
    except OSError:
        return False
    writer.transport.abort()
    return answer == CONNACK_ACCEPTED


async def test_each_is_a_process_with_a_port_of_its_own_under_one_authority(
    brokers: Broker, papers: Papers
) -> None:
    assert not brokers.endpoints
    assert brokers.usage() is None
    assert ", not started, client certificates required" in brokers.description
    await brokers.start()
    assert len(mosquittos()) == len(set(brokers.endpoints)) == COUNT
    assert len(brokers.trust) == 1
    assert [await accepted(brokers, each, papers) for each in brokers.endpoints] == [True] * COUNT
    listed = ", ".join(map(str, brokers.endpoints))
    assert brokers.description.startswith(f"{COUNT} x mosquitto ")
    assert brokers.description.endswith(f", {listed}, client certificates required")
    usage = brokers.usage()
    assert usage is not None
    assert usage.rss_bytes > COUNT * 1_000_000


async def test_an_outage_takes_all_and_brings_them_back_where_they_were(
    brokers: Broker, papers: Papers
) -> None:
    await brokers.start()
    endpoints = brokers.endpoints
    await brokers.stop()
    assert mosquittos() == []
    assert [await accepted(brokers, each, papers) for each in endpoints] == [False] * COUNT
    await brokers.start()
    assert brokers.endpoints == endpoints
    assert [await accepted(brokers, each, papers) for each in endpoints] == [True] * COUNT


async def test_the_death_of_any_is_told(brokers: Broker) -> None:
    failure = asyncio.create_task(brokers.wait_failed())
    await brokers.start()
    await brokers.stop()
    await brokers.start()
    assert not failure.done()
    mosquittos()[-1].kill()
    with pytest.raises(BrokerError, match=r"the mosquitto at 127\.0\.0\.1:\d+ ended by itself"):
        await failure
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_all_take_a_new_revocation_list(brokers: Broker, authority: Authority, papers: Papers) -> None:
    with FleetStore.in_memory(authority) as store:
        store.issue(1)
        brokers.admit(store.trust_anchors, store.revocation_lists())
        await brokers.start()
        assert brokers.description.endswith("revocation lists checked")
        (device,) = store.names()
        folder = papers.certificate.parent
        revoked = Papers(folder / f"{device}.pem", folder / f"{device}.key")
        credential = store.credential(device)
        revoked.certificate.write_text(credential.chain_pem())
        revoked.key.write_text(credential.key_pem())
        assert [await accepted(brokers, each, revoked) for each in brokers.endpoints] == [True] * COUNT
        store.revoke(device)
        await brokers.take_crls(store.revocation_lists())
        assert [await accepted(brokers, each, revoked) for each in brokers.endpoints] == [False] * COUNT


async def test_lists_that_one_of_them_cannot_take_are_told(brokers: Broker, authority: Authority) -> None:
    await brokers.start()
    with (
        FleetStore.in_memory(authority) as store,
        pytest.raises(BrokerError, match="without revocation lists"),
    ):
        await brokers.take_crls(store.revocation_lists())


async def test_ports_follow_the_one_that_is_given_and_one_in_use_is_told(authority: Authority) -> None:
    taken = _free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", taken)):
        brokers = several(authority, port=taken - COUNT + 1)
        assert [each.port for each in brokers.endpoints] == [taken - 2, taken - 1, taken]
        with pytest.raises(BrokerError, match=f"port {taken} of 127.0.0.1 is in use; choose another"):
            await brokers.start()
        await brokers.stop()
        assert mosquittos() == []


async def test_a_start_that_is_cancelled_leaves_nothing_behind(brokers: Broker) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.015):
            await brokers.start()
    await brokers.stop()
    assert mosquittos() == []
