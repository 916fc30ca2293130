"""Sealing private keys at rest: what stands in a fleet file in the place of a key, and how it opens again.

A random *data key* of 256 bits seals each private key with AES-256-GCM (NIST SP 800-38D), under a nonce of
96 random bits, with the certificate as associated data: a sealed key opens beside its own certificate only.
The data key is sealed in the same way, with a key that scrypt (RFC 7914) derives from the passphrase and a
salt of 128 random bits. N = 2^17, r = 8, p = 1 take 128 MiB and about half a second, once for each opening of
a file; ten thousand keys then open in some tens of milliseconds.

What this is for: a fleet file that is copied or lost gives nothing away but certificates. It does not help
against somebody who reads this process's memory, or who knows the passphrase.

Knows nothing of files and of where a passphrase comes from. Nothing secret is in a ``repr`` or an error.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from simulator.errors import FleetError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Lock", "Vault", "WrongPassphraseError", "is_sealed"]

_SCHEME = b"\x01"  # the DER of a key starts with 0x30, so the two cannot be taken for each other
_NONCE_BYTES = 12
_SALT_BYTES = 16
_KEY_BYTES = 32
_COST, _BLOCK_SIZE, _PARALLELISM = 2**17, 8, 1
_DATA_KEY = b"data key"


class WrongPassphraseError(FleetError):
    """The passphrase does not open the data key."""


@dataclass(frozen=True, slots=True, repr=False)
class Lock:
    """What a file keeps so that the passphrase, and nothing else, opens its vault again."""

    salt: bytes
    data_key: bytes

    def open(self, passphrase: str) -> Vault:
        """Return the vault; raise ``WrongPassphraseError`` where the passphrase is not that of the file."""
        try:
            return Vault(_open(_derived(passphrase, self.salt), self.data_key, _DATA_KEY))
        except InvalidTag:
            raise WrongPassphraseError("the passphrase is wrong") from None


class Vault:
    """Seals and opens the private keys of one file."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key
        self._cipher = AESGCM(data_key)

    @classmethod
    def create(cls) -> Self:
        """Return a vault with a new data key."""
        return cls(os.urandom(_KEY_BYTES))

    def lock(self, passphrase: str) -> Lock:
        """Return the lock that ``passphrase`` opens."""
        salt = os.urandom(_SALT_BYTES)
        return Lock(salt, _seal(_derived(passphrase, salt), self._data_key, _DATA_KEY))

    def seal(self, key: bytes, certificate: bytes) -> bytes:
        """Return what is kept in the place of a private key that belongs to ``certificate`` (DER)."""
        return _seal(self._cipher, key, certificate)

    def open(self, sealed: bytes, certificate: bytes) -> bytes:
        """Return the private key; raise ``FleetError`` where it is not one that this vault has sealed."""
        try:
            return _open(self._cipher, sealed, certificate)
        except InvalidTag:
            raise FleetError(
                "a sealed private key does not open: the fleet file is damaged, or was protected anew"
                " meanwhile"
            ) from None


def is_sealed(key: bytes) -> bool:
    """Return whether ``key`` is what a vault made of a private key."""
    return key.startswith(_SCHEME)


def _derived(passphrase: str, salt: bytes) -> AESGCM:
    # Normalised (RFC 8265 section 4.2), for keyboards differ in how they compose an accented letter.
    text = unicodedata.normalize("NFC", passphrase).encode()
    scrypt = Scrypt(salt=salt, length=_KEY_BYTES, n=_COST, r=_BLOCK_SIZE, p=_PARALLELISM)
    return AESGCM(scrypt.derive(text))


def _seal(cipher: AESGCM, secret: bytes, belongs_to: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _SCHEME + nonce + cipher.encrypt(nonce, secret, belongs_to)


def _open(cipher: AESGCM, sealed: bytes, belongs_to: bytes) -> bytes:
    start = len(_SCHEME) + _NONCE_BYTES
    if not is_sealed(sealed) or len(sealed) < start:
        raise InvalidTag
    return cipher.decrypt(sealed[len(_SCHEME) : start], sealed[start:], belongs_to)
