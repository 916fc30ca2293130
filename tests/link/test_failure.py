"""Every way in which a connection can fail, provoked for real, under its own name and in its own phase."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest
from OpenSSL import SSL

from simulator.identity.authority import Authority
from simulator.identity.credential import Credential
from simulator.link import failure
from simulator.link.address import Address
from simulator.link.failure import LinkError
from simulator.link.tls import TlsClient, TlsSettings
from simulator.metrics.outcome import TLS_ALERTS, Outcome
from simulator.metrics.sample import Phase
from simulator.scenario.kinds import TlsVersion
from tests.support.listener import Listener, reset
from tests.support.tls import VERSIONS, server_context
from tests.support.tools import require
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable


both = pytest.mark.parametrize("version", VERSIONS)
DAY = timedelta(days=1)


@pytest.fixture
def tls(brokers: Authority) -> TlsClient:
    return TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")


async def failed(
    address: Address, tls: TlsClient, credential: Credential | None = None, *, first: bytes = b"CONNECT"
) -> LinkError:
    """Open a link as a device does, say ``first`` if it opens, and return why it failed."""
    wire = Wire(greeting=first)
    try:
        await wire.open(address, tls, credential)
    except LinkError as error:
        return error
    return await wire.recipient.lost()


# TCP.


async def test_nothing_listens(tls: TlsClient) -> None:
    with Listener() as listener:
        address = listener.address
    error = await failed(address, tls)
    assert str(error) == "tcp_connect: refused: ECONNREFUSED"


async def test_nothing_listens_any_more_when_the_server_is_asked_again(tls: TlsClient) -> None:
    wire = Wire()
    with Listener(backlog=0) as listener:
        listener.crowd()
        opening = asyncio.create_task(wire.open(listener.address, tls, None))
        await asyncio.sleep(0)
        assert wire.link.phase is Phase.TCP_CONNECT
    with pytest.raises(LinkError, match=r"^tcp_connect: refused: ECONNREFUSED$"):
        await opening


async def test_an_address_that_no_socket_can_have(tls: TlsClient) -> None:
    error = await failed(Address("255.255.255.255", socket.AF_INET, ("255.255.255.255", 8883)), tls)
    assert (error.phase, error.outcome) == (Phase.TCP_CONNECT, Outcome.UNREACHABLE)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (errno.EPIPE, Outcome.RESET),
        (errno.ECONNABORTED, Outcome.RESET),
        (errno.ETIMEDOUT, Outcome.TIMEOUT),
        (errno.EHOSTUNREACH, Outcome.UNREACHABLE),
        (errno.EHOSTDOWN, Outcome.UNREACHABLE),
        (errno.ENFILE, Outcome.NO_DESCRIPTORS),
        (errno.EBADMSG, Outcome.CONNECTION_LOST),
    ],
)
def test_what_a_socket_says(code: int, outcome: Outcome) -> None:
    assert failure.of_socket(code)[0] is outcome
    assert failure.of_socket(code)[1].startswith(errno.errorcode[code])


def test_a_number_that_errno_does_not_know() -> None:
    assert failure.of_socket(0) == (Outcome.CONNECTION_LOST, "0")


OPENING = """
from types import SimpleNamespace
from simulator.link.address import Address
from simulator.link.link import Link
from simulator.link.tls import TlsClient, TlsSettings

async def main():
    tls = TlsClient(TlsSettings(), "127.0.0.1")
    tls.check()
    loop = asyncio.get_running_loop()
    lost = loop.create_future()
    listener = socket.create_server(("127.0.0.1", 0))
    exhaust(listener)
    link = Link(loop, SimpleNamespace(link_lost=lost.set_result))
    link.start(Address("127.0.0.1", socket.AF_INET, listener.getsockname()), tls, None)
    print(await lost)

asyncio.run(main())
"""
OUT_OF_FILES = """
import asyncio, os, resource, socket

def exhaust(listener):
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
"""
OUT_OF_PORTS = """
import asyncio, fcntl, socket, struct

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket() as sock:
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
held = []

