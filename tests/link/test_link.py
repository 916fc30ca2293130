"""The link against servers of the standard library: what arrives, when, and what is left."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import pytest

from simulator.clock import now
from simulator.link.failure import LinkError
from simulator.link.link import Link
from simulator.link.source import SourceAddress
from simulator.link.tls import TlsClient, TlsSettings
from simulator.metrics.outcome import Outcome
from simulator.metrics.sample import Phase
from tests.support.listener import Listener, reset
from tests.support.tls import VERSIONS, server_context
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential
    from simulator.scenario.kinds import TlsVersion

both = pytest.mark.parametrize("version", VERSIONS)


class Ends:
    """Both ends of an open link."""

    def __init__(self, wire: Wire, server: ssl.SSLSocket) -> None:
        self.wire = wire
        self.link = wire.link
        self.server = server

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes at the server's end."""

        def blocking() -> bytes:
            data = bytearray()
            while len(data) < size:
                data += self.server.recv(size - len(data))
            return bytes(data)

        return await asyncio.to_thread(blocking)

    async def ends_in_order(self) -> bool:
        """Wait for the end at the server's; True where close_notify came before it."""
        try:
            return await asyncio.to_thread(self.server.recv, 1) == b""
        except ssl.SSLEOFError:
            return False


@pytest.fixture
def tls(brokers: Authority) -> TlsClient:
    return TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")


@asynccontextmanager
async def opened(
    listener: Listener, tls: TlsClient, credential: Credential | None, context: ssl.SSLContext
) -> AsyncIterator[Ends]:
    wire = Wire()
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, context))
    await wire.open(listener.address, tls, credential)
    try:
        yield Ends(wire, await serving)
    finally:
        wire.link.close()


@both
async def test_the_device_shows_its_own_certificate_and_its_intermediate(
    listener: Listener,
    *,
    tls: TlsClient,
    device: Credential,
    server: Credential,
    devices: Authority,
    version: TlsVersion,
) -> None:
    # The server trusts nothing but the root, so the intermediate must have come with the leaf.
    context = server_context(server, client_trust=[devices.root], version=version)
    async with opened(listener, tls, device, context) as ends:
        assert ends.server.getpeercert(binary_form=True) == device.certificate
        assert ends.server.version() == f"TLSv{version}"


async def test_two_devices_share_a_context_and_show_one_certificate_each(
    listener: Listener, tls: TlsClient, server: Credential, devices: Authority
) -> None:
    context = server_context(server, client_trust=[devices.root])
    shown = []
    credentials = list(devices.issue_devices(["core2-00001", "core2-00002"]))
    for credential in credentials:
        async with opened(listener, tls, credential, context) as ends:
            shown.append(ends.server.getpeercert(binary_form=True))
    assert shown == [credential.certificate for credential in credentials]
    assert tls.context(credentials[0].chain) is tls.context(credentials[1].chain)


async def test_starts_from_the_address_that_it_is_given(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    wire = Wire()
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, server_context(server)))
    await wire.open(listener.address, tls, device, source=SourceAddress("127.0.0.9"))
    assert (await serving).getpeername()[0] == "127.0.0.9"
    wire.link.close()


async def test_its_local_port_is_chosen_at_connect_so_that_it_may_serve_other_endpoints_too(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    wire = Wire()
    serving = asyncio.create_task(asyncio.to_thread(listener.shake_hands, server_context(server)))
    await wire.open(listener.address, tls, device, source=SourceAddress("127.0.0.9"))
    await serving
    assert wire.link._sock is not None
    assert wire.link._sock.getsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT)
    wire.link.close()


async def test_an_address_of_another_machine_fails_the_connect(
    listener: Listener, tls: TlsClient, device: Credential
) -> None:
    with pytest.raises(LinkError) as caught:
        await Wire().open(listener.address, tls, device, source=SourceAddress("192.0.2.7"))
    assert (caught.value.phase, caught.value.outcome) == (Phase.TCP_CONNECT, Outcome.NO_LOCAL_PORTS)


async def test_without_a_credential_the_device_shows_none(
    listener: Listener, tls: TlsClient, server: Credential
) -> None:
    context = server_context(server)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with opened(listener, tls, None, context) as ends:
        assert ends.server.getpeercert(binary_form=True) is None


