"""Signing certificates (RFC 5280): the profiles of CA, device, broker and node, and who signs them.

A *profile* is the extensions that do not depend on the one who is certified. Knows nothing of hierarchies,
fleets or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulator.identity.form import Form
from simulator.identity.keys import issuing_hash, signer

if TYPE_CHECKING:
    from simulator.identity.keys import PrivateKey, PublicKey
    from simulator.identity.validity import Period

__all__ = [
    "Issuer",
    "Profile",
    "authority_profile",
    "common_name",
    "device_profile",
    "node_profile",
    "server_profile",
]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What a certificate may be used for, as extensions, each with whether it is critical."""

    extensions: tuple[tuple[x509.ExtensionType, bool], ...]


def authority_profile(path_length: int) -> Profile:
    """Return the profile of a CA with at most ``path_length`` CAs below it (RFC 5280 section 4.2.1.9)."""
    return Profile(
        (
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (_key_usage(key_cert_sign=True, crl_sign=True), True),
        )
    )


def device_profile(key: PublicKey) -> Profile:
    """Return the profile of a TLS client."""
    return _leaf_profile((ExtendedKeyUsageOID.CLIENT_AUTH,), isinstance(key, rsa.RSAPublicKey))


def server_profile(key: PublicKey, names: x509.SubjectAlternativeName) -> Profile:
    """Return the profile of a TLS server known by ``names`` (RFC 9525: a client looks nowhere else)."""
    leaf = _leaf_profile((ExtendedKeyUsageOID.SERVER_AUTH,), isinstance(key, rsa.RSAPublicKey))
    return Profile((*leaf.extensions, (names, False)))


def node_profile(key: PublicKey) -> Profile:
    """Return the profile of a cluster's node, which is TLS server to some peers and client to others."""
    purposes = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _leaf_profile(purposes, isinstance(key, rsa.RSAPublicKey))


@cache
def _leaf_profile(purposes: tuple[x509.ObjectIdentifier, ...], enciphers: bool) -> Profile:
    # RFC 5246 section 7.4.7.1: TLS 1.2 with RSA key exchange encrypts to the key; nothing else ever does.
    return Profile(
        (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(digital_signature=True, key_encipherment=enciphers), True),
            (x509.ExtendedKeyUsage(purposes), False),
        )
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def common_name(name: str) -> x509.Name:
    """Return the distinguished name that is just ``CN=name``."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Issuer:
    """A name and the private key that signs for it."""

    def __init__(self, name: x509.Name, key: PrivateKey) -> None:
        self._name = name
        self._key = key
        self._sign = signer(key)
        self._key_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        self._form = lru_cache(maxsize=4)(self._new_form)

    def certify(self, name: str, key: PublicKey, period: Period, profile: Profile) -> bytes:
        """Return the DER of a certificate for ``CN=name``, with a random serial number of 159 bits."""
        return self._form(profile, period).filled(x509.random_serial_number(), name, key, self._sign)

    def certify_itself(self, period: Period, profile: Profile) -> bytes:
        """Return the DER of a certificate that this issuer signs for its own name and key."""
        key = self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(period.not_before)
            .not_valid_after(period.not_after)
            .add_extension(self._key_identifier, critical=False)
        )
        for extension, critical in profile.extensions:
            builder = builder.add_extension(extension, critical)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return builder.sign(self._key, issuing_hash(self._key)).public_bytes(serialization.Encoding.DER)

    def _new_form(self, profile: Profile, period: Period) -> Form:
        """Return the form for one profile and period: while a fleet is issued, a new one each second."""
        return Form(self.certify_itself(period, profile))
