"""A certificate authority: a root, and below it the issuing intermediate that signs devices and brokers.

    >>> authority = Authority.create("Acme")
    >>> device = authority.issue_device("core2-00001", validity=timedelta(days=365))
    >>> broker = authority.issue_server(["localhost", "127.0.0.1"], validity=timedelta(days=30))

Knows nothing of fleets and files: it holds its keys in memory, and ``simulator.identity.store`` keeps it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509

from simulator.errors import FleetError
from simulator.identity import keys, pem
from simulator.identity.credential import Credential
from simulator.identity.issuer import (
    Issuer,
    authority_profile,
    common_name,
    device_profile,
    node_profile,
    server_profile,
)
from simulator.identity.naming import MAX_LENGTH, check_name
from simulator.identity.spread import spread
from simulator.identity.validity import period
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from datetime import datetime

    from simulator.identity.issuer import Profile
    from simulator.identity.keys import PublicKey

__all__ = ["AUTHORITY_VALIDITY", "DEVICE_VALIDITY", "Authority", "name_of"]

AUTHORITY_VALIDITY = timedelta(days=30 * 365)
"""Longer than the 28 years that a secure element such as the ATECC608 is certified for."""

DEVICE_VALIDITY = timedelta(days=365)

_ISSUING = " issuing"
_HOST = re.compile(
    r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*", re.IGNORECASE
)


class Authority:
    """Issues credentials whose chain is the issuing intermediate; a verifier trusts ``root``."""

    def __init__(self, root: Credential, issuing: Credential) -> None:
        certificate = issuing.x509()
        self.root_credential = root
        self.issuing_credential = issuing
        self.name = name_of(issuing.certificate)
        self._not_after = certificate.not_valid_after_utc
        self._issuer = Issuer(certificate.subject, keys.decode(issuing.key))
        self._chain = (issuing.certificate,)

    def __repr__(self) -> str:
        return f"<Authority {self.name!r}>"

    @classmethod
    def create(
        cls,
        name: str,
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = AUTHORITY_VALIDITY,
        not_before: datetime | None = None,
    ) -> Authority:
        """Return a new hierarchy: ``<name> root``, with ``<name> issuing`` below it, both valid as long.

        Raises ``FleetError`` for a name that does not fit a common name.
        """
        longest = MAX_LENGTH - len(_ISSUING)
        if not name.isprintable() or not 0 < len(name.encode()) <= longest:
            raise FleetError(
                f"the name of an authority has 1 to {longest} bytes in UTF-8, all of them printable,"
                f" and {name!r} has not"
            )
        span = period(validity, not_before=not_before)
        root_key, issuing_key = keys.generate(key), keys.generate(key)
        root = Issuer(common_name(f"{name} root"), root_key)
        certificate = root.certify_itself(span, authority_profile(path_length=1))
        profile = authority_profile(path_length=0)
        issuing = root.certify(f"{name}{_ISSUING}", issuing_key.public_key(), span, profile)
        return cls(
            Credential(certificate, keys.encode(root_key)),
            Credential(issuing, keys.encode(issuing_key)),
        )

    @property
    def root(self) -> bytes:
        """The root certificate, DER: what a verifier trusts."""
        return self.root_credential.certificate

    @property
    def issuing(self) -> bytes:
        """The intermediate certificate that signs, DER: what a leaf sends along."""
        return self.issuing_credential.certificate

    @property
    def root_pem(self) -> str:
        """The root certificate as PEM: what a broker wants for its ``cafile``."""
        return pem.certificates([self.root])

    def issue_device(
        self,
        device: str,
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = DEVICE_VALIDITY,
        not_before: datetime | None = None,
    ) -> Credential:
        """Return a client credential with ``device`` as its common name.

        ``validity`` runs from now, or from ``not_before`` where that is given (see
        ``simulator.identity.validity``). Raises ``FleetError`` for a name that no device can have, and for a
        validity that outlives this authority.
        """
        private = keys.generate(key)
        public = private.public_key()
        certificate = self._certify(check_name(device), public, validity, not_before, device_profile(public))
        return Credential(certificate, keys.encode(private), self._chain)

    def issue_devices(
        self,
        devices: Iterable[str],
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = DEVICE_VALIDITY,
        not_before: datetime | None = None,
    ) -> Generator[Credential, None, None]:
        """Yield a credential for each name, in order, each issued when it is asked for.

        RSA keys are made on all cores, a little ahead of the caller. For other keys threads would only get in
        each other's way: most of their work holds the interpreter lock.
        """
        issue = partial(self.issue_device, key=key, validity=validity, not_before=not_before)
        yield from spread(issue, devices) if key in keys.SLOW else map(issue, devices)

    def issue_server(
        self,
        names: Sequence[str],
        *,
        key: KeyKind = KeyKind.EC_P256,
        validity: timedelta = DEVICE_VALIDITY,
        not_before: datetime | None = None,
    ) -> Credential:
        """Return a broker's credential for ``names``: host names and IP addresses, as clients write them.

        Raises ``FleetError`` where there is no name, or one that a certificate cannot state.
        """
        private = keys.generate(key)
        public = private.public_key()
        profile = server_profile(public, x509.SubjectAlternativeName(_server_names(names)))
        certificate = self._certify(f"{self.name} broker", public, validity, not_before, profile)
        return Credential(certificate, keys.encode(private), self._chain)

    def issue_node(self, name: str, *, validity: timedelta) -> Credential:
        """Return the credential of a cluster's node, as TLS server and client, with ``name`` as common name.

        It states no host name: whoever is in such a cluster is known by this authority alone. Raises
        ``FleetError`` as ``issue_device`` does.
        """
        private = keys.generate(KeyKind.EC_P256)
        public = private.public_key()
        certificate = self._certify(check_name(name), public, validity, None, node_profile(public))
        return Credential(certificate, keys.encode(private), self._chain)

    def _certify(
        self,
        name: str,
        key: PublicKey,
        validity: timedelta,
        not_before: datetime | None,
        profile: Profile,
    ) -> bytes:
        span = period(validity, not_before=not_before)
        if span.not_after > self._not_after:
            raise FleetError(
                f"a certificate until {span.not_after:%Y-%m-%d} would outlive its authority {self.name!r},"
                f" which ends on {self._not_after:%Y-%m-%d}: choose a shorter validity"
            )
        return self._issuer.certify(name, key, span, profile)


def name_of(issuing: bytes) -> str:
    """Return the name of an authority by its issuing certificate (DER)."""
    (attribute,) = x509.load_der_x509_certificate(issuing).subject
    return str(attribute.value).removesuffix(_ISSUING)


def _server_names(names: Sequence[str]) -> list[x509.GeneralName]:
    if not names:
        raise FleetError("a broker's certificate needs a host name or an address that clients reach it by")
    return [_server_name(name) for name in names]


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if not _HOST.fullmatch(name):
        raise FleetError(f"{name!r} is neither a host name nor an IP address, so no certificate can state it")
    return x509.DNSName(name)
