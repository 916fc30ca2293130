"""One PEM file read: the certificates and the private keys in it, parsed.

Knows what a file holds, not what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from simulator.errors import FleetError
from simulator.identity import pem
from simulator.identity.keys import PrivateKey

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PemFile", "read"]

_CERTIFICATES = {"CERTIFICATE", "X509 CERTIFICATE"}
_BESIDE_THE_POINT = {"PUBLIC KEY", "RSA PUBLIC KEY", "EC PARAMETERS", "CERTIFICATE REQUEST", "X509 CRL"}


@dataclass(frozen=True, slots=True)
class PemFile:
    """What one file holds, in its order."""

    path: Path
    certificates: tuple[x509.Certificate, ...]
    keys: tuple[PrivateKey, ...] = field(repr=False)


def read(path: Path) -> PemFile:
    """Read a file; raise ``FleetError`` that names it where it is not PEM, damaged, or a key is encrypted."""
    try:
        blocks = pem.blocks(path.read_bytes())
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror}") from None
    if not blocks:
        raise FleetError(
            f"{path} holds no PEM: convert DER with `openssl x509` or `openssl pkey -inform der`"
        )
    certificates = tuple(_certificate(block, path) for block in blocks if block.label in _CERTIFICATES)
    keys = tuple(_key(block, path) for block in blocks if block.label.endswith("PRIVATE KEY"))
    if not certificates and not keys and not _BESIDE_THE_POINT.issuperset(block.label for block in blocks):
        raise FleetError(f"{path} holds {blocks[0].label}, and neither a certificate nor a private key")
    return PemFile(path, certificates, keys)


def _certificate(block: pem.Block, path: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(block.text)
        # Parsed when first asked for, and whoever asks later does not know the file any more.
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        raise FleetError(f"{path} holds a certificate that is damaged, or breaks RFC 5280") from None
    return certificate


def _key(block: pem.Block, path: Path) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(
            block.text, password=None, unsafe_skip_rsa_key_validation=True
        )
        if isinstance(key, rsa.RSAPrivateKey):
            _prove(key)
    except TypeError:
        raise FleetError(
            f"the private key in {path} is encrypted: decrypt it with `openssl pkey -in {path} -out …`"
        ) from None
    except (ValueError, UnsupportedAlgorithm, InternalError, InvalidSignature):
        raise FleetError(
            f"the private key in {path} is damaged, or of a kind that TLS does not take"
        ) from None
    if not isinstance(key, PrivateKey):
        raise FleetError(f"the private key in {path} is of a kind that TLS cannot authenticate with")
    return key


def _prove(key: rsa.RSAPrivateKey) -> None:
    """Sign and verify once: it shows what matters, and testing the primes takes thirty times as long."""
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    key.public_key().verify(key.sign(b"proof", scheme, digest), b"proof", scheme, digest)
