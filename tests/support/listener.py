"""A listening socket whose connections a test handles by hand, in blocking calls on another thread."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING, Self

from simulator.link.address import Address
from simulator.scenario.kinds import Endpoint
from tests.support.changes import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


ALWAYS = Event()
ALWAYS.set()

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Listener:
    """Listens on 127.0.0.1; closes itself and all that it accepted when the test is over."""

    def __init__(self, *, backlog: int = 16, receive_buffer: int = 0) -> None:
        self._sock = socket.socket()
        self._sock.settimeout(SECONDS)
        if receive_buffer:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(backlog)
        self._accepted: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._sock, *self._accepted):
            sock.close()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", socket.AF_INET, self._sock.getsockname())

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(*self._sock.getsockname())

    def crowd(self) -> None:
        """Fill the queue of a backlog of 0: the next SYN is lost, and sent again a second later."""
        self._accepted.append(socket.create_connection(self._sock.getsockname()))

    def accept(self) -> socket.socket:
        sock, _ = self._sock.accept()
        sock.settimeout(SECONDS)
        self._accepted.append(sock)
        return sock

    def shake_hands(self, context: ssl.SSLContext, sock: socket.socket | None = None) -> ssl.SSLSocket:
        """Accept a connection and its TLS; reading b"" from it means close_notify, not a bare end of file."""
        wrapped = context.wrap_socket(
            sock or self.accept(), server_side=True, suppress_ragged_eofs=False, do_handshake_on_connect=False
        )
        self._accepted.append(wrapped)
        wrapped.do_handshake()
        return wrapped

    def shake_hands_in_steps(
        self, context: ssl.SSLContext, *, answer: Event = ALWAYS, go_on: Event = ALWAYS
    ) -> ssl.SSLSocket:
        """Wait for ``answer`` before answering the ClientHello, and for ``go_on`` before reading on."""
        sock = self.accept()
        assert sock.recv(1, socket.MSG_PEEK)
        assert answer.wait(SECONDS)
        wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._accepted.append(wrapped)
        wrapped.setblocking(False)
        with suppress(ssl.SSLWantReadError):
            wrapped.do_handshake()
        assert go_on.wait(SECONDS)
        wrapped.settimeout(SECONDS)
        wrapped.do_handshake()
        return wrapped

    def close_last(self) -> None:
        """Close the connection that was accepted last; with unread data in it that is a reset."""
        self._accepted[-1].close()

    def after_client_hello(self, act: Callable[[socket.socket], object]) -> None:
        """Accept a connection, take its ClientHello, and do something rude."""
        sock = self.accept()
        assert sock.recv(65_536)
        act(sock)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()
