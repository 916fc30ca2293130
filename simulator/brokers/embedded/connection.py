"""One device's connection: what amqtt reads from and writes to.

A protocol on the event loop's own TLS transport, with one buffer for what came in, in the place of a pair of
streams: amqtt reads a packet in four or five small pieces, and each of them is cheap here. It also keeps the
patience of a broker: the time in which CONNECT must come, and after it one and a half keepalives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from amqtt.adapters import ReaderAdapter, WriterAdapter

from simulator.brokers.embedded.packet import Connect, NotConnectError, first_packet

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["Connection"]

_CONNECT_SECONDS = 20.0
_KEEP_ALIVE_FACTOR = 1.5  # MQTT-3.1.2-24
_READ_AHEAD = 256 * 1024
_UNREAD_BY_PEER = 16 * 1024 * 1024


class Connection(asyncio.Protocol, ReaderAdapter, WriterAdapter):
    """A connection whose TLS handshake is done; ``arrived`` is called with it once."""

    def __init__(
        self, arrived: Callable[[Connection], None], *, connect_seconds: float = _CONNECT_SECONDS
    ) -> None:
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._heard = self._loop.time()
        self._patience = connect_seconds
        self._timer: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve the peer, whose certificate has been verified."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._patience, self._check_patience)
        self._arrived(self)

    def data_received(self, data: bytes) -> None:
        """Keep what the peer sent, and stop reading from it where amqtt is far behind."""
        self._buffer += data
        self._heard = self._loop.time()
        if not self._paused and len(self._buffer) > _READ_AHEAD:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """Let what was received be read, then end."""
        self._end()

    # What the reception calls.

    async def connect_packet(self) -> Connect | None:
        """Return the peer's CONNECT, put back for amqtt to read; None where the peer sends anything else."""
        try:
            while (connect := first_packet(self._buffer)) is None:
                if self._ended:
                    return None
                await self._more()
        except NotConnectError:
            return None
        self._buffer[: len(connect.packet)] = connect.packet
        self._expect(connect.keep_alive * _KEEP_ALIVE_FACTOR)
        return connect

    def shut(self) -> None:
        """Close the connection; for amqtt it ends at once, without the packets not yet read."""
        self._buffer.clear()
        self._end()
        self._transport.close()

    # What amqtt calls.

    async def read(self, n: int = -1) -> bytes:
        """Return exactly ``n`` bytes, or all up to the end of the stream where ``n`` is negative."""
        buffer = self._buffer
        while not self._ended and (n < 0 or len(buffer) < n):
            await self._more()
        if len(buffer) < n:
            await asyncio.sleep(0)  # amqtt drops what it has not begun to handle when the stream ends
            raise asyncio.IncompleteReadError(bytes(buffer), n)
        if n < 0:
            n = len(buffer)
        data = bytes(buffer[:n])
        del buffer[:n]
        return data

    def feed_eof(self) -> None:
        """Take the end of the stream as reached."""
        self._end()

    def write(self, data: bytes) -> None:
        """Send ``data``; a peer that has left 16 MiB unread is cut off."""
        if self._ended:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _UNREAD_BY_PEER:
            self._transport.abort()

    async def drain(self) -> None:
        """Return at once: ``write`` bounds what a slow peer can hold."""

    def get_peer_info(self) -> tuple[str, int] | None:
        """Return address and port of the peer."""
        peer = self._transport.get_extra_info("peername")
        return (peer[0], peer[1]) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """Return the TLS connection, which knows the peer's certificate."""
        return cast("ssl.SSLObject | None", self._transport.get_extra_info("ssl_object"))

    async def close(self) -> None:
        """Close the connection once what was written is sent."""
        self._end()
        self._transport.close()

    # Inside.

    async def _more(self) -> None:
        """Return when there is more to read, or the stream has ended."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        self._ended = True
        self._expect(0)
        self._wake()

    def _expect(self, seconds: float) -> None:
        """Hear from the peer every so many seconds from now on, or close the connection; 0 is for never."""
        self._patience = seconds
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds:
            self._timer = self._loop.call_later(seconds, self._check_patience)

    def _check_patience(self) -> None:
        silent = self._loop.time() - self._heard
        if silent < self._patience:
            self._timer = self._loop.call_later(self._patience - silent, self._check_patience)
        else:
            self.shut()
