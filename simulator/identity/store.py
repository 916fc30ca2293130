"""A fleet: the credentials of its devices in one SQLite file, with the authority that issued them.

The file holds private keys, so only its owner can read it (mode 0600) from the moment it exists; SQLite
gives its ``-wal`` and ``-shm`` siblings the same mode. It is crash-safe: credentials come in whole rows, and
what was committed survives a power cut. Several processes can use it at once. The keys in it can be sealed
with a passphrase (``simulator.identity.vault``); what needs no key, such as a list of the devices, needs no
passphrase either.

    >>> with FleetStore.create(Path("core2.fleet"), Authority.create("Acme")) as fleet:
    ...     fleet.issue(500, prefix="core2-")
    ...     fleet.credentials()

Knows nothing of PEM folders, scenarios or progress bars.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulator import clock
from simulator.errors import FleetError
from simulator.identity import fleet_file, ledger, succession
from simulator.identity.authority import DEVICE_VALIDITY, Authority, name_of
from simulator.identity.credential import Credential
from simulator.identity.numbering import reserved
from simulator.identity.protection import Protection
from simulator.identity.record import DeviceRecord, Reason, Revocation, Status, Summary
from simulator.identity.revocation import CRL_VALIDITY
from simulator.identity.self_signed import self_signed_many
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from simulator.identity.protection import Passphrase

__all__ = ["FleetStore"]

# What a crash or an interruption can lose: RSA keys are slow, so time counts as well as rows.
_BATCH_ROWS = 500
_BATCH_SECONDS = 0.25


class FleetStore:
    """The credentials of one fleet; a context manager that closes its file.

    ``passphrase`` is asked for that of a protected file when a key is needed first, or at ``unlock``.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, passphrase: Passphrase | None = None
    ) -> None:
        self._connection = connection
        self.path = path
        self._protection = Protection(connection, path, passphrase)

    def __repr__(self) -> str:
        return f"<FleetStore {self.path or 'in memory'}>"

    @classmethod
    def create(cls, path: Path, authority: Authority | None = None, *, passphrase: str | None = None) -> Self:
        """Make a new fleet file, with its keys sealed where there is a passphrase.

        Raises ``FleetError`` where ``path`` exists or cannot be written.
        """
        store = cls(fleet_file.create_file(path), path)
        try:
            if passphrase is not None:
                store.protect(passphrase)
            store._keep(authority)
        except BaseException:
            store.close()
            path.unlink()
            raise
        return store

    @classmethod
    def open(cls, path: Path, passphrase: Passphrase | None = None) -> Self:
        """Open a fleet file; raise ``FleetError`` where it is missing, no fleet, or of a newer version."""
        return cls(fleet_file.open_file(path), path, passphrase)

    @classmethod
    def in_memory(cls, authority: Authority | None = None) -> Self:
        """Make a fleet that never touches the disk and is gone when it is closed."""
        store = cls(fleet_file.in_memory(), None)
        store._keep(authority)
        return store

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
            return Authority(self._credential(root, root_key), self._credential(issuing, issuing_key))
        return None

    @property
    def trust_anchors(self) -> tuple[bytes, ...]:
        """DER of the certificates that a broker must trust to accept this fleet.

        A self-signed certificate that is revoked is not among them: that is all that revoking it can mean.
        """
        rows = self._rows(
            "SELECT certificate FROM trust_anchor WHERE certificate NOT IN"
            " (SELECT certificate FROM credential WHERE status = 'revoked') ORDER BY rowid"
        )
        return tuple(der for (der,) in rows)

    def add_trust_anchor(self, certificate: bytes) -> None:
        """Keep a certificate (DER) that vouches for some of the fleet; harmless when it is known already."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO trust_anchor VALUES (?)", (certificate,))

    @property
    def is_protected(self) -> bool:
        """Whether the keys in the file are sealed with a passphrase."""
        return self._protection.is_on

    def unlock(self) -> None:
        """Ask for the passphrase of a protected file now, not when a key is needed first.

        Raises ``FleetError`` where it is wrong, and where there is nobody to ask.
        """
        self._protection.unlock()

    def protect(self, passphrase: str) -> None:
        """Seal all keys with a passphrase, or with another one; ``FleetError`` where they do not open."""
        if not passphrase:
            raise FleetError("an empty passphrase protects nothing: choose a longer one")
        self._protection.change(passphrase)

    def unprotect(self) -> None:
        """Keep all keys as they are, for whoever can read the file; harmless where they are so already.

        Raises ``FleetError`` where the passphrase is wrong.
        """
        if self.is_protected:
            self._protection.change(None)

    def issue(
        self,
        devices: int | Sequence[str],
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = DEVICE_VALIDITY,
        prefix: str = "device-",
        progress: Callable[[int], object] | None = None,
        self_signed: bool = False,
    ) -> None:
        """Issue the first credential of new devices: so many, named ``<prefix>00001`` and on, or these.

        Numbers go on where the prefix left off. Calls ``progress`` with how many are safely kept, several
        times a second. Raises ``FleetError`` for a name that is taken, without an authority, and for
        self-signed ones where there is an authority: a broker that looks at its lists would refuse them.
        """
        source = self._source(self_signed=self_signed)
        if isinstance(devices, int):
            with reserved(self._connection, self.path, prefix, devices) as names:
                self._issue(names, source(names, key=key, validity=validity), progress)
        else:
            self._issue(devices, source(devices, key=key, validity=validity), progress)

    def add(self, device: str, credential: Credential, *, generation: int | None = None) -> None:
        """Make ``credential`` the active one of ``device``; the one that was active becomes superseded.

        ``generation`` is by default the next one. Raises ``FleetError`` for a generation that is not newer
        than those known, a certificate that the fleet holds already, and a name that no device can have.
        """
        self._add([(device, credential)], generation)

    def add_many(self, credentials: Iterable[tuple[str, Credential]]) -> None:
        """Add each, as ``add`` does, in one transaction: all or none."""
        self._add(credentials, None)

    def revoke(
        self, device: str, *, generation: int | None = None, reason: Reason = Reason.UNSPECIFIED
    ) -> bool:
        """Revoke one credential, by default the active one, for good; see ``simulator.identity.ledger``.

        Returns False, and changes nothing, where it is revoked already. Raises ``FleetError`` where there is
        none such.
        """
        return self.revoke_many([device], generation=generation, reason=reason) == [device]

    def revoke_many(
        self, devices: Iterable[str], *, generation: int | None = None, reason: Reason = Reason.UNSPECIFIED
    ) -> list[str]:
        """Revoke a credential of each device in one transaction, all or none; return whose was not before."""
        with self._transaction():
            return [
                device
                for device in devices
                if ledger.revoke(self._connection, self.path, device, generation, reason)
            ]

    def revocation_lists(self, validity: timedelta = CRL_VALIDITY) -> tuple[bytes, ...]:
        """Sign a new list (CRL, DER) of each authority: the issuing one, then the root.

        Raises ``FleetError`` without an authority.
        """
        authority = self.authority
        if authority is None:
            raise FleetError(
                f"{self._where} holds no authority to sign a revocation list with: whoever issued an imported"
                " certificate does that, and brokers are told to forget a self-signed one"
            )
        with self._transaction():
            return ledger.sign_lists(self._connection, authority, validity)

    def credentials(
        self, limit: int | None = None, status: Status = Status.ACTIVE
    ) -> list[tuple[str, Credential]]:
        """Return the credential of each device whose latest has ``status``, by name; the first ``limit``."""
        chains = self._chains()
        rows = self._rows(
            "SELECT device, certificate, key, chain FROM credential AS this WHERE status = ? AND generation ="
            " (SELECT max(generation) FROM credential WHERE device = this.device) ORDER BY device LIMIT ?",
            status,
            _limit(limit),
        )
        return [(device, self._credential(leaf, key, chains[chain])) for device, leaf, key, chain in rows]

    def credential(self, device: str) -> Credential:
        """Return the active credential of one device; raise ``FleetError`` where it has none."""
        rows = self._rows(
            "SELECT certificate, key, chain FROM credential WHERE device = ? AND status = 'active'", device
        )
        for leaf, key, chain in rows:
            return self._credential(leaf, key, self._chains()[chain])
        raise FleetError(f"{self._where} holds no active credential of {device!r}")

    def names(self, status: Status = Status.ACTIVE, limit: int | None = None) -> list[str]:
        """Return the devices whose latest credential has ``status``, in order; the first ``limit``."""
        rows = self._rows(
            "SELECT device FROM credential AS this WHERE status = ? AND generation ="
            " (SELECT max(generation) FROM credential WHERE device = this.device) ORDER BY device LIMIT ?",
            status,
            _limit(limit),
        )
        return [device for (device,) in rows]

    def devices(self, status: Status | None = None, limit: int | None = None) -> Iterator[DeviceRecord]:
        """Yield a record of each credential, in the order of devices and generations; the first ``limit``."""
        rows = self._rows(
            "SELECT device, generation, status, serial_number, fingerprint, not_before, not_after, at, reason"
            " FROM credential LEFT JOIN revocation USING (device, generation)"
            " WHERE status = coalesce(?, status) ORDER BY device, generation LIMIT ?",
            status,
            _limit(limit),
        )
        for device, generation, state, serial, fingerprint, start, end, at, reason in rows:
            yield DeviceRecord(
                device,
                generation,
                Status(state),
                int(serial, 16),
                fingerprint,
                not_before=_moment(start),
                not_after=_moment(end),
                revocation=None if at is None else Revocation(_moment(at), Reason(reason)),
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
        reasons = dict(self._rows("SELECT reason, count(*) FROM revocation GROUP BY reason"))
        ((self_signed,),) = self._rows(
            "SELECT count(*) FROM credential JOIN trust_anchor USING (certificate) WHERE status = 'active'"
        )
        return Summary(
            authority=self._authority_name(),
            protected=self.is_protected,
            self_signed=self_signed,
            trust_anchors=len(self.trust_anchors),
            devices=devices,
            certificates={status: counts.get(status, 0) for status in Status},
            reasons={reason: reasons[reason] for reason in Reason if reason in reasons},
            expired=expired,
            first_expiry=None if first is None else _moment(first),
            last_expiry=None if last is None else _moment(last),
        )

    def _source(self, *, self_signed: bool) -> Callable[..., Generator[Credential, None, None]]:
        """Return what makes credentials for names."""
        if self_signed and self._authority_name() is None:
            return self_signed_many
        if self_signed:
            raise FleetError(
                f"{self._where} has the authority {self._authority_name()!r}: self-signed certificates need a"
                " fleet file of their own"
            )
        if self.authority is None:
            raise FleetError(
                f"{self._where} holds no authority to issue with: it was imported, or its certificates are"
                " self-signed"
            )
        return self.authority.issue_devices

    def _issue(
        self,
        devices: Sequence[str],
        source: Generator[Credential, None, None],
        progress: Callable[[int], object] | None,
    ) -> None:
        self._refuse_known(devices)
        kept = 0
        with closing(source) as issued:
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
        self.unlock()
        with self._transaction():
            self._protection.refuse_changed()
            succession.add(self._connection, self.path, self._protection, credentials, generation)

    def _chains(self) -> dict[int | None, tuple[bytes, ...]]:
        chains: dict[int | None, tuple[bytes, ...]] = {None: ()}
        for row, text in self._rows("SELECT id, certificates FROM chain"):
            parsed = x509.load_pem_x509_certificates(text.encode("ascii"))
            chains[row] = tuple(one.public_bytes(serialization.Encoding.DER) for one in parsed)
        return chains

    def _authority_name(self) -> str | None:
        """Return the name of the authority, for which no key is needed."""
        for (issuing,) in self._rows("SELECT issuing_certificate FROM authority"):
            return name_of(issuing)
        return None

    def _credential(self, leaf: bytes, key: bytes, chain: tuple[bytes, ...] = ()) -> Credential:
        return Credential(leaf, self._protection.opened(key, leaf), chain)

    def _keep(self, authority: Authority | None) -> None:
        """Keep the authority of a new fleet."""
        if authority is None:
            return
        root, issuing = authority.root_credential, authority.issuing_credential
        keys = [self._protection.as_kept(one.key, one.certificate) for one in (root, issuing)]
        with self._transaction():
            self._connection.execute(
                "INSERT INTO authority VALUES (1, ?, ?, ?, ?)",
                (root.certificate, keys[0], issuing.certificate, keys[1]),
            )
            self._connection.execute("INSERT INTO trust_anchor VALUES (?)", (root.certificate,))

    def _transaction(self) -> AbstractContextManager[None]:
        return fleet_file.transaction(self._connection, self.path)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with fleet_file.explained(self.path):
            return self._connection.execute(query, values).fetchall()

    @property
    def _where(self) -> str:
        return str(self.path or "the fleet in memory")


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
