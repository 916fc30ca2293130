"""The form of a certificate: what all that one issuer signs for one purpose and period have in common.

The cryptography library writes a specimen, and the form takes from it all that is not a device's own: the
version, the algorithm, the issuer, the validity and the extensions. What has a star is filled in (RFC 5280
section 4.1):

    Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue* }
    TBSCertificate ::= SEQUENCE { version, serialNumber*, signature, issuer, validity, subject*,
                                  subjectPublicKeyInfo*, extensions }, which end with a keyIdentifier*

A certificate takes half the time that it takes the library, which goes through each extension anew; most of
what is left is the key and the signature. Knows nothing of extensions, but for the last, and of who signs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from simulator.identity.der import bit_string, elements, integer, octets, sequence, set_of, utf8_string

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.identity.keys import PublicKey

__all__ = ["Form"]

_COMMON_NAME = bytes.fromhex("0603550403")  # the OID 2.5.4.3
_KEY_IDENTIFIER_OCTETS = 20  # SHA-1 of the key's bits, RFC 5280 section 4.2.1.2 (1)
_KEY_INFO = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class Form:
    """Makes certificates like ``specimen`` (DER), whose last extension has to be subjectKeyIdentifier."""

    def __init__(self, specimen: bytes) -> None:
        to_be_signed, self._algorithm, _ = elements(specimen)
        self._version, _, algorithm, issuer, validity, _, _, extensions = elements(to_be_signed)
        self._issued = algorithm + issuer + validity
        self._extensions = extensions[:-_KEY_IDENTIFIER_OCTETS]

    def filled(self, serial_number: int, name: str, key: PublicKey, sign: Callable[[bytes], bytes]) -> bytes:
        """Return the certificate (DER) of CN=``name``; ``sign`` signs as the specimen was signed.

        A serial number is positive and has at most 159 bits (RFC 5280 section 4.1.2.2: 20 octets).
        """
        key_info = key.public_bytes(*_KEY_INFO)
        _, key_bits = elements(key_info)
        to_be_signed = sequence(
            self._version,
            integer(serial_number),
            self._issued,
            sequence(set_of(sequence(_COMMON_NAME, utf8_string(name)))),
            key_info,
            self._extensions,
            hashlib.sha1(octets(key_bits), usedforsecurity=False).digest(),
        )
        return sequence(to_be_signed, self._algorithm, bit_string(sign(to_be_signed)))
