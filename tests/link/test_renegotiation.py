"""A server that wants new keys in the middle of a connection: nothing is lost, and nothing is in disorder.

TLS 1.2 renegotiates (RFC 5246 7.4.1.1), so that a write may have to wait for something to be read, and a read
for the socket to take something. TLS 1.3 has KeyUpdate instead (RFC 8446 4.6.3).
"""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from OpenSSL import SSL

from simulator.identity import keys
from simulator.link.address import Address
from simulator.link.link import Link
from simulator.link.tls import TlsClient, TlsSettings
from tests.support.listener import Listener
from tests.support.tools import require
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential


class Turning(Link):
    """Tells when one direction had to wait for the other, and when it had been asked for a new handshake."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: Wire) -> None:
        super().__init__(loop, receiver.recipient)
        self.asked = asyncio.Event()
        self.turns: list[str] = []

    def _readable(self) -> None:
        super()._readable()
        if self._tls is not None and self._tls.renegotiate_pending():
            self.asked.set()

    def _hear_first(self) -> None:
        self.turns.append("hear first")
        super()._hear_first()

    def _speak_first(self) -> None:
        self.turns.append("speak first")
        super()._speak_first()
        self.asked.set()


class Renegotiator:
    """The server's end, in blocking calls. It reads only what it is told to read."""

    def __init__(self, sock: socket.socket, server: Credential) -> None:
        sock.settimeout(None)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate(server.x509())
        context.use_privatekey(keys.decode(server.key))
        for each in server.chain:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(each))
        self.tls = SSL.Connection(context, sock)
        self.tls.set_accept_state()
        self.tls.do_handshake()

    def ask(self) -> None:
        """Send HelloRequest."""
        assert self.tls.renegotiate()
        self.tls.do_handshake()

    def read(self, size: int) -> bytes:
        """Read so many bytes, and shake hands on the way."""
        data = bytearray()
        while len(data) < size:
            data += self.tls.recv(size - len(data))
        return bytes(data)


@pytest.fixture
def tls(brokers: Authority) -> TlsClient:
    return TlsClient(TlsSettings(trust=(brokers.root,)), "127.0.0.1")


@asynccontextmanager
async def opened(
    listener: Listener, tls: TlsClient, server: Credential
) -> AsyncIterator[tuple[Wire, Turning, Renegotiator]]:
    wire = Wire()
    link = wire.link = Turning(asyncio.get_running_loop(), wire)
    serving = asyncio.create_task(asyncio.to_thread(lambda: Renegotiator(listener.accept(), server)))
    await wire.open(listener.address, tls, None)
    try:
        yield wire, link, await serving
    finally:
        link.close()


async def test_what_is_sent_during_a_renegotiation_goes_after_it(
    listener: Listener, tls: TlsClient, server: Credential
) -> None:
    async with opened(listener, tls, server) as (wire, link, peer):
        await asyncio.to_thread(peer.ask)
        await link.asked.wait()
        link.send(b"during")
        link.send(b", and after")
        assert link.backed_up
        assert link.turns == ["hear first"]
        assert await asyncio.to_thread(peer.read, 17) == b"during, and after"
        peer.tls.sendall(b"heard")
        await wire.recipient.received(b"heard")
        link.send(b"the end")
        assert await asyncio.to_thread(peer.read, 7) == b"the end"
        assert not link.backed_up
    assert wire.recipient.errors == []


async def test_what_waited_for_the_socket_waits_for_the_renegotiation(
    tls: TlsClient, server: Credential
) -> None:
    with Listener(receive_buffer=4096) as listener:
        async with opened(listener, tls, server) as (wire, link, peer):
            whole = bytes(range(256)) * 32_768
            link.send(whole)
            assert link.backed_up
            await asyncio.to_thread(peer.ask)
            assert await asyncio.to_thread(peer.read, len(whole)) == whole
            assert link.turns == ["hear first"]
            assert not link.backed_up
    assert wire.recipient.errors == []


@pytest.mark.parametrize("close", [False, True])
async def test_an_answer_that_the_full_socket_does_not_take_goes_first(
    tls: TlsClient, server: Credential, *, close: bool
) -> None:
    for size in (2_000, 1_500, 2_500, 1_750, 3_000):
        with Listener(receive_buffer=4096) as listener:
            async with opened(listener, tls, server) as (wire, link, peer):
                said = fill(link, size)
                await asyncio.to_thread(peer.ask)
                await link.asked.wait()
                if link.turns != ["speak first"]:
                    continue  # the socket had some room left
                link.send(b"later")
                if close:
                    assert not link.close()
                    link._go_on()
                    return
                assert await asyncio.to_thread(peer.read, said + 5) == bytes(said) + b"later"
                peer.tls.sendall(b"heard")
                await wire.recipient.received(b"heard")
                assert not link.backed_up
                return
    pytest.skip("this kernel's sockets are never just full: a record too many waits before the answer")


def fill(link: Link, size: int) -> int:
    """Send pieces of a size until the socket is full, without one that waits; return how many bytes went."""
    assert link._sock is not None
    link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    said = 0
    while select.select([], [link._sock], [], 0.1)[1]:
        link.send(bytes(size))
        said += size
    return said


async def test_keys_that_are_updated_go_unnoticed(tls: TlsClient, server: Credential, tmp_path: Path) -> None:
    papers = tmp_path / "server.pem"
    papers.write_text(server.chain_pem() + server.key_pem())
    wire = Wire()
    with s_server("-tls1_3", "-cert", papers, "-cert_chain", papers) as peer:
        port = (await asyncio.to_thread(shown, peer, "ACCEPT")).rpartition(":")[2]
        await wire.open(Address("127.0.0.1", socket.AF_INET, ("127.0.0.1", int(port))), tls, None)
        say(peer, "K")  # and we are asked to do the same
        await asyncio.to_thread(shown, peer, ">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
        say(peer, "with new keys")
        await wire.recipient.received(b"with new keys\n")
        wire.link.send(b"with ours\n")
        await asyncio.to_thread(shown, peer, "<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
        await asyncio.to_thread(shown, peer, "with ours")
        wire.link.close()
    assert wire.recipient.errors == []


@contextmanager
def s_server(*options: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [require("openssl"), "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-msg", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as peer:
        try:
            yield peer
        finally:
            peer.kill()


def shown(peer: subprocess.Popen[str], words: str) -> str:
    """Return the next line of the server that begins with ``words``."""
    assert peer.stdout is not None
    return next(line for line in peer.stdout if line.startswith(words))


def say(peer: subprocess.Popen[str], line: str) -> None:
    assert peer.stdin is not None
    peer.stdin.write(f"{line}\n")
    peer.stdin.flush()
