"""One device's connection to its broker: TCP and TLS on a non-blocking socket, each timed by itself.

The link knows bytes, not MQTT, and nothing of devices beyond the receiver it serves. It drives OpenSSL
straight on the socket from the loop's reader and writer callbacks: no stream, no transport, and no buffer
of its own while the socket takes what is sent.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from errno import EALREADY, EINPROGRESS, EIO, EISCONN
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL

from simulator.clock import now
from simulator.link import failure, openssl
from simulator.link.failure import LinkError
from simulator.link.openssl import RECORD, WANT_READ, WANT_WRITE, read_buffer, ssl_read, ssl_write, view
from simulator.metrics.sample import Phase

if TYPE_CHECKING:
    import asyncio

    from simulator.link.address import Address
    from simulator.link.openssl import LoadedCredential
    from simulator.link.resumption import Resumption
    from simulator.link.source import SourceAddress
    from simulator.link.tls import TlsClient

__all__ = ["Link", "Receiver"]


class Receiver(Protocol):
    """Who gets what arrives on a link."""

    def link_opened(self) -> None:
        """Learn that TLS is ready; what is sent now goes before the broker can answer to the handshake."""

    def data_received(self, data: bytes) -> None:
        """Take bytes that the broker sent."""

    def link_lost(self, error: LinkError) -> None:
        """Learn that the link could not be opened, or is gone; called once, and never after ``close``."""


class Link:
    """A TCP connection with TLS on it, opened once and closed once."""

    __slots__ = (
        "_loop",
        "_lost",
        "_receiver",
        "_resumption",
        "_sock",
        "_ssl",
        "_tls",
        "_unsent",
        "phase",
        "tcp_finished",
        "tcp_started",
        "tls_finished",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: Receiver) -> None:
        self._loop = loop
        self._receiver = receiver
        self._sock: socket.socket | None = None
        self._tls: SSL.Connection | None = None
        self._ssl: Any = None
        """What OpenSSL reads from and writes to, from the end of the handshake on."""
        self._unsent: bytearray | None = None
        self._lost: LinkError | None = None
        self._resumption: Resumption | None = None
        self.phase = Phase.TCP_CONNECT
        self.tcp_started = self.tcp_finished = self.tls_finished = 0

    def start(
        self,
        address: Address,
        tls: TlsClient,
        credential: LoadedCredential | None,
        resumption: Resumption | None = None,
        source: SourceAddress | None = None,
    ) -> None:
        """Connect and shake hands, then call ``link_opened``; ``link_lost`` where that fails.

        With ``resumption`` the session that it holds is offered, and the one of this connection kept in it.
        The connection starts from the address ``source``, or from where the kernel chooses.
        ``tcp_started``, ``tcp_finished`` and ``tls_finished`` say when each step began and ended, in
        nanoseconds of the monotonic clock. There is no time limit here: whoever gives up calls ``close``.
        """
        self._resumption = resumption
        try:
            code = self._connect(address, tls, credential, source)
        except OSError as error:
            code = error.errno or EIO
        if code in {0, EISCONN}:
            self._shake_hands()
        elif code in {EALREADY, EINPROGRESS}:
            self._loop.add_writer(self._fd(), self._connected)
        else:
            self._end(LinkError(Phase.TCP_CONNECT, *failure.of_socket(code)))

    @property
    def backed_up(self) -> bool:
        """Whether the socket has not taken all that was sent: the broker reads more slowly than we write."""
        return self._unsent is not None

    def send(self, data: bytes) -> None:
        """Send bytes now, or as soon as the socket takes them, in order. After a loss they go nowhere."""
        ssl = self._ssl
        if ssl is None:
            return
        if self._unsent is not None:
            self._unsent += data
            return
        sent = ssl_write(ssl, data, len(data))
        if sent < len(data):
            self._keep(data, sent)

    def close(self, *, orderly: bool = True) -> bool:
        """End the connection; with TLS's close_notify (RFC 8446 6.1) where it ends in an orderly way.

        Nobody waits for a socket that is full: what it has not taken is dropped, and False says so.
        """
        self._lost = None
        whole = self._unsent is None
        self._shut(orderly=orderly)
        return whole

    def _fd(self) -> int:
        if self._sock is None:
            raise RuntimeError("the link is closed")
        return self._sock.fileno()

    def _connect(
        self,
        address: Address,
        tls: TlsClient,
        credential: LoadedCredential | None,
        source: SourceAddress | None,
    ) -> int:
        self._sock = sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            # A port that is chosen at connect may serve other endpoints too (ip(7)).
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(source)
        self._tls = tls.connection(sock, credential)
        if self._resumption is not None:
            self._resumption.offer(self._tls, tls)
        self.tcp_started = now()
        code = sock.connect_ex(address.sockaddr)
        if code == EINPROGRESS:  # on the loopback it is over by now; to wait for the loop would add to it
            code = sock.connect_ex(address.sockaddr)
        return code

    def _connected(self) -> None:
        if self._sock is None:
            return
        self._loop.remove_writer(self._sock.fileno())
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(LinkError(Phase.TCP_CONNECT, *failure.of_socket(code)))
        else:
            self._shake_hands()

    def _shake_hands(self) -> None:
        self.tcp_finished = now()
        self.phase = Phase.TLS_HANDSHAKE
        self._loop.add_reader(self._fd(), self._handshake)
        self._handshake()

    def _handshake(self) -> None:
        if self._tls is None:
            return
        self._cork(True)
        try:
            if self._resumption is None:
                self._tls.do_handshake()
            else:
                self._resumption.shake_hands(self._tls)
        except SSL.WantReadError:
            self._cork(False)
            self._loop.remove_writer(self._fd())
            return
        except SSL.WantWriteError:
            self._cork(False)
            self._loop.add_writer(self._fd(), self._handshake)
            return
        except SSL.Error as error:
            self._cork(False)  # our alert has to go before the socket is closed
            self._lose(error)
            return
        self.tls_finished = now()
        self._ssl = openssl.native_connection(self._tls)
        self._loop.remove_writer(self._fd())
        self._loop.add_reader(self._fd(), self._readable)
        self._receiver.link_opened()
        self._cork(False)

    def _cork(self, on: bool) -> None:
        """Hold back what does not fill a segment, or let it go (tcp(7)): CONNECT leaves with our Finished.

        A broker that refuses our certificate under TLS 1.3 sends its alert and closes, with unread bytes of
        ours, so that the connection is reset. A write that comes after that fails, and then OpenSSL reads no
        more: the alert has arrived, and its name is lost. So CONNECT must not be a write of its own.
        """
        if self._sock is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def _readable(self) -> None:
        ssl = self._ssl
        if ssl is None:
            return
        number = ssl_read(ssl, read_buffer, RECORD)
        if number > 0:
            self._receiver.data_received(view(read_buffer, number)[:])
        elif self._wants(number) == WANT_WRITE:
            self._speak_first()

    def _keep(self, data: bytes, sent: int) -> None:
        """Keep what the socket has not taken, and send it when it takes more."""
        wants = WANT_WRITE if sent > 0 else self._wants(sent)
        if wants:
            self._unsent = bytearray(memoryview(data)[max(sent, 0) :])
            self._loop.add_writer(self._fd(), self._send_rest)
        if wants == WANT_READ:
            self._hear_first()

    def _send_rest(self) -> None:
        if self._ssl is None or self._unsent is None:
            return
        if self._unsent:
            sent = ssl_write(self._ssl, openssl.writable(self._unsent), len(self._unsent))
            if sent <= 0:
                if self._wants(sent) == WANT_READ:
                    self._hear_first()
                return
            del self._unsent[:sent]
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._fd())

    def _wants(self, result: int) -> int:
        """Return what a read or a write that gave ``result`` waits for; 0 where the link is lost by it."""
        tls = self._tls
        if tls is None:
            return 0
        wants = openssl.wants(tls, result)
        if not wants:
            self._lose(openssl.reason(tls, result))
        return wants

    # A renegotiation (RFC 5246 7.4.1.1) may want to read before it lets us write, and the other way round.

    def _hear_first(self) -> None:
        self._loop.remove_writer(self._fd())
        self._loop.add_reader(self._fd(), self._go_on)

    def _speak_first(self) -> None:
        if self._unsent is None:
            self._unsent = bytearray()  # so that what is sent now waits in its turn
        self._loop.remove_reader(self._fd())
        self._loop.add_writer(self._fd(), self._go_on)

    def _go_on(self) -> None:
        if self._sock is None:
            return
        self._loop.add_reader(self._fd(), self._readable)
        self._loop.add_writer(self._fd(), self._send_rest)
        self._readable()

    def _lose(self, error: SSL.Error) -> None:
        code = openssl.verify_result(self._tls) if self._tls is not None else 0
        refused = code and self.phase is Phase.TLS_HANDSHAKE
        outcome, detail = failure.of_certificate(code) if refused else failure.of_tls(error)
        phase = self.phase
        if phase is Phase.MQTT_CONNECT and outcome in failure.ALERT_NAMES:
            # TLS 1.3: the server judges our certificate after our handshake is over.
            phase = Phase.TLS_HANDSHAKE
        self._end(LinkError(phase, outcome, detail))
        if self._resumption is not None and outcome in failure.ALERT_NAMES:
            self._resumption.forget()

    def _end(self, error: LinkError) -> None:
        self._lost = error
        self._shut(orderly=False)
        self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        error, self._lost = self._lost, None
        if error is not None:  # else it was closed in the meantime
            self._receiver.link_lost(error)

    def _shut(self, *, orderly: bool) -> None:
        sock, tls = self._sock, self._tls
        if sock is None:
            return
        if self._resumption is not None and self._ssl is not None and tls is not None:
            self._resumption.keep(tls)
        self._sock = self._tls = self._ssl = self._unsent = None
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())
        if orderly and tls is not None:
            with suppress(SSL.Error):  # the broker was faster, or its socket is full
                tls.shutdown()
        openssl.forget_errors()
        sock.close()
