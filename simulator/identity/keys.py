"""Private keys: made, encoded as PKCS#8 DER (RFC 5958), decoded again, and how each signs certificates.

Knows nothing of certificates, devices or files.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from simulator.errors import FleetError
from simulator.identity.spread import spread
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "SLOW",
    "PrivateKey",
    "PublicKey",
    "decode",
    "encode",
    "generate",
    "generate_many",
    "issuing_hash",
    "signer",
]

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
)
"""The private keys that a TLS 1.2 or 1.3 client can authenticate with; ``generate`` makes all but Ed448."""

PublicKey: TypeAlias = (
    ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | rsa.RSAPublicKey
)

SLOW = frozenset({KeyKind.RSA_2048, KeyKind.RSA_3072})
"""Kinds that take tens of milliseconds to make, and are worth all cores."""

_PKCS8 = (
    serialization.Encoding.DER,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
_PUBLIC_EXPONENT = 65537  # FIPS 186-5 appendix A.1.1 asks for more than 2^16; everybody takes the first prime


def generate(kind: KeyKind) -> PrivateKey:
    """Return a new private key from the operating system's randomness, whatever the seed of a run is."""
    match kind:
        case KeyKind.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyKind.RSA_2048:
            return rsa.generate_private_key(_PUBLIC_EXPONENT, 2048)
        case KeyKind.RSA_3072:
            return rsa.generate_private_key(_PUBLIC_EXPONENT, 3072)


def generate_many(kind: KeyKind, count: int) -> Iterator[PrivateKey]:
    """Yield ``count`` new keys as they are ready, made on all cores: RSA takes tens of milliseconds each."""
    return spread(generate, (kind for _ in range(count)))


def encode(key: PrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8 DER."""
    return key.private_bytes(*_PKCS8)


def decode(der: bytes) -> PrivateKey:
    """Return the key that ``encode`` wrote.

    An RSA key is not proved to be one again (that takes longer than a handshake): what comes from outside is
    checked once, when it is imported. Raises ``FleetError``, which never quotes the bytes.
    """
    try:
        key = serialization.load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FleetError("a stored private key is not PKCS#8 DER: the fleet file is damaged") from None
    if not isinstance(key, PrivateKey):
        raise FleetError("a stored private key is of a kind that TLS cannot authenticate with")
    return key


def issuing_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """Return the hash that a certificate signed by ``key`` uses, no weaker than the key.

    RFC 8410 section 3: Edwards-curve signatures hash by themselves, and name no hash.
    """
    match key:
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return None
        case _:
            return _hash(key)


def signer(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs the DER of a certificate, under ``issuing_hash``: ECDSA, EdDSA or RSA PKCS#1 v1.5."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return partial(key.sign, signature_algorithm=ec.ECDSA(_hash(key)))
        case rsa.RSAPrivateKey():
            return partial(key.sign, padding=padding.PKCS1v15(), algorithm=_hash(key))
        case _:
            return key.sign


def _hash(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> hashes.SHA256 | hashes.SHA384:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()
