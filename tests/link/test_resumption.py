"""Sessions that are offered again, and what a server of the standard library says to that."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING

import pytest

from simulator.link.failure import LinkError
from simulator.link.resumption import Resumption
from simulator.link.tls import TlsClient, TlsSettings
from simulator.scenario.kinds import TlsVersion
from tests.support.listener import Listener, reset
from tests.support.tls import VERSIONS, server_context
from tests.support.wire import Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential

    End = Callable[[Wire, ssl.SSLSocket], Awaitable[object]]

both = pytest.mark.parametrize("version", VERSIONS)


class Scene:
    """One device that resumes, and the server that it connects to time and again."""

    def __init__(
        self, listener: Listener, brokers: Authority, server: Credential, device: Credential, root: bytes
    ) -> None:
        self.listener = listener
        self.resumption: Resumption | None = Resumption()
        self._trust = (brokers.root,)
        self._server, self._device, self._root = server, device, root

    def context(self, version: TlsVersion) -> ssl.SSLContext:
        """Return the settings of a server, with keys of its own for its tickets."""
        return server_context(self._server, client_trust=[self._root], version=version)

    def tls(self, host: str = "127.0.0.1") -> TlsClient:
        return TlsClient(TlsSettings(trust=self._trust), host)

    async def meets(
        self, context: ssl.SSLContext, *, end: End | None = None, host: str = "127.0.0.1"
    ) -> tuple[bool, bool]:
        """Connect, hear a byte, and end; return whether a session was offered, and resumed by both sides."""
        wire = Wire()
        serving = asyncio.create_task(asyncio.to_thread(self.listener.shake_hands, context))
        await wire.open(self.listener.address, self.tls(host), self._device, self.resumption)
        server = await serving
        await asyncio.to_thread(server.sendall, b"x")
        await wire.recipient.received(b"x")
        resumed = bool(server.session_reused)
        await (end or orderly)(wire, server)
        if self.resumption is None:
            return False, resumed
        assert self.resumption.resumed is resumed
        return self.resumption.offered, resumed

    async def fails(self, act: Callable[[socket.socket], object]) -> LinkError:
        """Say ClientHello to a server that then does something rude."""
        serving = asyncio.create_task(asyncio.to_thread(self.listener.after_client_hello, act))
        with pytest.raises(LinkError) as failed:
            await Wire().open(self.listener.address, self.tls(), self._device, self.resumption)
        await serving
        return failed.value


OFFERED_AND_RESUMED = (True, True)
REFUSED = (True, False)
NOTHING_OFFERED = (False, False)


@pytest.fixture
def scene(
    listener: Listener, brokers: Authority, server: Credential, device: Credential, devices: Authority
) -> Scene:
    return Scene(listener, brokers, server, device, devices.root)


async def orderly(wire: Wire, _: ssl.SSLSocket) -> None:
    wire.link.close()


async def abrupt(wire: Wire, _: ssl.SSLSocket) -> None:
    wire.link.close(orderly=False)


async def end_of_file(wire: Wire, server: ssl.SSLSocket) -> None:
    """End as with a broker that was killed: no close_notify, which OpenSSL takes for a fatal error."""
    server.close()
    assert (await wire.recipient.lost()).outcome == "closed"


async def reset_by_server(wire: Wire, server: ssl.SSLSocket) -> None:
    reset(server)
    assert (await wire.recipient.lost()).outcome == "reset"


@both
@pytest.mark.parametrize("end", [orderly, abrupt, end_of_file, reset_by_server])
async def test_the_next_connection_resumes_however_the_last_one_ended(
    scene: Scene, version: TlsVersion, end: End
) -> None:
    context = scene.context(version)
    assert await scene.meets(context, end=end) == NOTHING_OFFERED
    for _ in range(3):
        assert await scene.meets(context, end=end) == OFFERED_AND_RESUMED


@both
async def test_without_it_every_handshake_is_full(scene: Scene, version: TlsVersion) -> None:
    scene.resumption = None
    context = scene.context(version)
    for _ in range(3):
        assert await scene.meets(context) == NOTHING_OFFERED


@both
async def test_a_server_that_lost_its_keys_refuses_and_the_handshake_is_full(
    scene: Scene, version: TlsVersion
) -> None:
    await scene.meets(scene.context(version))
    restarted = scene.context(version)
    assert await scene.meets(restarted) == REFUSED
    assert await scene.meets(restarted) == OFFERED_AND_RESUMED


async def test_a_server_without_tickets_leaves_nothing_to_offer(scene: Scene) -> None:
    await scene.meets(scene.context(TlsVersion.V13))
    context = scene.context(TlsVersion.V13)
    context.num_tickets = 0
    assert await scene.meets(context) == REFUSED
    for _ in range(3):
        assert await scene.meets(context) == NOTHING_OFFERED


async def test_a_session_id_does_where_there_are_no_tickets(scene: Scene) -> None:
    context = scene.context(TlsVersion.V12)
    context.options |= ssl.OP_NO_TICKET
    assert await scene.meets(context) == NOTHING_OFFERED
    for _ in range(2):
        assert await scene.meets(context) == OFFERED_AND_RESUMED
    restarted = scene.context(TlsVersion.V12)
    restarted.options |= ssl.OP_NO_TICKET
    assert await scene.meets(restarted) == REFUSED


async def test_a_ticket_of_tls_13_is_offered_once_and_a_session_of_tls_12_again(scene: Scene) -> None:
    once = scene.context(TlsVersion.V13)
    await scene.meets(once)
    once.num_tickets = 0
    assert await scene.meets(once) == OFFERED_AND_RESUMED
    assert await scene.meets(once) == NOTHING_OFFERED
    scene.resumption = Resumption()
    often = scene.context(TlsVersion.V12)
    await scene.meets(often)
    offered = kept(scene.resumption)
    assert await scene.meets(often) == OFFERED_AND_RESUMED
    assert kept(scene.resumption) == offered
    assert await scene.meets(often) == OFFERED_AND_RESUMED


async def test_what_was_on_the_wire_is_used_up_even_where_the_handshake_failed(scene: Scene) -> None:
    context = scene.context(TlsVersion.V13)
    await scene.meets(context)
    assert (await scene.fails(reset)).outcome == "reset"
    assert await scene.meets(context) == NOTHING_OFFERED


async def test_what_never_was_on_the_wire_is_still_offered(scene: Scene) -> None:
    context = scene.context(TlsVersion.V13)
    await scene.meets(context)
    with Listener() as gone:
        address = gone.address
    with pytest.raises(LinkError, match="refused"):
        await Wire().open(address, scene.tls(), None, scene.resumption)
    assert await scene.meets(context) == OFFERED_AND_RESUMED


@both
async def test_a_session_is_for_the_host_that_gave_it(scene: Scene, version: TlsVersion) -> None:
    context = scene.context(version)
    await scene.meets(context)
    assert await scene.meets(context, host="localhost") == NOTHING_OFFERED
    assert await scene.meets(context, host="127.0.0.1") == OFFERED_AND_RESUMED
    assert await scene.meets(context, host="localhost") == OFFERED_AND_RESUMED


@both
async def test_what_ended_with_a_fatal_alert_is_not_resumed(scene: Scene, version: TlsVersion) -> None:
    async def alarm(wire: Wire, server: ssl.SSLSocket) -> None:
        assert wire.link._sock is not None
        os.write(wire.link._sock.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody sealed
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            await asyncio.to_thread(server.recv, 1)
        assert (await wire.recipient.lost()).outcome == "bad_record_mac"

    context = scene.context(version)
    await scene.meets(context, end=alarm)
    assert await scene.meets(context) == NOTHING_OFFERED


@both
async def test_a_connected_device_carries_no_session(scene: Scene, version: TlsVersion) -> None:
    async def look(wire: Wire, _: ssl.SSLSocket) -> None:
        assert scene.resumption is not None
        assert scene.resumption._sessions == {}
        wire.link.close()
        assert len(kept(scene.resumption)) > 500

    for _ in range(2):
        await scene.meets(scene.context(version), end=look)


def kept(resumption: Resumption) -> bytes:
    (session,) = resumption._sessions.values()
    return session


@both
async def test_cpu_is_counted_for_each_handshake_and_a_resumed_one_takes_less(
    scene: Scene, version: TlsVersion
) -> None:
    context = scene.context(version)
    full, resumed = [], []
    for _ in range(5):
        scene.resumption = resumption = Resumption()
        await scene.meets(context)
        full.append(resumption.cpu)
        await scene.meets(context)
        resumed.append(resumption.cpu)
    assert 0 < min(resumed) < min(full)


async def test_only_a_handshake_that_was_completed_makes_the_next_one_a_reconnect(scene: Scene) -> None:
    resumption = scene.resumption
    assert resumption is not None
    await scene.fails(reset)
    assert resumption.before is False
    await scene.meets(scene.context(TlsVersion.V13))
    assert resumption.before is False
    await scene.meets(scene.context(TlsVersion.V13))
    assert resumption.before is True
