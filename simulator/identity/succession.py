"""The succession of a device's credentials: a new one becomes active, and the one before it superseded.

Knows the tables that it needs; not how a credential is made, or a key sealed.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.naming import check_name
from simulator.identity.trust import vouches_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulator.identity.credential import Credential
    from simulator.identity.protection import Protection

__all__ = ["add"]


def add(
    connection: sqlite3.Connection,
    path: Path | None,
    protection: Protection,
    credentials: Iterable[tuple[str, Credential]],
    generation: int | None,
) -> None:
    """Make each credential the active one of its device, by default as the next generation.

    Call it within a transaction. Raises ``FleetError`` for a generation that is not newer than those known, a
    certificate that the fleet holds already, and a name that no device can have.
    """
    chains: dict[tuple[bytes, ...], int | None] = {(): None}
    for device, credential in credentials:
        if credential.chain not in chains:
            chains[credential.chain] = _keep_chain(connection, credential.chain)
        number = _supersede(connection, check_name(device), generation)
        key = protection.as_kept(credential.key, credential.certificate)
        try:
            _insert(
                connection, device, credential, generation=number, key=key, chain=chains[credential.chain]
            )
        except sqlite3.IntegrityError:
            raise FleetError(
                f"{path or 'the fleet in memory'} already holds the certificate of {device!r}"
                f" ({credential.fingerprint[:16]}…): each device needs one of its own"
            ) from None


def _keep_chain(connection: sqlite3.Connection, chain: tuple[bytes, ...]) -> int:
    """Return the row of a chain: devices of one issuer share it."""
    text = pem.certificates(chain)
    connection.execute("INSERT OR IGNORE INTO chain (certificates) VALUES (?)", (text,))
    (row,) = connection.execute("SELECT id FROM chain WHERE certificates = ?", (text,)).fetchone()
    return int(row)


def _supersede(connection: sqlite3.Connection, device: str, generation: int | None) -> int:
    """Make way for a new credential of a device; return its generation."""
    (latest,) = connection.execute(
        "SELECT coalesce(max(generation), 0) FROM credential WHERE device = ?", (device,)
    ).fetchone()
    if generation is not None and generation <= latest:
        raise FleetError(f"{device!r} is at generation {latest} already, so {generation} cannot be added")
    if latest:
        connection.execute(
            "UPDATE credential SET status = 'superseded' WHERE device = ? AND status = 'active'", (device,)
        )
    return generation or latest + 1


def _insert(
    connection: sqlite3.Connection,
    device: str,
    credential: Credential,
    *,
    generation: int,
    key: bytes,
    chain: int | None,
) -> None:
    certificate = credential.x509()
    if chain is None and vouches_for(certificate, certificate):
        connection.execute("INSERT OR IGNORE INTO trust_anchor VALUES (?)", (credential.certificate,))
    connection.execute(
        "INSERT INTO credential VALUES (?, ?, 'active', ?, ?, ?, ?, ?, ?, ?)",
        (
            device,
            generation,
            f"{certificate.serial_number:x}",
            credential.fingerprint,
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
            credential.certificate,
            key,
            chain,
        ),
    )
