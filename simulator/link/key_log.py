"""The key log: TLS secrets of the devices' connections, for a packet dissector, in the format of NSS.

Whoever has the file can decrypt the traffic that it belongs to. It holds secrets of connections, never a
device's private key. This module must not know who asked for it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Self

from simulator.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from OpenSSL import SSL

__all__ = ["KeyLog"]


class KeyLog:
    """A file that the secrets of connections are appended to, as each becomes known.

    Raises UsageError where ``path`` cannot be opened, or cannot be kept from others (mode 0600). Every line
    is one write at the end of the file, so that several processes may share it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        """Why secrets are missing from the file, in a sentence; empty where none are."""
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY, 0o600)
        except OSError as error:
            raise UsageError(f"cannot write the TLS key log {path}: {error.strerror}") from None
        try:
            self._close_to_others()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def add(self, _: SSL.Connection, line: bytes) -> None:
        """Append a secret of a connection: label, client random and secret, as NSS has it."""
        secret = line + b"\n"
        try:
            if os.write(self._file, secret) < len(secret):
                self.trouble = f"the TLS key log {self.path} lacks secrets: it takes no more"
        except OSError as error:
            # The caller is OpenSSL, in the middle of a handshake: it has no use for an exception.
            self.trouble = f"the TLS key log {self.path} lacks secrets: {error.strerror}"

    def _close_to_others(self) -> None:
        """Take the file away from all but its owner; a pipe or a device stays as it is."""
        try:
            if stat.S_ISREG(os.fstat(self._file).st_mode):
                os.fchmod(self._file, 0o600)
        except OSError as error:
            raise UsageError(
                f"cannot keep the TLS key log {self.path} from others: {error.strerror}; name a file of yours"
            ) from None
