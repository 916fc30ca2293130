"""A blocking socket whose bytes are counted, stamped and cut off where a plan says.

When bytes arrived is what the kernel says, not when this process came round to reading them: so a broker that
was late itself does not take its lateness for the client's.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from simulator.clock import SECOND, now

TIMESTAMPS = 35
"""SO_TIMESTAMPNS and SCM_TIMESTAMPNS of Linux; Python has no names for them."""
TIMESPEC = struct.Struct("@ll")
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class CutError(Exception):
    """The plan's number of bytes has passed."""


class Wire:
    """One TCP connection. ``heard`` is when the newest bytes that were read had arrived."""

    def __init__(self, sock: socket.socket, *, sends: int | None, takes: int | None) -> None:
        self._sock = sock
        self._sends = sends
        self._takes = takes
        self.sent = self.received = 0
        self.heard = now()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, until: int | None) -> bytes | None:
        """Return what came, b"" for the end, and None where nothing came before the time ``until``."""
        wait = None if until is None else max(until - now(), 0) / SECOND
        if not select.select([self._sock], [], [], wait)[0]:
            return None
        size = 65_536 if self._takes is None else min(65_536, self._takes - self.received)
        data, extra, _, _ = self._sock.recvmsg(size, socket.CMSG_SPACE(TIMESPEC.size))
        self.heard = arrival(extra)
        self.received += len(data)
        if self.received == self._takes:
            self._takes = None
            raise CutError("received")
        return data

    def write(self, data: bytes, pace: int = 0) -> int:
        """Send all, byte by byte where there is a ``pace`` (nanoseconds); return when it began."""
        whole = data if self._sends is None else data[: self._sends - self.sent]
        said = now()
        if pace:
            for place in range(len(whole)):
                sleep_until(said + place * pace)
                self._sock.sendall(whole[place : place + 1])
        else:
            self._sock.sendall(whole)
        self.sent += len(whole)
        if self.sent == self._sends:
            self._sends = None
            raise CutError("sent")
        return said

    def half_close(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._sock.close()


def stamp_arrivals(listener: socket.socket) -> None:
    """Let the kernel stamp what arrives on the connections of a listener."""
    if sys.platform == "linux":
        listener.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)


def arrival(extra: list[tuple[int, int, bytes]]) -> int:
    """Return when data arrived by the kernel's stamp (of the wall clock); without one, now."""
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, TIMESTAMPS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * SECOND + int(nanoseconds) - (time.time_ns() - now())
    return now()


def sleep_until(at: int) -> None:
    """Return as soon as the monotonic clock has passed ``at``; tens of microseconds later, by experience."""
    while (left := at - now()) > 0:
        time.sleep(left / SECOND)