def exhaust(listener):
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("40000 40003")
    try:
        while True:
            held.append(socket.create_connection(listener.getsockname()))
    except OSError:
        assert len(held) == 4
"""
IN_A_NETWORK_OF_ITS_OWN = ("unshare", "--map-root-user", "--net")


async def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)


async def opened_by(exhaust: str, *within: str) -> str:
    """Return what becomes of a link in a process that has run out of something."""
    ended = await ran(*within, sys.executable, "-c", exhaust + OPENING)
    assert ended.stderr == ""
    return ended.stdout


async def test_no_descriptors() -> None:
    told = await opened_by(OUT_OF_FILES)
    assert told.startswith("tcp_connect: no_descriptors: EMFILE: ")
    assert "ulimit -n" in told


async def test_no_local_ports() -> None:
    require("unshare")
    allowed = await ran(*IN_A_NETWORK_OF_ITS_OWN, "true")
    if allowed.returncode:
        pytest.skip(f"no network of its own for a process: {allowed.stderr.strip()}")
    told = await opened_by(OUT_OF_PORTS, *IN_A_NETWORK_OF_ITS_OWN)
    assert told.startswith("tcp_connect: no_local_ports: EADDRNOTAVAIL: ")
    assert "net.ipv4.ip_local_port_range" in told
    assert "more endpoints" in told


# TLS, before it is established.


@pytest.mark.parametrize(
    ("act", "outcome", "detail"),
    [
        (socket.socket.close, Outcome.CLOSED, "the broker closed the TCP connection without closing TLS"),
        (reset, Outcome.RESET, "ECONNRESET"),
    ],
)
async def test_the_server_ends_in_mid_handshake(
    listener: Listener, tls: TlsClient, act: Callable[[socket.socket], object], outcome: str, detail: str
) -> None:
    serving = asyncio.create_task(asyncio.to_thread(listener.after_client_hello, act))
    error = await failed(listener.address, tls)
    await serving
    assert (error.phase, error.outcome, error.detail) == (Phase.TLS_HANDSHAKE, outcome, detail)


async def test_a_server_that_does_not_speak_tls(listener: Listener, tls: TlsClient) -> None:
    plain = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    serving = asyncio.create_task(
        asyncio.to_thread(listener.after_client_hello, lambda sock: sock.sendall(plain))
    )
    error = await failed(listener.address, tls)
    await serving
    assert (error.phase, error.outcome) == (Phase.TLS_HANDSHAKE, Outcome.TLS_ERROR)
    assert "wrong version number" in error.detail or "record" in error.detail


@pytest.mark.parametrize(("code", "name"), TLS_ALERTS.items())
async def test_every_alert_has_its_name(listener: Listener, tls: TlsClient, code: int, name: str) -> None:
    alert = bytes((21, 3, 3, 0, 2, 2, code))  # RFC 8446 6: a fatal alert in a record of its own
    serving = asyncio.create_task(
        asyncio.to_thread(listener.after_client_hello, lambda sock: sock.sendall(alert))
    )
    error = await failed(listener.address, tls)
    await serving
    assert (error.phase, error.outcome) == (Phase.TLS_HANDSHAKE, name)
    assert error.detail == f"the broker sent the TLS alert {name}"


def test_an_error_without_reasons_is_still_told() -> None:
    assert failure.of_tls(SSL.Error()) == (Outcome.TLS_ERROR, "OpenSSL gave no reason")
    assert failure.of_tls(SSL.Error([("lib", "function", "ssl/tls alert of the future")])) == (
        Outcome.TLS_ERROR,
        "ssl/tls alert of the future",
    )
    assert failure.of_tls(SSL.SysCallError())[0] == Outcome.CLOSED


# The device refuses the server.


def issued(brokers: Authority, names: list[str], *, from_now: timedelta = -DAY, days: int = 30) -> Credential:
    return brokers.issue_server(names, not_before=datetime.now(UTC) + from_now, validity=days * DAY)


@both
@pytest.mark.parametrize(
    ("names", "host", "from_now", "days", "outcome"),
    [
        (["broker.example"], "127.0.0.1", -DAY, 30, Outcome.HOSTNAME_MISMATCH),
        (["127.0.0.2"], "127.0.0.1", -DAY, 30, Outcome.HOSTNAME_MISMATCH),
        (["127.0.0.1", "broker.example"], "other.example", -DAY, 30, Outcome.HOSTNAME_MISMATCH),
        (["*.fleet.example"], "a.b.fleet.example", -DAY, 30, Outcome.HOSTNAME_MISMATCH),
        (["127.0.0.1"], "127.0.0.1", -2 * DAY, 1, Outcome.SERVER_CERTIFICATE_EXPIRED),
        (["127.0.0.1"], "127.0.0.1", DAY, 1, Outcome.SERVER_CERTIFICATE_NOT_YET_VALID),
    ],
)
async def test_a_server_certificate_that_will_not_do(
    listener: Listener,
    *,
    brokers: Authority,
    version: TlsVersion,
    names: list[str],
    host: str,
    from_now: timedelta,
    days: int,
    outcome: Outcome,
) -> None:
    context = server_context(issued(brokers, names, from_now=from_now, days=days), version=version)
    await refuses(listener, TlsClient(TlsSettings(trust=(brokers.root,)), host), context, outcome)


@both
async def test_a_server_from_an_unknown_authority(
    listener: Listener, tls: TlsClient, version: TlsVersion
) -> None:
    stranger = Authority.create("Broker").issue_server(["127.0.0.1"])
    context = server_context(stranger, version=version)
    await refuses(listener, tls, context, Outcome.SERVER_CERTIFICATE_UNTRUSTED)


async def test_the_system_does_not_trust_our_authority(listener: Listener, server: Credential) -> None:
    tls = TlsClient(TlsSettings(), "127.0.0.1")
    await refuses(listener, tls, server_context(server), Outcome.SERVER_CERTIFICATE_UNTRUSTED)


TOLD = {
    Outcome.HOSTNAME_MISMATCH: "bad certificate",
    Outcome.SERVER_CERTIFICATE_EXPIRED: "certificate expired",
    Outcome.SERVER_CERTIFICATE_NOT_YET_VALID: "bad certificate",
    Outcome.SERVER_CERTIFICATE_UNTRUSTED: "unknown ca",
}
"""The alert that the server hears from us, in OpenSSL's spelling."""


