"""A fleet: the credentials of its devices in one SQLite file, with the authority that issued them.

The file holds private keys, so only its owner can read it (mode 0600) from the moment it exists; SQLite
gives its ``-wal`` and ``-shm`` siblings the same mode. It is crash-safe: credentials come in whole rows, and
what was committed survives a power cut. Several processes can use it at once.

    >>> with FleetStore.create(Path("core2.fleet"), Authority.create("Acme")) as fleet:
    ...     fleet.issue(500, prefix="core2-")
    ...     fleet.credentials()

Knows nothing of PEM folders, scenarios or progress bars.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import fleet_file, pem
from simulator.identity.authority import DEVICE_VALIDITY, Authority
from simulator.identity.credential import Credential
from simulator.identity.naming import check_name
from simulator.identity.numbering import reserved
from simulator.identity.record import DeviceRecord, Status, Summary
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["FleetStore"]

# What a crash or an interruption can lose: RSA keys are slow, so time counts as well as rows.
_BATCH_ROWS = 500
_BATCH_SECONDS = 0.25


class FleetStore:
    """The credentials of one fleet; a context manager that closes its file."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self.path = path

    def __repr__(self) -> str:
        return f"<FleetStore {self.path or 'in memory'}>"

    @classmethod
    def create(cls, path: Path, authority: Authority | None = None) -> Self:
        """Make a new fleet file; raise ``FleetError`` where ``path`` exists or cannot be written."""
        connection = fleet_file.create_file(path)
        _keep_authority(connection, path, authority)
        return cls(connection, path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a fleet file; raise ``FleetError`` where it is missing, no fleet, or of a newer version."""
        return cls(fleet_file.open_file(path), path)

    @classmethod
    def in_memory(cls, authority: Authority | None = None) -> Self:
        """Make a fleet that never touches the disk and is gone when it is closed."""
        connection = fleet_file.in_memory()
        _keep_authority(connection, None, authority)
        return cls(connection, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; harmless when it is closed already."""
        self._connection.close()

    @cached_property
    def authority(self) -> Authority | None:
        """The authority that this fleet issues with; an imported fleet has none."""
        rows = self._rows(
            "SELECT root_certificate, root_key, issuing_certificate, issuing_key FROM authority"
        )
        for root, root_key, issuing, issuing_key in rows:
            return Authority(Credential(root, root_key), Credential(issuing, issuing_key))
        return None

    @property
    def trust_anchors(self) -> tuple[bytes, ...]:
        """DER of the certificates that a broker must trust to accept this fleet."""
        return tuple(der for (der,) in self._rows("SELECT certificate FROM trust_anchor ORDER BY rowid"))

    def add_trust_anchor(self, certificate: bytes) -> None:
        """Keep a certificate (DER) that vouches for some of the fleet; harmless when it is known already."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO trust_anchor VALUES (?)", (certificate,))

    def issue(
        self,
        devices: int | Sequence[str],
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = DEVICE_VALIDITY,
        prefix: str = "device-",
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Issue the first credential of new devices: so many, named ``<prefix>00001`` and on, or these.

        Numbers go on where the prefix left off. Calls ``progress`` with how many are safely kept, several
        times a second. Raises ``FleetError`` without an authority, and for a name that is taken.
        """
        if self.authority is None:
            raise FleetError(f"{self._where} holds no authority to issue with: it was imported")
        if isinstance(devices, int):
            with reserved(self._connection, self.path, prefix, devices) as names:
                self._issue(self.authority, names, key, validity, progress)
        else:
            self._issue(self.authority, devices, key, validity, progress)

    def add(self, device: str, credential: Credential, *, generation: int | None = None) -> None:
        """Make ``credential`` the active one of ``device``; the one that was active becomes superseded.

        ``generation`` is by default the next one. Raises ``FleetError`` for a generation that is not newer
        than those known, a certificate that the fleet holds already, and a name that no device can have.
        """
        self._add([(device, credential)], generation)

    def add_many(self, credentials: Iterable[tuple[str, Credential]]) -> None:
        """Add each, as ``add`` does, in one transaction: all or none."""
        self._add(credentials, None)

    def revoke(self, device: str, *, generation: int | None = None) -> None:
        """Mark one credential revoked, by default the active one; raise ``FleetError`` if there is none."""
        with self._transaction():
            changed = self._connection.execute(
                "UPDATE credential SET status = 'revoked' WHERE device = :device AND"
                " CASE WHEN :generation IS NULL THEN status = 'active' ELSE generation = :generation END",
                {"device": device, "generation": generation},
            ).rowcount
        if not changed:
            raise FleetError(f"{self._where} holds no such credential of {device!r} to revoke")

    def credentials(self, limit: int | None = None) -> list[tuple[str, Credential]]:
        """Return the active credential of each device, in the order of their names; the first ``limit``."""
        chains = self._chains()
        rows = self._rows(
            "SELECT device, certificate, key, chain FROM credential"
            " WHERE status = 'active' ORDER BY device LIMIT ?",
            _limit(limit),
        )
        return [(device, Credential(leaf, key, chains[chain])) for device, leaf, key, chain in rows]

    def credential(self, device: str) -> Credential:
        """Return the active credential of one device; raise ``FleetError`` where it has none."""
        rows = self._rows(
            "SELECT certificate, key, chain FROM credential WHERE device = ? AND status = 'active'", device
        )
        for leaf, key, chain in rows:
            return Credential(leaf, key, self._chains()[chain])
        raise FleetError(f"{self._where} holds no active credential of {device!r}")

    def devices(self, status: Status | None = None, limit: int | None = None) -> Iterator[DeviceRecord]:
        """Yield a record of each credential, in the order of devices and generations; the first ``limit``."""
        rows = self._rows(
            "SELECT device, generation, status, serial_number, fingerprint, not_before, not_after"
            " FROM credential WHERE status = coalesce(?, status) ORDER BY device, generation LIMIT ?",
            status,
            _limit(limit),
        )
        for device, generation, state, serial, fingerprint, start, end in rows:
            yield DeviceRecord(
                device, generation, Status(state), int(serial, 16), fingerprint, _moment(start), _moment(end)
            )

    def summary(self) -> Summary:
        """Return the fleet in a few numbers, as of now."""
        ((devices,),) = self._rows("SELECT count(DISTINCT device) FROM credential")
        counts = dict(self._rows("SELECT status, count(*) FROM credential GROUP BY status"))
        ((expired, first, last),) = self._rows(
            "SELECT count(*) FILTER (WHERE not_after <= ?), min(not_after), max(not_after)"
            " FROM credential WHERE status = 'active'",
            int(clock.wall().timestamp()),
        )
        return Summary(
            authority=self.authority.name if self.authority else None,
            trust_anchors=len(self.trust_anchors),
            devices=devices,
            certificates={status: counts.get(status, 0) for status in Status},
            expired=expired,
            first_expiry=None if first is None else _moment(first),
            last_expiry=None if last is None else _moment(last),
        )

    def _issue(
        self,
        authority: Authority,
        devices: Sequence[str],
        key: KeyKind,
        validity: timedelta,
        progress: Callable[[int], object] | None,
    ) -> None:
        self._refuse_known(devices)
        kept = 0
        with closing(authority.issue_devices(devices, key=key, validity=validity)) as issued:
            for batch in _batches(zip(devices, issued, strict=True)):
                self.add_many(batch)
                kept += len(batch)
                if progress is not None:
                    progress(kept)

    def _refuse_known(self, devices: Sequence[str]) -> None:
        known = {device for (device,) in self._rows("SELECT DISTINCT device FROM credential")}
        if taken := sorted(known.intersection(devices)):
            raise FleetError(
                f"{self._where} already holds {len(taken)} of these devices, such as {taken[0]!r}"
            )

    def _add(self, credentials: Iterable[tuple[str, Credential]], generation: int | None) -> None:
        chains: dict[tuple[bytes, ...], int | None] = {(): None}
        with self._transaction():
            for device, credential in credentials:
                chain = credential.chain
                if chain not in chains:
                    chains[chain] = self._keep_chain(chain)
                number = self._supersede(check_name(device), generation)
                self._insert(device, credential, number, chains[chain])

    def _insert(self, device: str, credential: Credential, generation: int, chain: int | None) -> None:
        certificate = credential.x509()
        try:
            self._connection.execute(
                "INSERT INTO credential VALUES (?, ?, 'active', ?, ?, ?, ?, ?, ?, ?)",
                (
                    device,
                    generation,
                    f"{certificate.serial_number:x}",
                    credential.fingerprint,
                    int(certificate.not_valid_before_utc.timestamp()),
                    int(certificate.not_valid_after_utc.timestamp()),
                    credential.certificate,
                    credential.key,
                    chain,
                ),
            )
        except sqlite3.IntegrityError:
            raise FleetError(
                f"{self._where} already holds the certificate of {device!r} ({credential.fingerprint[:16]}…):"
                " each device needs one of its own"
            ) from None

    def _supersede(self, device: str, generation: int | None) -> int:
        """Make way for a new credential of a device; return its generation."""
        (latest,) = self._connection.execute(
            "SELECT coalesce(max(generation), 0) FROM credential WHERE device = ?", (device,)
        ).fetchone()
        if generation is not None and generation <= latest:
            raise FleetError(f"{device!r} is at generation {latest} already, so {generation} cannot be added")
        self._connection.execute(
            "UPDATE credential SET status = 'superseded' WHERE device = ? AND status = 'active'", (device,)
        )
        return generation or latest + 1

    def _keep_chain(self, chain: tuple[bytes, ...]) -> int:
        """Return the row of a chain: devices of one issuer share it."""
        text = pem.certificates(chain)
        self._connection.execute("INSERT OR IGNORE INTO chain (certificates) VALUES (?)", (text,))
        (row,) = self._connection.execute("SELECT id FROM chain WHERE certificates = ?", (text,)).fetchone()
        return int(row)

    def _chains(self) -> dict[int | None, tuple[bytes, ...]]:
        chains: dict[int | None, tuple[bytes, ...]] = {None: ()}
        for row, text in self._rows("SELECT id, certificates FROM chain"):
            parsed = x509.load_pem_x509_certificates(text.encode("ascii"))
            chains[row] = tuple(one.public_bytes(serialization.Encoding.DER) for one in parsed)
        return chains

    def _transaction(self) -> AbstractContextManager[None]:
        return fleet_file.transaction(self._connection, self.path)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with fleet_file.explained(self.path):
            return self._connection.execute(query, values).fetchall()

    @property
    def _where(self) -> str:
        return str(self.path or "the fleet in memory")


def _keep_authority(connection: sqlite3.Connection, path: Path | None, authority: Authority | None) -> None:
    if authority is None:
        return
    root, issuing = authority.root_credential, authority.issuing_credential
    keys = (root.certificate, root.key, issuing.certificate, issuing.key)
    with fleet_file.transaction(connection, path):
        connection.execute("INSERT INTO authority VALUES (1, ?, ?, ?, ?)", keys)
        connection.execute("INSERT INTO trust_anchor VALUES (?)", (root.certificate,))


def _batches(pairs: Iterable[tuple[str, Credential]]) -> Iterator[list[tuple[str, Credential]]]:
    batch: list[tuple[str, Credential]] = []
    began = monotonic()
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH_ROWS or monotonic() - began > _BATCH_SECONDS:
            yield batch
            batch, began = [], monotonic()
    if batch:
        yield batch


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit  # SQLite: negative is no limit


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
