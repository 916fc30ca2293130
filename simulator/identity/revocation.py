"""Certificate revocation lists (RFC 5280 section 5): signed by the authority that issued the certificates.

    >>> revoked = [Entry(serial_number, Revocation(clock.wall(), Reason.KEY_COMPROMISE))]
    >>> sign_crl(authority.issuing_credential, revoked, number=7, updates=updates(timedelta(days=7)))

The issuing intermediate lists the devices. The root lists nothing, for it has certified the intermediate
only; but a verifier that checks the whole chain (OpenSSL's ``X509_V_FLAG_CRL_CHECK_ALL``) wants a list of
every issuer. Our own brokers check the leaf alone (``X509_V_FLAG_CRL_CHECK``), as mosquitto does, which
cannot be told otherwise: an authority's own certificate is a trust anchor's business.

Knows nothing of files and fleets.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulator.identity import keys
from simulator.identity.record import Reason
from simulator.identity.validity import period

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from simulator.identity.credential import Credential
    from simulator.identity.record import Revocation

__all__ = ["CRL_VALIDITY", "Entry", "Updates", "sign_crl", "updates"]

CRL_VALIDITY = timedelta(days=7)

_SECOND = timedelta(seconds=1)


class Entry(NamedTuple):
    """One revoked certificate, by the number that its issuer gave it."""

    serial_number: int
    revocation: Revocation


class Updates(NamedTuple):
    """From when a list holds (thisUpdate), and by when the next one comes (nextUpdate), in UTC."""

    this: datetime
    following: datetime


def updates(validity: timedelta, *, after: datetime | None = None) -> Updates:
    """Return the times of a list that holds for ``validity`` from now on.

    thisUpdate lies a little in the past, for verifiers whose clock is behind (see
    ``simulator.identity.validity``). It is at least a second after that of the list before (``after``): of
    two lists that it has, OpenSSL believes the one with the later thisUpdate, whatever their numbers.

    Raises ``FleetError`` for a validity of less than a second, or one that ends after the year 9999.
    """
    span = period(validity)
    this = span.not_before if after is None else max(span.not_before, after + _SECOND)
    return Updates(this, max(span.not_after, this + _SECOND))


def sign_crl(issuer: Credential, entries: Iterable[Entry], *, number: int, updates: Updates) -> bytes:
    """Return the DER of a complete list: of the certificates of ``issuer``, all that are revoked."""
    certificate, key = issuer.x509(), keys.decode(issuer.key)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    # All entries at once: added one by one, each would copy those before it.
    form = (
        x509.CertificateRevocationListBuilder(revoked_certificates=[_entry(one) for one in entries])
        .issuer_name(certificate.subject)
        .last_update(updates.this)
        .next_update(updates.following)
        .add_extension(identifier, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    return form.sign(key, keys.issuing_hash(key)).public_bytes(serialization.Encoding.DER)


def _entry(entry: Entry) -> x509.RevokedCertificate:
    form = (
        x509.RevokedCertificateBuilder()
        .serial_number(entry.serial_number)
        .revocation_date(entry.revocation.at)
    )
    if entry.revocation.reason is not Reason.UNSPECIFIED:  # RFC 5280 section 5.3.1: absent rather than 0
        form = form.add_extension(
            x509.CRLReason(x509.ReasonFlags(entry.revocation.reason.value)), critical=False
        )
    return form.build()
