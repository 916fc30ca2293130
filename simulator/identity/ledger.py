"""The ledger of a fleet file: which credentials are revoked, since when and why, and the lists of them.

Knows the tables that it needs; what a list looks like is the business of ``simulator.identity.revocation``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from simulator import clock
from simulator.errors import FleetError
from simulator.identity.record import Reason, Revocation, Status
from simulator.identity.revocation import Entry, sign_crl, updates

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from simulator.identity.authority import Authority
    from simulator.identity.credential import Credential

__all__ = ["revoke", "sign_lists"]


def revoke(
    connection: sqlite3.Connection, path: Path | None, device: str, generation: int | None, reason: Reason
) -> bool:
    """Revoke one credential, by default the active one; call it within a transaction.

    Returns False, and changes nothing, where it is revoked already: the first date and reason stand. Raises
    ``FleetError`` where there is no such credential.
    """
    row = connection.execute(
        "SELECT generation, status FROM credential"
        " WHERE device = :device AND generation = coalesce(:generation,"
        "  (SELECT generation FROM credential WHERE device = :device ORDER BY status = 'active' DESC,"
        "   generation DESC LIMIT 1))",
        {"device": device, "generation": generation},
    ).fetchone()
    if row is None:
        which = f"generation {generation}" if generation is not None else "certificate"
        raise FleetError(
            f"{path or 'the fleet in memory'} holds no {which} of {device!r} that could be revoked"
        )
    found, status = row
    if status == Status.REVOKED:
        return False
    at = int(clock.wall().timestamp())
    connection.execute(
        "UPDATE credential SET status = 'revoked' WHERE device = ? AND generation = ?", (device, found)
    )
    connection.execute("INSERT INTO revocation VALUES (?, ?, ?, ?)", (device, found, at, reason))
    return True


def sign_lists(
    connection: sqlite3.Connection, authority: Authority, validity: timedelta
) -> tuple[bytes, bytes]:
    """Return a new list (DER) of the issuing authority, then of the root; call it within a transaction."""
    issuing, root = authority.issuing_credential, authority.root_credential
    return (
        _sign_list(connection, "issuing", issuing, validity),
        _sign_list(connection, "root", root, validity),
    )


def _sign_list(connection: sqlite3.Connection, which: str, issuer: Credential, validity: timedelta) -> bytes:
    """Sign the next list of one authority, and keep its number and time, for the one after it."""
    row = connection.execute("SELECT number, this_update FROM crl WHERE issuer = ?", (which,)).fetchone()
    number, after = (row[0] + 1, _moment(row[1])) if row else (1, None)
    times = updates(validity, after=after)
    signed = sign_crl(issuer, _entries(connection, issuer), number=number, updates=times)
    connection.execute(
        "INSERT OR REPLACE INTO crl VALUES (?, ?, ?)", (which, number, int(times.this.timestamp()))
    )
    return signed


def _entries(connection: sqlite3.Connection, issuer: Credential) -> Iterator[Entry]:
    """Yield what ``issuer`` has to list: of the revoked certificates, those that it has signed."""
    name = issuer.x509().subject
    rows = connection.execute(
        "SELECT certificate, at, reason FROM credential JOIN revocation USING (device, generation)"
        " ORDER BY at, device, generation"
    )
    for der, at, reason in rows:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.issuer == name:
            yield Entry(certificate.serial_number, Revocation(_moment(at), Reason(reason)))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
