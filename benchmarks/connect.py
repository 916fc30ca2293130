"""CPU of a connect with its own certificate, TCP to CONNACK: the product, aiomqtt, and the floor of TLS.

The three take turns within one run against one mosquitto, so that the machine's mood falls on all of them.
The floor is the client's half of a pyOpenSSL handshake in memory: the same settings, the device's
certificate set up, no socket and no MQTT.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import aiomqtt
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from rig import Members, issue, mosquitto, run, scenario

from simulator.clock import MILLISECOND
from simulator.identity.authority import Authority
from simulator.link.openssl import LoadedCredential
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import KeyKind, TlsVersion
from simulator.scenario.model import Fleet

if TYPE_CHECKING:
    from simulator.brokers.broker import Broker
    from simulator.identity.credential import Credential
    from simulator.metrics.snapshot import Snapshot

ROUNDS = 5
OURS, THEIRS, FLOOR = 250, 40, 250
RATE = 600
GROUPS = Fleet(devices=1).groups


async def ours(members: Members, broker: Broker) -> float:
    """Return the product's CPU for a connect, milliseconds, with certificate and measuring."""
    marks: list[tuple[int, float, int]] = []

    def emit(snapshot: Snapshot) -> None:
        connected = snapshot.devices["bench"].get("connected", 0)
        marks.append((snapshot.end, time.process_time(), connected))

    ready = {"name": "ready", "duration": "300ms"}
    connect = {"name": "connect", "duration": f"{len(members) / RATE + 4}s"}
    connect["connect"] = {"fleet": "bench", "rate": f"{RATE}/s"}
    await run(scenario(len(members), [ready, connect], every="1h"), members, broker, emit)
    started, ended = marks[0][1], next(mark[1] for mark in marks if mark[2] == len(members))
    return (ended - started + loading(members)) / len(members) * 1000


def loading(members: Members) -> float:
    """Return the CPU seconds of setting certificates up, which the product does before it connects."""
    started = time.process_time()
    for _, credential in members:
        LoadedCredential(credential)
    return time.process_time() - started


async def theirs(members: Members, broker: Broker, folder: Path) -> float:
    """Return aiomqtt's CPU for a connect, milliseconds: a context for each client, ten at a time."""
    anchor = ssl.DER_cert_to_PEM_cert(broker.trust[0])
    files = []
    for name, credential in members:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(credential.chain_pem())
        key.write_text(credential.key_pem())
        files.append((name, certificate, key))
    host, port = broker.endpoints[0]
    limit = asyncio.Semaphore(10)

    async def connect(stack: AsyncExitStack, name: str, certificate: Path, key: Path) -> None:
        async with limit:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=anchor)
            context.load_cert_chain(certificate, key)
            client = aiomqtt.Client(host, port, identifier=name, tls_context=context)
            await stack.enter_async_context(client)

    async with AsyncExitStack() as stack:
        started = time.process_time()
        await asyncio.gather(*(connect(stack, *each) for each in files))
        cpu = time.process_time() - started
    return cpu / len(members) * 1000


class Floor:
    """A TLS 1.3 server in memory like mosquitto's, and the client side of handshakes with it, timed."""

    def __init__(self, authority: Authority) -> None:
        credential = authority.issue_server(["localhost"], key=KeyKind.EC_P256)
        self._server = server = SSL.Context(SSL.TLS_SERVER_METHOD)
        server.use_certificate(x509.load_der_x509_certificate(credential.certificate))
        for issuer in credential.chain:
            server.add_extra_chain_cert(x509.load_der_x509_certificate(issuer))
        server.use_privatekey(serialization.load_der_private_key(credential.key, None))
        store = server.get_cert_store()
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, authority.root))
        server.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        server.set_session_id(b"floor")
        settings = TlsSettings(version=TlsVersion.V13, groups=GROUPS, trust=(authority.root,))
        self._client = TlsClient(settings, "localhost")

    def handshake(self, credential: Credential) -> int:
        """Return the client's CPU for one handshake and the tickets that follow it, nanoseconds."""
        cpu = -time.thread_time_ns()
        client = SSL.Connection(self._client.context(credential.chain), None)
        client.use_certificate(x509.load_der_x509_certificate(credential.certificate))
        client.use_privatekey(serialization.load_der_private_key(credential.key, None))
        client.set_tlsext_host_name(b"localhost")
        client.set_connect_state()
        advance(client)
        hello = client.bio_read(65_536)
        cpu += time.thread_time_ns()
        server = SSL.Connection(self._server, None)
        server.set_accept_state()
        server.bio_write(hello)
        advance(server)
        flight = server.bio_read(65_536)
        cpu -= time.thread_time_ns()
        client.bio_write(flight)
        client.do_handshake()
        finished = client.bio_read(65_536)
        cpu += time.thread_time_ns()
        server.bio_write(finished)
        server.do_handshake()
        tickets = server.bio_read(65_536)
        cpu -= time.thread_time_ns()
        client.bio_write(tickets)
        with suppress(SSL.WantReadError):
            client.recv(1)
        return cpu + time.thread_time_ns()


def advance(connection: SSL.Connection) -> None:
    """Take a handshake as far as it goes without the peer."""
    with suppress(SSL.WantReadError):
        connection.do_handshake()


async def measure() -> dict[str, object]:
    """Return the two ratios, and the figures that they are made of."""
    authority = Authority.create("Benchmark")
    members = issue(OURS, authority)
    floor = Floor(authority)
    figures: dict[str, list[float]] = {"ours": [], "aiomqtt": [], "floor": []}
    with tempfile.TemporaryDirectory() as folder:
        async with mosquitto(authority) as broker:
            for _ in range(ROUNDS):
                figures["ours"].append(await ours(members, broker))
                figures["aiomqtt"].append(await theirs(members[:THEIRS], broker, Path(folder)))
                cpu = sum(floor.handshake(credential) for _, credential in members[:FLOOR])
                figures["floor"].append(cpu / FLOOR / MILLISECOND)
    ours_ms, aiomqtt_ms, floor_ms = (median(figures[name]) for name in ("ours", "aiomqtt", "floor"))
    return {
        "connect_cpu_to_tls_floor": round(ours_ms / floor_ms, 2),
        "connect_cpu_to_aiomqtt": round(ours_ms / aiomqtt_ms, 2),
        "connect_cpu_ms": round(ours_ms, 3),
        "connect_tls_floor_cpu_ms": round(floor_ms, 3),
        "connect_aiomqtt_cpu_ms": round(aiomqtt_ms, 3),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure())))
