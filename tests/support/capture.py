"""The wire itself: what goes over the loopback interface, written down by dumpcap."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from threading import Condition, Thread
from typing import TYPE_CHECKING, Self

from tests.support.changes import SECONDS
from tests.support.tools import lacking, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

BOUNDS = ("-a", "duration:120", "-a", "filesize:50000")
"""Seconds and kilobytes after which a capture ends by itself, whatever becomes of the test."""


class Capture:
    """Everything to and from a TCP port of 127.0.0.1 while it is entered; then it is in ``file``.

    A datagram that the test sends to itself, and waits to see captured, opens and closes it: nothing in
    between is missing. Where this user may not capture, the test is skipped.
    """

    def __init__(self, port: int, file: Path) -> None:
        self._port = port
        self._file = file
        self._data = bytearray()
        self._ended = False
        self._more = Condition()

    def __enter__(self) -> Self:
        dumpcap = require("dumpcap")
        self._marker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._marker.bind(("127.0.0.1", 0))
        wanted = f"tcp port {self._port} or udp port {self._marker.getsockname()[1]}"
        self._process = subprocess.Popen(
            [dumpcap, "-q", "-i", "lo", "-f", wanted, "-B", "32", *BOUNDS, "-w", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._reader = Thread(target=self._read, name="capture")
        self._reader.start()
        try:
            self._wait(lambda: self._data)  # the file's header is written when the filter is in place
            self._mark(b"the capture begins")
        except BaseException:
            if "permission" in self._end():
                lacking("this user may not capture packets")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._mark(b"the capture is over")
        finally:
            said = self._end()
        lost = re.search(r"received/dropped on interface .*: \d+/(\d+) ", said)
        assert lost, said
        assert lost[1] == "0", "packets are missing from the capture, which so proves nothing"
        self._file.write_bytes(self._data)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            with self._more:
                self._data += data
                self._more.notify()
        with self._more:
            self._ended = True
            self._more.notify()

    def _mark(self, words: bytes) -> None:
        self._marker.sendto(words, self._marker.getsockname())
        self._wait(lambda: words in self._data)

    def _wait(self, holds: Callable[[], object]) -> None:
        with self._more:
            self._more.wait_for(lambda: holds() or self._ended, SECONDS)
            assert holds(), "nothing is captured"

    def _end(self) -> str:
        """End dumpcap, and return what it said."""
        self._process.send_signal(signal.SIGINT)
        self._reader.join()
        self._marker.close()
        with self._process:
            assert self._process.stderr is not None
            return self._process.stderr.read().decode()
