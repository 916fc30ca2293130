"""A credential: what a device (or a broker) proves its identity with.

Plain bytes, so that it can be stored, pickled and sent to another process as it is. Its private key never
appears in its ``repr``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509

from simulator.identity import pem

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Credential"]


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A leaf certificate, its private key, and the intermediates up to a root that is not included.

    ``certificate`` and ``chain`` are DER, the issuer of the leaf first; ``key`` is PKCS#8 DER.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    chain: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"<Credential {self.fingerprint[:16]}…, {len(self.chain)} intermediate(s)>"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER in hexadecimal: what AWS IoT calls the certificate id."""
        return hashlib.sha256(self.certificate).hexdigest()

    @property
    def serial_number(self) -> int:
        """The number that the issuer gave this certificate, unique for this issuer."""
        return self.x509().serial_number

    @property
    def not_before(self) -> datetime:
        """First second of validity, in UTC."""
        return self.x509().not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """Last second of validity, in UTC (see ``simulator.identity.validity``)."""
        return self.x509().not_valid_after_utc

    def x509(self) -> x509.Certificate:
        """Return the leaf parsed; costs some microseconds at each call."""
        return x509.load_der_x509_certificate(self.certificate)

    def certificate_pem(self) -> str:
        """Return the leaf alone."""
        return pem.certificates([self.certificate])

    def chain_pem(self) -> str:
        """Return the leaf, then the intermediates: what TLS sends, in that order (RFC 8446 section 4.4.2)."""
        return pem.certificates([self.certificate, *self.chain])

    def key_pem(self) -> str:
        """Return the private key as unencrypted PKCS#8; keep it where only its owner can read."""
        return pem.private_key(self.key)