async def refuses(listener: Listener, tls: TlsClient, context: ssl.SSLContext, outcome: Outcome) -> None:
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
    error = await failed(listener.address, tls)
    with pytest.raises(ssl.SSLError, match=TOLD[outcome]):
        await serving
    assert (error.phase, error.outcome) == (Phase.TLS_HANDSHAKE, outcome)
    assert re.search(r"\(X509_V_ERR \d+: [a-zA-Z -]+\)", error.detail)


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["127.0.0.1"], "127.0.0.1"),
        (["localhost"], "localhost"),
        (["*.fleet.example"], "a.fleet.example"),
        (["xn--bcher-kva.example"], "bücher.example"),
    ],
)
async def test_a_server_certificate_for_this_very_host(
    listener: Listener, brokers: Authority, names: list[str], host: str
) -> None:
    tls = TlsClient(TlsSettings(trust=(brokers.root,)), host)
    wire = Wire()
    serving = asyncio.to_thread(listener.shake_hands, server_context(issued(brokers, names)))
    await asyncio.gather(wire.open(listener.address, tls, None), serving)
    wire.link.close()


async def test_the_host_name_may_be_left_unverified(listener: Listener, brokers: Authority) -> None:
    settings = TlsSettings(trust=(brokers.root,), verify_host_name=False)
    context = server_context(issued(brokers, ["broker.example"]))
    wire = Wire()
    serving = asyncio.to_thread(listener.shake_hands, context)
    await asyncio.gather(wire.open(listener.address, TlsClient(settings, "127.0.0.1"), None), serving)
    wire.link.close()


