"""Every way in which broker and device can refuse each other's certificate: under which name it is counted.

Each row has a twin in the same harness: the same device at the same broker, or the same broker with its own
certificate, with the one thing put right, connects.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest

from simulator.brokers.embedded import EmbeddedBroker
from simulator.brokers.managed import ManagedBroker
from simulator.brokers.mosquitto import MosquittoBroker
from simulator.clock import now
from simulator.devices.device import DeviceState
from simulator.identity.authority import Authority
from simulator.identity.credential import Credential
from simulator.identity.self_signed import self_signed
from simulator.identity.store import FleetStore
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from simulator.scenario.kinds import TlsVersion
from simulator.scenario.model import Fleet
from tests.support.changes import Changes
from tests.support.rig import Rig
from tests.support.tls import VERSIONS
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence


DAY = timedelta(days=1)
NAME = "core2-00000"

# What is wrong with the device's certificate; the alert under TLS 1.2, and under TLS 1.3; why no better name.
# Both brokers let OpenSSL judge, so they send the same.
DEVICES = [
    ("another authority's", "unknown_ca", "unknown_ca", ""),
    ("without an intermediate", "unknown_ca", "unknown_ca", "the chain ends before a known authority"),
    ("self-signed", "unknown_ca", "unknown_ca", "it is its own authority, and the broker does not know it"),
    ("expired", "certificate_expired", "certificate_expired", ""),
    ("not yet valid", "bad_certificate", "bad_certificate", "OpenSSL keeps certificate_expired for the past"),
    ("revoked", "certificate_revoked", "certificate_revoked", ""),
    (
        "for servers only",
        "unsupported_certificate",
        "unsupported_certificate",
        "for no client, says its purpose",
    ),
    ("none", "handshake_failure", "certificate_required", "TLS 1.2 has no better alert (RFC 5246 7.4.6)"),
]
# What is wrong with the broker's certificate; what the device calls it under either version, and in words.
BROKERS = [
    ("another authority's", Outcome.SERVER_CERTIFICATE_UNTRUSTED, "unable to get local issuer certificate"),
    (
        "without an intermediate",
        Outcome.SERVER_CERTIFICATE_UNTRUSTED,
        "unable to get local issuer certificate",
    ),
    ("self-signed", Outcome.SERVER_CERTIFICATE_UNTRUSTED, "self-signed certificate"),
    ("for clients only", Outcome.SERVER_CERTIFICATE_UNTRUSTED, "unsuitable certificate purpose"),
    ("expired", Outcome.SERVER_CERTIFICATE_EXPIRED, "certificate has expired"),
    ("not yet valid", Outcome.SERVER_CERTIFICATE_NOT_YET_VALID, "certificate is not yet valid"),
    ("another host's", Outcome.HOSTNAME_MISMATCH, "IP address mismatch"),
]

versions = pytest.mark.parametrize("version", VERSIONS)


class Pair(NamedTuple):
    """A certificate that is refused, None for no certificate, and its twin that is accepted."""

    wrong: Credential | None
    right: Credential


class Gates(NamedTuple):
    """A fleet's papers, the broker that knows them, and one that looks at revocation lists too."""

    pairs: Mapping[str, Pair]
    plain: ManagedBroker
    with_lists: ManagedBroker


class Shields(NamedTuple):
    """Brokers by what is wrong with their certificate, the good one among them, and whom they all accept."""

    brokers: Mapping[str, ManagedBroker]
    trust: bytes
    device: Credential


@pytest.fixture(scope="module", params=[EmbeddedBroker, MosquittoBroker], ids=["embedded", "mosquitto"])
def kind(request: pytest.FixtureRequest) -> type[ManagedBroker]:
    made: type[ManagedBroker] = request.param
    if made is MosquittoBroker:
        require("mosquitto")
    return made


@contextmanager
def running(*brokers: ManagedBroker) -> Iterator[None]:
    """Start brokers, all at once, and stop them at the end; they live beside the loops of the tests."""

    async def each(do: Callable[[ManagedBroker], Coroutine[object, object, None]]) -> None:
        await asyncio.gather(*map(do, brokers))

    with asyncio.Runner() as runner:
        try:
            runner.run(each(ManagedBroker.start))
            yield
        finally:
            runner.run(each(ManagedBroker.stop))


