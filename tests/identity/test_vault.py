"""Sealing keys: what opens again, and all that does not."""

from __future__ import annotations

import os
from functools import cache
from time import perf_counter

import pytest

from simulator.errors import FleetError
from simulator.identity.vault import Lock, Vault, WrongPassphraseError, is_sealed

KEY, CERTIFICATE = b"\x30 a private key", b"\x30 its certificate"
PASSPHRASE = "Zürich, 6 a.m."


@cache
def locked() -> tuple[Vault, Lock]:
    vault = Vault.create()
    return vault, vault.lock(PASSPHRASE)


def test_a_sealed_key_opens_beside_its_certificate() -> None:
    vault, _ = locked()
    sealed = vault.seal(KEY, CERTIFICATE)
    assert KEY not in sealed
    assert (is_sealed(sealed), is_sealed(KEY)) == (True, False)
    assert vault.open(sealed, CERTIFICATE) == KEY


def test_no_two_seals_are_alike() -> None:
    vault, _ = locked()
    assert len({vault.seal(KEY, CERTIFICATE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("sealed", "certificate"),
    [
        (lambda sealed: sealed, b"\x30 another certificate"),
        (lambda sealed: sealed[:-1], CERTIFICATE),
        (lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), CERTIFICATE),
        (lambda sealed: sealed[:1] + os.urandom(12) + sealed[13:], CERTIFICATE),
        (lambda sealed: b"\x02" + sealed[1:], CERTIFICATE),
        (lambda sealed: sealed[:5], CERTIFICATE),
        (lambda _: KEY, CERTIFICATE),
        (lambda _: b"", CERTIFICATE),
    ],
)
def test_what_was_tampered_with_does_not_open(sealed: object, certificate: bytes) -> None:
    vault, _ = locked()
    assert callable(sealed)
    with pytest.raises(FleetError, match="does not open") as refused:
        vault.open(sealed(vault.seal(KEY, CERTIFICATE)), certificate)
    assert "private key" not in str(refused.value).replace("a sealed private key", "")


def test_another_vault_does_not_open_it() -> None:
    vault, _ = locked()
    with pytest.raises(FleetError):
        Vault.create().open(vault.seal(KEY, CERTIFICATE), CERTIFICATE)


def test_the_passphrase_opens_the_vault_however_its_letters_are_composed() -> None:
    vault, lock = locked()
    sealed = vault.seal(KEY, CERTIFICATE)
    assert lock.open("Zu\u0308rich, 6 a.m.").open(sealed, CERTIFICATE) == KEY


def test_a_wrong_passphrase_is_refused() -> None:
    _, lock = locked()
    with pytest.raises(WrongPassphraseError, match=r"^the passphrase is wrong$"):
        lock.open(PASSPHRASE + " ")


def test_a_damaged_lock_does_not_open() -> None:
    _, lock = locked()
    with pytest.raises(WrongPassphraseError):
        Lock(lock.salt, lock.data_key[:-1] + b"\0").open(PASSPHRASE)


def test_nothing_secret_is_shown() -> None:
    vault, lock = locked()
    for shown in (repr(vault), str(vault), repr(lock), str(lock)):
        assert lock.data_key.hex() not in shown
        assert repr(lock.data_key) not in shown
        assert "data_key" not in shown


def test_ten_thousand_keys_open_in_less_than_a_third_of_a_second() -> None:
    vault, _ = locked()
    sealed = [(vault.seal(KEY * 8, CERTIFICATE * 30), CERTIFICATE * 30) for _ in range(1_000)]
    began = perf_counter()
    for _ in range(10):
        for key, certificate in sealed:
            vault.open(key, certificate)
    assert perf_counter() - began < 0.3
