"""What a device keeps of its connections to resume their TLS sessions, and what its last offer came to.

Only a device that is to resume has one of these. A session is held from the end of a connection to the next
handshake with the same host, so that a device carries none while it is connected. This module must not know
when a device connects, nor what its certificate is: a device that gets a new one needs a new one of these.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from OpenSSL import SSL

from simulator.link import openssl

if TYPE_CHECKING:
    from simulator.link.tls import TlsClient

__all__ = ["Resumption"]


class Resumption:
    """The newest session with each host that a device has been connected to, by tickets or session ids.

    ``offered``, ``resumed`` and ``cpu`` are about the handshake that was begun last: whether the device had a
    session to offer, whether the broker took it, and the nanoseconds of CPU that the handshake took here.
    ``before`` tells whether an earlier handshake of the device was completed.
    """

    __slots__ = ("_completed", "_host", "_sessions", "_spent", "before", "cpu", "offered", "resumed")

    def __init__(self) -> None:
        self._sessions: dict[str, bytes] = {}
        self._host = ""
        self._spent = b""
        self._completed = False
        self.before = self.offered = self.resumed = False
        self.cpu = 0

    def offer(self, connection: SSL.Connection, tls: TlsClient) -> None:
        """Let a new connection offer the session that there is with its host, if there is one."""
        self._host = tls.host
        session = self._sessions.get(self._host)
        self.before, self.offered, self.resumed = self._completed, session is not None, False
        self.cpu = 0
        self._spent = b""
        if session is not None:
            self._spent = openssl.session_id(session)
            openssl.set_session(connection, session)

    def shake_hands(self, connection: SSL.Connection) -> None:
        """Go on with the handshake; raises SSL.Error as ``do_handshake`` does.

        The session is used up with the ClientHello, however it ends: a ticket of TLS 1.3 should not be seen
        on the wire twice (RFC 8446 C.4).
        """
        self._sessions.pop(self._host, None)
        start = time.thread_time_ns()
        try:
            connection.do_handshake()
        finally:
            self.cpu += time.thread_time_ns() - start
        self._completed, self.resumed = True, openssl.resumed(connection)

    def keep(self, connection: SSL.Connection) -> None:
        """Keep the session of a connection that is about to end: under TLS 1.3 by the newest ticket.

        Nothing is kept where the broker gave nothing to resume by, nor the ticket that was offered already;
        a session of TLS 1.2 may be resumed any number of times.
        """
        session = openssl.session_of(connection)
        number = openssl.session_id(session)
        once = connection.get_protocol_version() >= SSL.TLS1_3_VERSION
        if number and not (once and number == self._spent):
            self._sessions[self._host] = session

    def forget(self) -> None:
        """Keep nothing of a connection that a fatal alert ended (RFC 5246 7.2.2, RFC 8446 6.2)."""
        self._sessions.pop(self._host, None)
