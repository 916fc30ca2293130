"""Fleet files whose keys are sealed: what is on the disk, what opens it, and what changes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulator.errors import FleetError
from simulator.identity.authority import Authority
from simulator.identity.keys import decode
from simulator.identity.record import Status
from simulator.identity.store import FleetStore
from simulator.identity.vault import WrongPassphraseError

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.identity.credential import Credential

PASSPHRASE, OTHER = "correct horse", "battery staple"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core2.fleet"


def opened(path: Path, passphrase: str = PASSPHRASE) -> FleetStore:
    return FleetStore.open(path, lambda _: passphrase)


def keys(authority: Authority, credentials: list[tuple[str, Credential]]) -> list[bytes]:
    """Return the secret numbers of all private keys: what must not be found on the disk."""
    own = [authority.root_credential, authority.issuing_credential]
    return [number(one) for one in (*own, *(credential for _, credential in credentials))]


def number(credential: Credential) -> bytes:
    key = decode(credential.key)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32)


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def test_a_protected_fleet_is_the_same_fleet_and_no_key_is_on_the_disk(path: Path) -> None:
    authority = Authority.create("Acme")
    with FleetStore.create(path, authority, passphrase=PASSPHRASE) as store:
        assert store.is_protected
        store.issue(20)
        before = store.credentials()
        found = on_disk(path)
    secrets = keys(authority, before)
    assert not [secret for secret in secrets if secret in found + on_disk(path)]
    asked: list[Path] = []

    def ask(one: Path) -> str:
        asked.append(one)
        return PASSPHRASE

    with FleetStore.open(path, ask) as store:
        assert store.credentials() == before
        assert store.credential("device-00003") == before[2][1]
        assert store.authority is not None
        assert store.authority.issuing_credential == authority.issuing_credential
        store.issue(1)
    assert asked == [path]


def test_what_needs_no_key_needs_no_passphrase(path: Path) -> None:
    with FleetStore.create(path, Authority.create("Acme"), passphrase=PASSPHRASE) as store:
        store.issue(3)
    with FleetStore.open(path) as store:
        store.revoke("device-00002")
        assert [row.status for row in store.devices()] == [Status.ACTIVE, Status.REVOKED, Status.ACTIVE]
        assert (store.summary().authority, store.summary().protected) == ("Acme", True)
        assert len(store.trust_anchors) == 1
        for need in (store.credentials, store.unlock, store.revocation_lists, lambda: store.issue(1)):
            with pytest.raises(FleetError, match="by a passphrase, and none was given"):
                need()


def test_a_wrong_passphrase_is_one_clear_sentence(path: Path) -> None:
    FleetStore.create(path, Authority.create("Acme"), passphrase=PASSPHRASE).close()
    with opened(path, "guess") as store, pytest.raises(WrongPassphraseError) as refused:
        store.unlock()
    assert str(refused.value) == f"this is not the passphrase of {path}"
    assert refused.value.__suppress_context__


def test_a_file_is_protected_later_and_nothing_is_left_of_its_keys(path: Path) -> None:
    authority = Authority.create("Acme")
    with FleetStore.create(path, authority) as store:
        store.issue(50)
        store.add("device-00001", authority.issue_device("device-00001"))
        before, secrets = store.credentials(), keys(authority, store.credentials())
        assert all(secret in on_disk(path) for secret in secrets)
        store.protect(PASSPHRASE)
        assert not [secret for secret in secrets if secret in on_disk(path)]
        assert store.credentials() == before
    assert not [secret for secret in secrets if secret in on_disk(path)]
    with opened(path) as store:
        assert store.credentials() == before
        store.unprotect()
        store.unprotect()
        assert not store.is_protected
    with FleetStore.open(path) as store:
        assert store.credentials() == before


def test_another_passphrase_takes_the_place_of_the_first_with_another_data_key(path: Path) -> None:
    with FleetStore.create(path, Authority.create("Acme"), passphrase=PASSPHRASE) as store:
        store.issue(1)
        before = store.credentials()
        sealed = kept_key(path)
    with opened(path) as store:
        store.protect(OTHER)
    with opened(path) as store, pytest.raises(WrongPassphraseError):
        store.credentials()
    with opened(path, OTHER) as store:
        assert store.credentials() == before
    put_key(path, sealed)
    with opened(path, OTHER) as store, pytest.raises(FleetError, match="does not open"):
        store.credentials()


def test_only_who_knows_the_passphrase_changes_it(path: Path) -> None:
    FleetStore.create(path, Authority.create("Acme"), passphrase=PASSPHRASE).close()
    for change in (FleetStore.unprotect, lambda store: store.protect(OTHER)):
        with opened(path, "guess") as store, pytest.raises(WrongPassphraseError):
            change(store)
    with opened(path) as store:
        store.unlock()


def test_an_empty_passphrase_is_refused_and_leaves_no_file(path: Path) -> None:
    with pytest.raises(FleetError, match="an empty passphrase protects nothing"):
        FleetStore.create(path, passphrase="")
    assert not path.exists()


def test_who_had_the_file_open_while_it_was_protected_writes_and_reads_no_more(path: Path) -> None:
    authority = Authority.create("Acme")
    with FleetStore.create(path, authority) as early, FleetStore.open(path) as late:
        early.issue(1)
        assert not early.is_protected
        late.protect(PASSPHRASE)
        with pytest.raises(FleetError, match="was changed by another process meanwhile: open it again"):
            early.add("x", authority.issue_device("x"))
        with pytest.raises(FleetError, match="was protected by another process meanwhile"):
            early.credentials()
        assert late.names() == ["device-00001"]


def test_traces_that_another_process_keeps_are_told_of(path: Path) -> None:
    with FleetStore.create(path, Authority.create("Acme")) as store:
        store.issue(1)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM credential").fetchone()
            with pytest.raises(FleetError, match="is in use by another process, so that traces"):
                store.protect(PASSPHRASE)
        store.protect(PASSPHRASE)


def test_a_fleet_in_memory_can_be_protected_too() -> None:
    with FleetStore.in_memory(Authority.create("Acme")) as store:
        store.issue(2)
        before = store.credentials()
        store.protect(PASSPHRASE)
        assert store.credentials() == before


def kept_key(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        ((key,),) = connection.execute("SELECT key FROM credential")
    return bytes(key)


def put_key(path: Path, key: bytes) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE credential SET key = ?", (key,))