# The server refuses the device: under TLS 1.3 its alert comes after the device's handshake is over.


def device_of(authority: Authority, case: str) -> Credential | None:
    now = datetime.now(UTC)
    match case:
        case "none":
            return None
        case "stranger":
            return Authority.create("Fleet").issue_device("core2-00001")
        case "expired":
            return authority.issue_device("core2-00001", not_before=now - 2 * DAY, validity=DAY)
        case "not yet":
            return authority.issue_device("core2-00001", not_before=now + DAY, validity=DAY)
        case _:
            return Credential(*alone(authority.issue_device("core2-00001")))


def alone(credential: Credential) -> tuple[bytes, bytes]:
    return credential.certificate, credential.key


REFUSALS = [
    ("none", TlsVersion.V12, "handshake_failure"),  # RFC 5246 7.4.6
    ("none", TlsVersion.V13, "certificate_required"),  # RFC 8446 4.4.2.4
    *((case, version, name) for version in VERSIONS for case, name in [
        ("stranger", "unknown_ca"),
        ("without its intermediate", "unknown_ca"),
        ("expired", "certificate_expired"),
        ("not yet", "bad_certificate"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("speaks", [True, False])
@pytest.mark.parametrize(("case", "version", "alert"), REFUSALS)
async def test_a_server_refuses_the_device(
    listener: Listener,
    *,
    tls: TlsClient,
    server: Credential,
    devices: Authority,
    case: str,
    version: TlsVersion,
    alert: str,
    speaks: bool,
) -> None:
    """Whether CONNECT was written before the alert came, or not, changes nothing."""
    context = server_context(server, client_trust=[devices.root], version=version)
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
    credential = device_of(devices, case)
    wire = Wire()
    try:
        await wire.open(listener.address, tls, credential)
    except LinkError as error:
        found = error
    else:
        assert version is TlsVersion.V13, "under TLS 1.2 the handshake itself fails"
        wire.link.phase = Phase.MQTT_CONNECT
        if speaks:
            wire.link.send(b"CONNECT")
        found = await wire.recipient.lost()
    with pytest.raises(ssl.SSLError):
        await serving
    assert (found.phase, found.outcome) == (Phase.TLS_HANDSHAKE, alert)


async def test_the_alert_counts_where_the_connection_is_reset_behind_it(
    listener: Listener, tls: TlsClient, server: Credential, devices: Authority
) -> None:
    """However late the device comes to say CONNECT: until then the server has not seen its certificate."""
    context = server_context(server, client_trust=[devices.root], version=TlsVersion.V13)
    refused = Event()

    def refuse_and_reset() -> None:
        with pytest.raises(ssl.SSLError):
            listener.shake_hands(context)
        listener.close_last()
        refused.set()

    def speak_late() -> None:
        wire.link.phase = Phase.MQTT_CONNECT
        assert not refused.wait(0.1)
        wire.link.send(b"CONNECT")

    serving = asyncio.create_task(asyncio.to_thread(refuse_and_reset))
    wire = Wire()
    wire.recipient.greet = speak_late
    await wire.open(listener.address, tls, None)
    await serving
    error = await wire.recipient.lost()
    assert (error.phase, error.outcome) == (Phase.TLS_HANDSHAKE, "certificate_required")


@both
async def test_what_became_of_one_link_does_not_touch_the_next(
    listener: Listener, tls: TlsClient, server: Credential, version: TlsVersion
) -> None:
    """OpenSSL keeps errors for each thread, not for each connection."""
    context = server_context(server, version=version)
    wires, ends = [Wire(), Wire()], []
    for wire in wires:
        serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
        await wire.open(listener.address, tls, None)
        ends.append(await serving)
    reset(ends[0])
    wires[0].link.send(b"gone")
    ends[1].close()
    assert (await wires[0].recipient.lost()).outcome == Outcome.RESET
    assert (await wires[1].recipient.lost()).outcome == Outcome.CLOSED
