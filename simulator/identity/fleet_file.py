"""The SQLite file of a fleet: made private, opened, and recognised.

Knows the tables; what goes into them is the business of ``simulator.identity.store``.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["VERSION", "create_file", "explained", "in_memory", "open_file", "patience", "transaction"]

VERSION = 2
"""``PRAGMA user_version`` of the tables below; a file with a greater one is from a newer simulator, and one
with a lesser one gets the tables that it lacks when it is opened."""

_APPLICATION_ID = 0x4D464C54  # "MFLT", so that file(1) and we can tell a fleet from other SQLite files
_BUSY_SECONDS = 30  # how long to wait for another process that is writing

_TABLES = (
    """
    CREATE TABLE authority (
        id                  INTEGER PRIMARY KEY CHECK (id = 1),
        root_certificate    BLOB NOT NULL,
        root_key            BLOB NOT NULL,
        issuing_certificate BLOB NOT NULL,
        issuing_key         BLOB NOT NULL
    ) STRICT
    """,
    "CREATE TABLE trust_anchor (certificate BLOB PRIMARY KEY) STRICT",
    """
    CREATE TABLE chain (
        id           INTEGER PRIMARY KEY,
        certificates TEXT NOT NULL UNIQUE  -- PEM, the issuer of the leaf first
    ) STRICT
    """,
    """
    CREATE TABLE credential (
        device        TEXT NOT NULL,
        generation    INTEGER NOT NULL CHECK (generation > 0),
        status        TEXT NOT NULL CHECK (status IN ('active', 'superseded', 'revoked')),
        serial_number TEXT NOT NULL,         -- hexadecimal: 159 bits are too many for an INTEGER
        fingerprint   TEXT NOT NULL UNIQUE,  -- SHA-256 of the certificate
        not_before    INTEGER NOT NULL,      -- seconds since 1970, UTC
        not_after     INTEGER NOT NULL,
        certificate   BLOB NOT NULL,
        key           BLOB NOT NULL,
        chain         INTEGER REFERENCES chain,
        PRIMARY KEY (device, generation)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX one_active ON credential (device) WHERE status = 'active'",
    """
    CREATE TABLE numbering (
        prefix TEXT PRIMARY KEY,
        next   INTEGER NOT NULL              -- the first number that no process has taken yet
    ) STRICT
    """,
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
_ADDED_IN_2 = (
    """
    CREATE TABLE revocation (
        device     TEXT NOT NULL,
        generation INTEGER NOT NULL,
        at         INTEGER NOT NULL,         -- seconds since 1970, UTC
        reason     TEXT NOT NULL,            -- by its name in RFC 5280 section 5.3.1
        PRIMARY KEY (device, generation),
        FOREIGN KEY (device, generation) REFERENCES credential
    ) STRICT
    """,
    """
    CREATE TABLE crl (
        issuer      TEXT PRIMARY KEY CHECK (issuer IN ('root', 'issuing')),
        number      INTEGER NOT NULL,        -- of the last list that was signed (RFC 5280 section 5.2.3)
        this_update INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE protection (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        salt     BLOB NOT NULL,
        data_key BLOB NOT NULL               -- sealed, see simulator.identity.vault
    ) STRICT
    """,
    """
    INSERT INTO revocation
    SELECT device, generation, CAST(strftime('%s', 'now') AS INTEGER), 'unspecified'
    FROM credential WHERE status = 'revoked'
    """,
    "PRAGMA user_version = 2",
)


def create_file(path: Path) -> sqlite3.Connection:
    """Make an empty fleet file that only its owner can read; raise ``FleetError`` where ``path`` exists."""
    try:
        # SQLite would create the file by the umask, and it would hold keys before a chmod could close it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise FleetError(
            f"{path} exists already: choose another name (fleet create can --add to it)"
        ) from None
    except OSError as error:
        raise FleetError(f"cannot create the fleet file {path}: {error.strerror}") from None
    connection = _connect(path)
    try:
        _lay_out(connection, path)
    except BaseException:
        connection.close()
        path.unlink()
        raise
    return connection


def open_file(path: Path) -> sqlite3.Connection:
    """Open a fleet file; raise ``FleetError`` where there is none, or it is not one that we can read."""
    if not path.is_file():
        raise FleetError(f"there is no fleet file {path}: make one with `simulator fleet create {path}`")
    connection = _connect(path)
    try:
        version = _recognise(connection, path)
        _set_up(connection, path)
        if version < VERSION:
            _upgrade(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def in_memory() -> sqlite3.Connection:
    """Return an empty fleet that is gone when it is closed."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _lay_out(connection, None)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path | None) -> Iterator[None]:
    """Keep what the block writes if it ends well, and nothing of it if it does not."""
    with explained(path), connection:
        # The write lock is taken at once: two readers that both want to write later would block each other.
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def patience(connection: sqlite3.Connection, seconds: int) -> Iterator[None]:
    """Wait no longer than so many seconds for other processes meanwhile."""
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000}").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}").fetchone()


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn an error of SQLite into a ``FleetError`` that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise FleetError(
                f"another process holds the fleet file {path}: try again when that has ended"
            ) from error
        raise FleetError(f"cannot use the fleet file {path or 'in memory'}: {error}") from error


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code, without what it adds for some; 0 for an error that is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file that exists; one thread may use the connection at a time, and not always the same."""
    with explained(path):
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )


def _lay_out(connection: sqlite3.Connection, path: Path | None) -> None:
    _set_up(connection, path)
    with explained(path):
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    with transaction(connection, path):
        for statement in (*_TABLES, *_ADDED_IN_2):
            connection.execute(statement)


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Add the tables that a file of an older simulator lacks."""
    with transaction(connection, path):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:  # another process may have been faster
            for statement in _ADDED_IN_2:
                connection.execute(statement)


def _set_up(connection: sqlite3.Connection, path: Path | None) -> None:
    """Set what SQLite does not keep in the file."""
    with explained(path):
        connection.execute("PRAGMA foreign_keys = ON")
        # A key that was replaced by a sealed one must not stay readable where the page is used no more.
        connection.execute("PRAGMA secure_delete = ON").fetchone()
        connection.execute(
            "PRAGMA synchronous = FULL"
        )  # a key that a device was told to use must not be lost


def _recognise(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a fleet file; raise ``FleetError`` for anything else, and for a newer one."""
    application, version = None, 0
    with explained(path):
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            if primary_code(error) != sqlite3.SQLITE_NOTADB:
                raise
    if application != _APPLICATION_ID:
        raise FleetError(f"{path} is not a fleet file: `simulator fleet import` reads folders of PEM files")
    if version > VERSION:
        raise FleetError(
            f"{path} is a fleet file of version {version}, and this simulator knows {VERSION}: upgrade it"
        )
    return int(version)
