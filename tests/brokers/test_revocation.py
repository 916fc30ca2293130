"""Revoked and self-signed certificates, as a device of ours meets them at each broker of ours.

Each refusal has its twin: the same certificate, before it was revoked, or where it is trusted.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from simulator.errors import BrokerError
from simulator.identity.authority import Authority
from simulator.identity.record import Status
from simulator.identity.self_signed import self_signed
from simulator.identity.store import FleetStore
from simulator.link.address import resolve
from simulator.link.failure import LinkError
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import TlsVersion
from tests.brokers.wire import CONNACK_ACCEPTED, PINGREQ, Papers, Wires, connect
from tests.support.offspring import children
from tests.support.tls import VERSIONS
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from simulator.brokers.managed import ManagedBroker
    from simulator.identity.credential import Credential

pytestmark = pytest.mark.asyncio(loop_scope="module")

both = pytest.mark.parametrize("version", VERSIONS)
MANY = 2_000
PINGRESP = b"\xd0\x00"


class Gate:
    """A fleet, a broker that looks at its revocation lists, and what becomes of a device that connects."""

    def __init__(self, store: FleetStore, broker: ManagedBroker) -> None:
        self.store = store
        self.broker = broker

    async def outcome(self, credential: Credential | None, version: TlsVersion = TlsVersion.ANY) -> str:
        return await outcome(self.broker, credential, version)

    def newcomer(self) -> tuple[str, Credential]:
        """Issue one more device."""
        self.store.issue(1)
        device = self.store.names()[-1]
        return device, self.store.credential(device)

    async def revoke(self, device: str) -> None:
        self.store.revoke(device)
        await self.broker.take_crls(self.store.revocation_lists())


async def outcome(
    broker: ManagedBroker, credential: Credential | None, version: TlsVersion = TlsVersion.ANY
) -> str:
    """Return ``ok`` where the broker accepts the MQTT session of a device, or why the link was lost."""
    address = await resolve(broker.endpoints[0], asyncio.get_running_loop())
    wire = Wire(greeting=connect("device"))
    try:
        await wire.open(
            address, TlsClient(TlsSettings(version, trust=broker.trust), address.host), credential
        )
        answered = asyncio.create_task(wire.recipient.received(CONNACK_ACCEPTED))
        lost = asyncio.create_task(wire.recipient.lost())
        done, pending = await asyncio.wait([answered, lost], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return (await lost).outcome if lost in done else "ok"
    except LinkError as error:
        return error.outcome
    finally:
        wire.link.close(orderly=False)


@pytest.fixture(scope="module")
def store(authority: Authority) -> Iterator[FleetStore]:
    with FleetStore.in_memory(authority) as store:
        store.issue(3)
        yield store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(make: Callable[..., ManagedBroker], store: FleetStore) -> AsyncIterator[Gate]:
    broker = make(store.trust_anchors)
    broker.admit(store.trust_anchors, store.revocation_lists())
    await broker.start()
    yield Gate(store, broker)
    await broker.stop()


# Revoked


@both
async def test_a_revoked_certificate_is_refused_by_name_and_its_neighbour_is_not(
    gate: Gate, version: TlsVersion
) -> None:
    (device, credential), (_, neighbour) = gate.newcomer(), gate.newcomer()
    assert await gate.outcome(credential, version) == "ok"
    await gate.revoke(device)
    assert await gate.outcome(credential, version) == "certificate_revoked"
    assert await gate.outcome(neighbour, version) == "ok"


async def test_lists_that_follow_in_the_same_second_each_count(gate: Gate) -> None:
    newcomers = [gate.newcomer() for _ in range(4)]
    for device, credential in newcomers:
        assert await gate.outcome(credential) == "ok"
        await gate.revoke(device)
        assert await gate.outcome(credential) == "certificate_revoked"


async def test_a_new_generation_of_a_revoked_device_is_welcome(gate: Gate, authority: Authority) -> None:
    device, credential = gate.newcomer()
    await gate.revoke(device)
    gate.store.add(device, authority.issue_device(device))
    assert await gate.outcome(credential) == "certificate_revoked"
    assert await gate.outcome(gate.store.credential(device)) == "ok"


async def test_an_established_session_lives_on(gate: Gate, tmp_path: Path) -> None:
    device, credential = gate.newcomer()
    papers = kept(credential, tmp_path)
    wires = Wires(gate.broker, papers.context(gate.broker))
    wire = await wires.join(connect("device"))
    await gate.revoke(device)
    assert await wire.ask(PINGREQ) == PINGRESP
    assert await gate.outcome(credential) == "certificate_revoked"
    wires.cut()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_ticket_does_not_let_a_revoked_device_back_in(
    gate: Gate, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    device, credential = gate.newcomer()
    context = kept(credential, tmp_path).context(gate.broker)
    context.minimum_version = context.maximum_version = version
    ticket = await asyncio.to_thread(talk, gate.broker, context, None)
    ticket = await asyncio.to_thread(talk, gate.broker, context, ticket)
    await gate.revoke(device)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
        await asyncio.to_thread(hear, gate.broker, context, ticket)


def kept(credential: Credential, folder: Path) -> Papers:
    papers = Papers(folder / "device.pem", folder / "device.key")
    papers.certificate.write_text(credential.chain_pem())
    papers.key.write_text(credential.key_pem())
    return papers


def hear(broker: ManagedBroker, context: ssl.SSLContext, ticket: ssl.SSLSession) -> bytes:
    """Connect with a ticket and only listen: a write to who has closed already would lose its alert."""
    with shaken(broker, context, ticket) as wrapped:
        return wrapped.recv(4)


@contextmanager
def shaken(
    broker: ManagedBroker, context: ssl.SSLContext, ticket: ssl.SSLSession | None
) -> Iterator[ssl.SSLSocket]:
    host, port = broker.endpoints[0]
    with (
        socket.create_connection((host, port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname=host, session=ticket) as wrapped,
    ):
        yield wrapped


def talk(broker: ManagedBroker, context: ssl.SSLContext, ticket: ssl.SSLSession | None) -> ssl.SSLSession:
    """Connect, resuming where there is a ticket, and be answered; return the session with a fresh ticket."""
    with shaken(broker, context, ticket) as wrapped:
        wrapped.sendall(connect("device"))
        assert wrapped.recv(4) == CONNACK_ACCEPTED
        assert wrapped.session_reused is (ticket is not None)
        assert wrapped.session is not None
        return wrapped.session


async def test_a_certificate_whose_issuer_has_no_list_is_refused(
    make: Callable[..., ManagedBroker], store: FleetStore
) -> None:
    other = Authority.create("Other")
    credential = other.issue_device("device")
    broker = make([])
    broker.admit([*store.trust_anchors, other.root])
    async with running(broker):
        assert await outcome(broker, credential) == "ok"
    broker.admit([*store.trust_anchors, other.root], store.revocation_lists())
    async with running(broker):
        assert await outcome(broker, credential) != "ok"
        assert await outcome(broker, store.credential("device-00001")) == "ok"


async def test_lists_count_over_an_outage_and_when_given_during_one(
    make: Callable[..., ManagedBroker], authority: Authority
) -> None:
    with FleetStore.in_memory(authority) as store:
        store.issue(3)
        before, during, never = (credential for _, credential in store.credentials())
        broker = make([])
        broker.admit(store.trust_anchors, store.revocation_lists())
        async with running(broker):
            assert broker.description.endswith("client certificates required, revocation lists checked")
            store.revoke("device-00001")
            await broker.take_crls(store.revocation_lists())
        store.revoke("device-00002")
        await broker.take_crls(store.revocation_lists())
        async with running(broker):
            assert await outcome(broker, before) == "certificate_revoked"
            assert await outcome(broker, during) == "certificate_revoked"
            assert await outcome(broker, never) == "ok"


async def test_a_broker_that_was_started_without_lists_says_so(
    make: Callable[..., ManagedBroker], store: FleetStore
) -> None:
    async with running(make(store.trust_anchors)) as broker:
        with pytest.raises(BrokerError, match=r"at 127\.0\.0\.1:\d+ was started without revocation lists"):
            await broker.take_crls(store.revocation_lists())


async def test_a_broker_that_does_not_answer_is_not_believed(
    make: Callable[..., ManagedBroker], store: FleetStore
) -> None:
    broker = make([])
    broker.admit(store.trust_anchors, store.revocation_lists())
    async with running(broker):
        for process in children():
            process.kill()
        with pytest.raises(BrokerError, match="did not take a new revocation list"):
            await broker.take_crls(store.revocation_lists())


# Self-signed


@both
async def test_a_self_signed_certificate_is_accepted_where_it_is_trusted_and_only_there(
    make: Callable[..., ManagedBroker], store: FleetStore, version: TlsVersion
) -> None:
    with FleetStore.in_memory() as fleet:
        fleet.issue(3, self_signed=True)
        fleet.revoke("device-00002")
        trusted, withdrawn, other = (fleet_credential(fleet, number) for number in (1, 2, 3))
        async with running(make([*fleet.trust_anchors, *store.trust_anchors])) as broker:
            assert await outcome(broker, trusted, version) == "ok"
            assert await outcome(broker, other, version) == "ok"
            assert await outcome(broker, withdrawn, version) == "unknown_ca"
            assert await outcome(broker, self_signed("device-00001"), version) in {
                "unknown_ca",
                "decrypt_error",
            }
            assert await outcome(broker, self_signed("stranger"), version) == "unknown_ca"
            assert await outcome(broker, store.credential("device-00001"), version) == "ok"


def fleet_credential(fleet: FleetStore, number: int) -> Credential:
    every = dict(fleet.credentials()) | dict(fleet.credentials(status=Status.REVOKED))
    return every[f"device-{number:05d}"]


async def test_thousands_of_self_signed_certificates_are_trusted_one_by_one(
    make: Callable[..., ManagedBroker],
) -> None:
    with FleetStore.in_memory() as fleet:
        fleet.issue(MANY, self_signed=True)
        credentials = [credential for _, credential in fleet.credentials()]
        async with running(make(fleet.trust_anchors)) as broker:
            for credential in (credentials[0], credentials[MANY // 2], credentials[-1]):
                for version in VERSIONS:
                    assert await outcome(broker, credential, version) == "ok"
            assert await outcome(broker, self_signed("stranger")) == "unknown_ca"


@asynccontextmanager
async def running(broker: ManagedBroker) -> AsyncIterator[ManagedBroker]:
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