@both
async def test_bytes_arrive_as_they_were_sent_both_ways(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    async with opened(listener, tls, device, server_context(server, version=version)) as ends:
        ends.link.send(b"CONN")
        ends.link.send(b"ECT")
        assert await ends.read(7) == b"CONNECT"
        large = bytes(range(256)) * 400
        await asyncio.to_thread(ends.server.sendall, large)
        await ends.wire.recipient.received(large)


@both
async def test_a_peer_that_does_not_read_gets_everything_in_order_once_it_does(
    tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    with Listener(receive_buffer=4096) as listener:
        async with opened(listener, tls, device, server_context(server, version=version)) as ends:
            assert ends.link._sock is not None
            ends.link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            pieces = [bytes([number]) * size for number, size in enumerate((700_000, 1, 300_000, 17))]
            for piece in pieces:
                ends.link.send(piece)
            assert ends.link._unsent
            whole = b"".join(pieces)
            arrived = await ends.read(len(whole))
            assert hashlib.sha256(arrived).digest() == hashlib.sha256(whole).digest()
            ends.link.send(b"the end")
            assert await ends.read(7) == b"the end"
            assert ends.link._unsent is None


@pytest.mark.parametrize("orderly", [True, False])
@both
async def test_close_says_close_notify_where_it_is_orderly(
    listener: Listener,
    *,
    tls: TlsClient,
    device: Credential,
    server: Credential,
    version: TlsVersion,
    orderly: bool,
) -> None:
    async with opened(listener, tls, device, server_context(server, version=version)) as ends:
        ends.link.close(orderly=orderly)
        assert await ends.ends_in_order() is orderly
        assert ends.wire.recipient.errors == []


async def test_close_is_quiet_where_the_peer_was_faster(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    async with opened(listener, tls, device, server_context(server)) as ends:
        reset(ends.server)
        ends.link.close()
        ends.link.close()
    assert ends.wire.recipient.errors == []


async def test_a_closed_link_takes_nothing_and_tells_nothing(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    async with opened(listener, tls, device, server_context(server)) as ends:
        ends.link.close()
        ends.link.send(b"too late")
        assert await ends.ends_in_order()
    assert ends.wire.recipient.errors == []


async def test_a_callback_that_the_loop_had_ready_finds_a_closed_link(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    async with opened(listener, tls, device, server_context(server)) as ends:
        ends.link.close()
        for late in (ends.link._connected, ends.link._handshake, ends.link._readable, ends.link._send_rest):
            late()
    assert ends.wire.recipient.errors == []


# Each phase is timed by itself.


async def test_a_server_that_accepts_late_shows_in_tcp(
    tls: TlsClient, device: Credential, server: Credential, nothing_left: None
) -> None:
    with Listener(backlog=0) as listener:
        listener.crowd()
        wire = Wire()
        opening = asyncio.create_task(wire.open(listener.address, tls, device))
        await asyncio.sleep(0)
        waiting = wire.link.phase
        mark = now()
        await asyncio.to_thread(listener.accept)
        serving = asyncio.to_thread(listener.shake_hands, server_context(server))
        await asyncio.gather(opening, serving)
        link = wire.link
        link.close()
    assert waiting is Phase.TCP_CONNECT
    assert link.tcp_started < mark < link.tcp_finished < link.tls_finished
    assert link.tls_finished - link.tcp_finished < link.tcp_finished - link.tcp_started


@both
async def test_a_server_that_shakes_hands_late_shows_in_tls(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    def late() -> int:
        sock = listener.accept()
        assert sock.recv(1, socket.MSG_PEEK)  # the device has begun its handshake, so its TCP is done
        mark = now()
        listener.shake_hands(server_context(server, version=version), sock)
        return mark

    wire = Wire()
    serving = asyncio.create_task(asyncio.to_thread(late))
    await wire.open(listener.address, tls, device)
    mark = await serving
    link = wire.link
    link.close()
    assert link.tcp_started < link.tcp_finished < mark < link.tls_finished


# A link that ends before its user ends it.


@both
async def test_the_server_closes(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    async with opened(listener, tls, device, server_context(server, version=version)) as ends:
        ends.link.phase = Phase.SESSION
        ends.server.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            ends.server.unwrap()
        error = await ends.wire.recipient.lost()
    assert (error.phase, error.outcome) == (Phase.SESSION, Outcome.CLOSED)
    assert error.detail == "the broker closed the TLS connection"


@both
async def test_the_server_vanishes_without_closing_tls(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    async with opened(listener, tls, device, server_context(server, version=version)) as ends:
        ends.link.phase = Phase.SESSION
        ends.server.close()
        error = await ends.wire.recipient.lost()
    assert (error.phase, error.outcome) == (Phase.SESSION, Outcome.CLOSED)
    assert error.detail == "the broker closed the TCP connection without closing TLS"


@both
async def test_the_server_resets(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential, version: TlsVersion
) -> None:
    async with opened(listener, tls, device, server_context(server, version=version)) as ends:
        ends.link.phase = Phase.SESSION
        reset(ends.server)
        error = await ends.wire.recipient.lost()
        assert str(error) == "session: reset: ECONNRESET"
    assert ends.wire.recipient.errors == [error]


async def test_a_reset_is_found_by_whoever_sends_first(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    async with opened(listener, tls, device, server_context(server)) as ends:
        ends.link.phase = Phase.SESSION
        reset(ends.server)
        ends.link.send(b"anybody there?")
        assert ends.wire.recipient.errors == [], "told later, never from within send"
        error = await ends.wire.recipient.lost()
    assert str(error) == "session: reset: ECONNRESET"


async def test_a_reset_while_bytes_wait_to_be_sent(
    tls: TlsClient, device: Credential, server: Credential
) -> None:
    with Listener(receive_buffer=4096) as listener:
        async with opened(listener, tls, device, server_context(server)) as ends:
            ends.link.send(bytes(8_000_000))
            assert ends.link._unsent
            ends.link._loop.remove_reader(ends.link._fd())  # else the reader may find it first
            reset(ends.server)
            error = await ends.wire.recipient.lost()
    assert error.outcome == Outcome.RESET


async def test_a_link_that_is_closed_before_its_loss_was_told_stays_silent(
    listener: Listener, tls: TlsClient, device: Credential, server: Credential
) -> None:
    async with opened(listener, tls, device, server_context(server)) as ends:
        ends.link._end(LinkError(Phase.SESSION, Outcome.RESET, "ECONNRESET"))
        ends.link.close()
        assert not await ends.ends_in_order()
    assert ends.wire.recipient.errors == []


class Cancelled(Link):
    """Is cancelled in the same round of the loop in which its handshake is done."""

    opening: asyncio.Task[None]
    asked = Event()

    def _handshake(self) -> None:
        if self.asked.is_set():  # and the server has answered: this is the last round
            self.opening.cancel()
        super()._handshake()
        self.asked.set()


async def test_cancelling_just_when_the_handshake_is_done(
    listener: Listener, tls: TlsClient, server: Credential
) -> None:
    wire = Wire(Cancelled)
    assert isinstance(wire.link, Cancelled)
    wire.link.asked = Event()
    serving = asyncio.create_task(
        asyncio.to_thread(listener.shake_hands_in_steps, server_context(server), answer=wire.link.asked)
    )
    wire.link.opening = asyncio.create_task(wire.open(listener.address, tls, None))
    with pytest.raises(asyncio.CancelledError):
        await wire.link.opening
    await asyncio.gather(serving, return_exceptions=True)
    assert wire.recipient.errors == []


class Cramped(Link):
    """Its socket holds less than its part of the handshake."""

    cramped = Event()

    def _shake_hands(self) -> None:
        assert self._sock is not None
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        super()._shake_hands()

    def _handshake(self) -> None:
        super()._handshake()
        if self._tls is not None and self._tls.want_write():
            self.cramped.set()


@both
async def test_a_chain_that_does_not_fit_the_socket_goes_in_pieces(
    tls: TlsClient, device: Credential, server: Credential, devices: Authority, version: TlsVersion
) -> None:
    long = replace(device, chain=device.chain * 100)
    context = server_context(server, client_trust=[devices.root], version=version)
    wire = Wire(Cramped)
    assert isinstance(wire.link, Cramped)
    wire.link.cramped = Event()
    with Listener(receive_buffer=4096) as listener:
        serving = asyncio.create_task(
            asyncio.to_thread(listener.shake_hands_in_steps, context, go_on=wire.link.cramped)
        )
        await wire.open(listener.address, tls, long)
        assert (await serving).getpeercert(binary_form=True) == device.certificate
        wire.link.close()
    assert wire.link.cramped.is_set()


async def test_cancelling_closes(listener: Listener, tls: TlsClient) -> None:
    wire = Wire()
    opening = asyncio.create_task(wire.open(listener.address, tls, None))
    sock = await asyncio.to_thread(listener.accept)
    assert await asyncio.to_thread(sock.recv, 65_536)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await asyncio.to_thread(sock.recv, 1) == b""