@pytest.fixture(scope="module")
def gates(kind: type[ManagedBroker]) -> Iterator[Gates]:
    authority = Authority.create("Fleet")
    trusted = self_signed(NAME)
    with FleetStore.in_memory(authority) as store:
        store.issue(["good", "revoked"])
        pairs = device_papers(authority, store.credential("good")) | {
            "revoked": Pair(store.credential("revoked"), store.credential("good")),
            "self-signed": Pair(self_signed("stranger"), trusted),
        }
        store.revoke("revoked")
        plain, with_lists = kind([authority.root, trusted.certificate]), kind([])
        with_lists.admit([authority.root], store.revocation_lists())
        with running(plain, with_lists):
            yield Gates(pairs, plain, with_lists)


def device_papers(authority: Authority, good: Credential) -> dict[str, Pair]:
    early = datetime.now(UTC) - 2 * DAY
    wrong = {
        "another authority's": Authority.create("Fleet").issue_device(NAME),
        "without an intermediate": alone(good),
        "expired": authority.issue_device(NAME, not_before=early, validity=DAY),
        "not yet valid": authority.issue_device(NAME, not_before=early + 3 * DAY, validity=DAY),
        "for servers only": authority.issue_server([NAME]),
        "none": None,
    }
    return {what: Pair(credential, good) for what, credential in wrong.items()}


def alone(credential: Credential) -> Credential:
    return Credential(credential.certificate, credential.key)


@pytest.fixture(scope="module")
def shields(kind: type[ManagedBroker]) -> Iterator[Shields]:
    fleet, authority = Authority.create("Fleet"), Authority.create("Broker")
    brokers = {what: shown(kind, fleet, each) for what, each in broker_papers(authority).items()}
    with running(*brokers.values()):
        yield Shields(brokers, authority.root, fleet.issue_device(NAME))


def shown(kind: type[ManagedBroker], fleet: Authority, credential: Credential) -> ManagedBroker:
    """Return a broker that shows this credential."""
    broker = kind([fleet.root])
    broker._credential = credential
    return broker


def broker_papers(authority: Authority) -> dict[str, Credential]:
    early, here = datetime.now(UTC) - 2 * DAY, ["127.0.0.1"]
    good = authority.issue_server(here)
    return {
        "nothing": good,
        "another authority's": Authority.create("Broker").issue_server(here),
        "without an intermediate": alone(good),
        "self-signed": self_signed("127.0.0.1"),
        "for clients only": authority.issue_device("127.0.0.1"),
        "expired": authority.issue_server(here, not_before=early, validity=DAY),
        "not yet valid": authority.issue_server(here, not_before=early + 3 * DAY, validity=DAY),
        "another host's": authority.issue_server(["broker.example"]),
    }


async def failure(
    broker: ManagedBroker, trust: Sequence[bytes], credential: Credential | None, version: TlsVersion
) -> tuple[Phase, str, str] | None:
    """Let a device connect; return phase, outcome and detail of its failure, None where it succeeds."""
    settings = {"devices": 1, "tls": version, "reconnect": {"enabled": False}}
    fleet, changes = Fleet.model_validate(settings), Changes()
    async with Rig(fleet, changes, endpoints=broker.endpoints, trust=tuple(trust)) as rig:
        device = rig.add(credential)
        device.connect(now())
        await changes.until(lambda: rig.failures or device.state is DeviceState.CONNECTED)
        return next(((each.phase, each.outcome, each.detail) for each in rig.failures), None)


@versions
@pytest.mark.parametrize(("wrong", "tls_12", "tls_13", "why"), DEVICES, ids=[row[0] for row in DEVICES])
async def test_a_broker_refuses_a_device_by_name_and_takes_its_twin(
    gates: Gates, *, wrong: str, tls_12: str, tls_13: str, why: str, version: TlsVersion
) -> None:
    broker = gates.with_lists if wrong == "revoked" else gates.plain
    alert = tls_12 if version is TlsVersion.V12 else tls_13
    refused, accepted = gates.pairs[wrong]
    assert await failure(broker, broker.trust, refused, version) == (
        Phase.TLS_HANDSHAKE,
        alert,
        f"the broker sent the TLS alert {alert}",
    ), why
    assert await failure(broker, broker.trust, accepted, version) is None


@versions
@pytest.mark.parametrize(("wrong", "outcome", "words"), BROKERS, ids=[row[0] for row in BROKERS])
async def test_a_device_refuses_a_broker_by_name_and_takes_its_twin(
    shields: Shields, wrong: str, outcome: Outcome, words: str, version: TlsVersion
) -> None:
    found = await failure(shields.brokers[wrong], [shields.trust], shields.device, version)
    assert found is not None
    assert found[:2] == (Phase.TLS_HANDSHAKE, outcome)
    assert words in found[2]
    assert await failure(shields.brokers["nothing"], [shields.trust], shields.device, version) is None
