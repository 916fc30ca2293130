"""TLS for a client of the standard library: the cloud's own, one connection instead of thousands.

The stream reads ahead, because aiomqtt would take three calls through OpenSSL for each packet, and keeps
account of what hearing costs, and of how long what has come waits to be read. This module must not know MQTT.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections import deque
from contextlib import suppress
from time import thread_time_ns
from typing import TYPE_CHECKING, Any, cast

from simulator.clock import MICROSECOND, now
from simulator.identity import pem
from simulator.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.identity.credential import Credential

__all__ = ["CloudContext", "Gauge"]

_READ_AHEAD = 65_536
_RECORDS = 16
"""TLS records, mostly a message each, that are read before the loop may serve others: about a millisecond."""
_BYTES_RECEIVED = struct.Struct("=Q")
_BYTES_RECEIVED_AT = 128
"""Place of tcpi_bytes_received in ``struct tcp_info`` of linux/tcp.h, where it is since Linux 4.1."""


class Gauge:
    """What the streams of one client cost, and how late they are read."""

    def __init__(self) -> None:
        self.read_at = 0
        """When what is being handled was read."""
        self.spent = 0
        """Nanoseconds of processor time from reading to having handled what was read, altogether."""
        self.lag = Histogram()
        """Microseconds that something waited to be read; one value for each look."""
        self._stream: Stream | None = None
        self._marks: deque[tuple[int, int]] = deque()
        """Of each look at what is not read yet, in order: bytes received by then, and when it was due."""

    def follow(self, stream: Stream) -> None:
        """Look at this stream from now on."""
        self._stream = stream
        self._marks.clear()

    def look(self, due: int) -> None:
        """Begin to measure how long what waits now, or has waited since ``due``, is left waiting.

        Each look counts, also while others wait: else a stall would be one value among many of better times.
        """
        stream = self._stream
        if stream is None or stream.fileno() < 0:
            return
        received = stream.received()
        if stream.waiting():
            self._marks.append((received, due))
        else:
            self.lag.record_many([0])

    def has_read(self) -> None:
        """Take that the stream has been read: what was looked at may have been among it."""
        stream, marks = self._stream, self._marks
        if stream is None or not marks:
            return
        read, at = stream.received() - stream.waiting(), now()
        while marks and marks[0][0] <= read:
            _, due = marks.popleft()
            self.lag.record_many([(at - due) // MICROSECOND])


class Stream(ssl.SSLSocket):
    """A TLS connection that reads ahead."""

    _ahead = b""
    _at = 0
    _begun = 0
    gauge: Gauge

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what was read ahead, or else read."""
        if self._at >= len(self._ahead):
            self.gauge.read_at = now()
            self._begun = self._begun or thread_time_ns()
            self._ahead, self._at = b"", 0
            self._ahead = self._read_ahead(flags)
            self.gauge.has_read()
        data = self._ahead[self._at : self._at + buflen]
        self._at += len(data)
        return data

    def _read_ahead(self, flags: int) -> bytes:
        """Return some records at once: with one for each turn of a busy loop, it would fall behind."""
        whole = data = super().recv(_READ_AHEAD, flags)
        left = _RECORDS - 1
        with suppress(ssl.SSLWantReadError):
            while data and left:
                data = super().recv(_READ_AHEAD, flags)
                whole += data
                left -= 1
        return whole

    def pending(self) -> int:
        """Return how many bytes can be read without waiting; asked after each packet by whoever reads."""
        left = len(self._ahead) - self._at + super().pending()
        if not left and self._begun:
            self.gauge.spent += thread_time_ns() - self._begun
            self._begun = 0
        return left

    def waiting(self) -> int:
        """Return how many bytes the kernel holds for us."""
        number = array.array("i", [0])
        fcntl.ioctl(self.fileno(), termios.FIONREAD, number)
        return number[0]

    def received(self) -> int:
        """Return how many bytes the kernel has ever received on this connection."""
        facts = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return cast("int", _BYTES_RECEIVED.unpack_from(facts, _BYTES_RECEIVED_AT)[0])


class CloudContext(ssl.SSLContext):
    """Client settings with one credential, for one host.

    ``trust`` holds DER anchors for the broker's certificate; empty stands for the system's.
    """

    sslsocket_class = Stream
    gauge: Gauge
    _host: str

    @classmethod
    def create(
        cls, credential: Credential, trust: Sequence[bytes], host: str, *, verify_host_name: bool = True
    ) -> CloudContext:
        """Return the settings; ``host`` is the name that the broker's certificate must carry."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.gauge = Gauge()
        context._host = host
        context.check_hostname = verify_host_name
        if trust:
            context.load_verify_locations(cadata=pem.certificates(trust))
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        context._present(credential)
        return context

    def _present(self, credential: Credential) -> None:
        """Load certificate and key, which the standard library does from a file only: one in memory."""
        file = os.memfd_create("credential", os.MFD_CLOEXEC)
        try:
            os.write(file, (credential.chain_pem() + credential.key_pem()).encode())
            self.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Return a stream that is ready for its handshake; the host is ours, whatever the caller thinks."""
        options["server_hostname"] = self._host
        stream = cast("Stream", super().wrap_socket(sock, *args, **options))
        stream.gauge = self.gauge
        self.gauge.follow(stream)
        return stream
