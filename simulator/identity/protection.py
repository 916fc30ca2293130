"""Whether the keys of a fleet file are sealed, and with what: all or none, changed in one transaction.

Knows the tables that hold keys; how a key is sealed is the business of ``simulator.identity.vault``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from simulator.errors import FleetError
from simulator.identity.fleet_file import explained, patience, transaction
from simulator.identity.vault import Lock, Vault, WrongPassphraseError, is_sealed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    Passphrase = Callable[[Path], str]

__all__ = ["Protection"]

_KEYS = (
    ("credential", "key", "certificate"),
    ("authority", "root_key", "root_certificate"),
    ("authority", "issuing_key", "issuing_certificate"),
)
"""Where private keys stand: table, column, and the column with the certificate that each belongs to."""

_SCRUB_SECONDS = 1  # readers come and go; one that stays is to be told of


class Protection:
    """Turns private keys into what stands in one fleet file, and back.

    ``passphrase`` is asked once, when a sealed key is needed first.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, passphrase: Passphrase | None
    ) -> None:
        self._connection = connection
        self._path = path
        self._passphrase = passphrase
        self._vault: Vault | None = None

    @cached_property
    def _lock(self) -> Lock | None:
        """The lock as it was when it was looked at first, or changed here."""
        with explained(self._path):
            return self._find_lock()

    @property
    def is_on(self) -> bool:
        """Whether keys are sealed."""
        return self._lock is not None

    def unlock(self) -> None:
        """Ask for the passphrase, where one is needed and has not been given yet.

        Raises ``FleetError`` where it is wrong, and where there is nobody to ask.
        """
        if self._lock is None or self._vault is not None:
            return
        if self._passphrase is None or self._path is None:
            raise FleetError(f"{self._path} is protected by a passphrase, and none was given")
        try:
            self._vault = self._lock.open(self._passphrase(self._path))
        except WrongPassphraseError:
            raise WrongPassphraseError(f"this is not the passphrase of {self._path}") from None

    def as_kept(self, key: bytes, certificate: bytes) -> bytes:
        """Return what is written for the private key of ``certificate`` (DER)."""
        self.unlock()
        return _as_kept(self._vault, key, certificate)

    def opened(self, key: bytes, certificate: bytes) -> bytes:
        """Return the private key that was written; raise ``FleetError`` where it does not open."""
        self.unlock()
        return _opened(self._vault, key, certificate)

    def refuse_changed(self) -> None:
        """Raise ``FleetError`` where another process has changed the protection; call it in a transaction."""
        if self._find_lock() != self._lock:
            raise FleetError(
                f"the protection of {self._path} was changed by another process meanwhile: open it again"
            )

    def change(self, passphrase: str | None) -> None:
        """Seal every key under a new data key that ``passphrase`` opens, or, with None, leave all unsealed.

        A new data key, because whoever had the old passphrase and a copy of the file has the old one. Raises
        ``FleetError``, with nothing changed, where a key does not open.
        """
        self.unlock()
        vault = None if passphrase is None else Vault.create()
        lock = None if passphrase is None or vault is None else vault.lock(passphrase)
        with transaction(self._connection, self._path):
            self.refuse_changed()
            self._reseal(vault)
            self._connection.execute("DELETE FROM protection")
            if lock is not None:
                self._connection.execute(
                    "INSERT INTO protection VALUES (1, ?, ?)", (lock.salt, lock.data_key)
                )
        self._lock, self._vault = lock, vault
        self._scrub()

    def _reseal(self, after: Vault | None) -> None:
        for table, key, certificate in _KEYS:
            rows = self._connection.execute(
                f"SELECT rowid, {key}, {certificate} FROM {table}"  # noqa: S608 - our own names
            ).fetchall()
            self._connection.executemany(
                f"UPDATE {table} SET {key} = ? WHERE rowid = ?",  # noqa: S608 - our own names
                [(_as_kept(after, _opened(self._vault, kept, leaf), leaf), row) for row, kept, leaf in rows],
            )

    def _scrub(self) -> None:
        """Write the file anew and empty its journal, so that no key is left where it stood before.

        What a disk or a backup keeps of earlier blocks is beyond this.
        """
        with explained(self._path):
            self._connection.execute("VACUUM")
            with patience(self._connection, _SCRUB_SECONDS):
                busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise FleetError(
                f"{self._path} is in use by another process, so that traces of unprotected keys may be left"
                " in it: end that process, and do this again"
            )

    def _find_lock(self) -> Lock | None:
        row = self._connection.execute("SELECT salt, data_key FROM protection").fetchone()
        return Lock(*row) if row else None


def _as_kept(vault: Vault | None, key: bytes, certificate: bytes) -> bytes:
    return key if vault is None else vault.seal(key, certificate)


def _opened(vault: Vault | None, key: bytes, certificate: bytes) -> bytes:
    if vault is not None:
        return vault.open(key, certificate)
    if is_sealed(key):
        raise FleetError("the fleet file was protected by another process meanwhile: open it again")
    return key
