"""Whether our brokers resume the sessions of devices with a certificate, and whose they should not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from simulator.identity.store import FleetStore
from simulator.link.address import resolve
from simulator.link.failure import LinkError
from simulator.link.resumption import Resumption
from simulator.link.tls import TlsClient, TlsSettings
from tests.brokers.wire import CONNACK_ACCEPTED, connect
from tests.support.tls import VERSIONS
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import TlsVersion

VALIDITY = timedelta(seconds=3)
"""Long enough to connect on a busy machine, short enough to wait for its end."""


class Device:
    """One device that resumes, or does not, and what the broker says to it."""

    def __init__(self, credential: Credential, version: TlsVersion, *, resumes: bool = True) -> None:
        self.resumption = Resumption() if resumes else None
        self._credential = credential
        self._version = version

    async def meets(self, broker: ManagedBroker) -> str:
        """Connect and leave; return ``full`` or ``resumed`` where MQTT is accepted, or why it was not."""
        address = await resolve(broker.endpoints[0], asyncio.get_running_loop())
        tls = TlsClient(TlsSettings(self._version, trust=broker.trust), address.host)
        wire = Wire(greeting=connect("device"))
        try:
            await wire.open(address, tls, self._credential, self.resumption)
            answered = asyncio.create_task(wire.recipient.received(CONNACK_ACCEPTED))
            lost = asyncio.create_task(wire.recipient.lost())
            done, (pending,) = await asyncio.wait([answered, lost], return_when=asyncio.FIRST_COMPLETED)
            pending.cancel()
            if lost in done:
                return (await lost).outcome
        except LinkError as error:
            return error.outcome
        finally:
            wire.link.close()
        return "resumed" if self.resumption is not None and self.resumption.resumed else "full"


@asynccontextmanager
async def running(broker: ManagedBroker) -> AsyncIterator[ManagedBroker]:
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def test_a_device_with_a_certificate_resumes_and_one_that_does_not_ask_never(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    credential = authority.issue_device("device")
    async with running(make([authority.root])) as broker:
        for version in VERSIONS:
            device, plain = Device(credential, version), Device(credential, version, resumes=False)
            assert [await device.meets(broker) for _ in range(4)] == ["full", *["resumed"] * 3]
            assert [await plain.meets(broker) for _ in range(3)] == ["full"] * 3


async def test_a_broker_that_was_away_refuses_what_it_gave_before(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    broker = make([authority.root])
    devices = [Device(authority.issue_device("device"), version) for version in VERSIONS]
    async with running(broker):
        for device in devices:
            assert [await device.meets(broker) for _ in range(2)] == ["full", "resumed"]
    async with running(broker):
        for device in devices:
            assert await device.meets(broker) == "full"
            assert device.resumption is not None
            assert device.resumption.offered
            assert await device.meets(broker) == "resumed"


async def test_a_revoked_device_does_not_come_back_by_its_session_and_its_neighbour_does(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    with FleetStore.in_memory(authority) as store:
        store.issue(2)
        (name, credential), (_, other) = store.credentials()
        revoked = [Device(credential, version) for version in VERSIONS]
        neighbours = [Device(other, version) for version in VERSIONS]
        broker = make([])
        broker.admit(store.trust_anchors, store.revocation_lists())
        async with running(broker):
            for device in (*revoked, *neighbours):
                assert [await device.meets(broker) for _ in range(2)] == ["full", "resumed"]
            store.revoke(name)
            await broker.take_crls(store.revocation_lists())
            assert {await device.meets(broker) for device in revoked} == {"certificate_revoked"}
            for device in neighbours:
                assert [await device.meets(broker) for _ in range(2)] == ["full", "resumed"]


async def test_a_certificate_that_expires_is_accepted_by_its_session_for_longer(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    """What a rehearsal is to find: neither broker looks at a certificate in a resumption."""
    async with running(make([authority.root])) as broker:
        credential = authority.issue_device("device", validity=VALIDITY)
        issued = datetime.now(UTC)
        resuming = [Device(credential, version) for version in VERSIONS]
        plain = [Device(credential, version, resumes=False) for version in VERSIONS]
        assert [await device.meets(broker) for device in (*resuming, *plain)] == ["full"] * 4
        await asyncio.sleep((issued + VALIDITY + timedelta(seconds=1) - datetime.now(UTC)).total_seconds())
        assert [await device.meets(broker) for device in resuming] == ["resumed"] * 2
        assert [await device.meets(broker) for device in plain] == ["certificate_expired"] * 2
