"""Certificates that vouch for themselves: no authority, and each of them is its own trust anchor.

Small fleets and early ones often live like this. A broker has to be told of every single certificate, and
withdraws one by forgetting it: no authority could list it as revoked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from simulator.identity import keys
from simulator.identity.authority import DEVICE_VALIDITY
from simulator.identity.credential import Credential
from simulator.identity.issuer import Issuer, common_name, device_profile
from simulator.identity.naming import check_name
from simulator.identity.spread import spread
from simulator.identity.validity import period
from simulator.scenario.kinds import KeyKind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from datetime import datetime, timedelta

__all__ = ["self_signed", "self_signed_many"]


def self_signed(
    device: str,
    *,
    key: KeyKind = KeyKind.EC_P256,
    validity: timedelta = DEVICE_VALIDITY,
    not_before: datetime | None = None,
) -> Credential:
    """Return a client credential with ``device`` as its common name, signed with its own key.

    It is no authority (RFC 5280 section 4.2.1.9): who trusts it trusts this device and nobody else. Arguments
    and errors are those of ``Authority.issue_device``.
    """
    private = keys.generate(key)
    issuer = Issuer(common_name(check_name(device)), private)
    span = period(validity, not_before=not_before)
    certificate = issuer.certify_itself(span, device_profile(private.public_key()))
    return Credential(certificate, keys.encode(private))


def self_signed_many(
    devices: Iterable[str], *, key: KeyKind = KeyKind.EC_P256, validity: timedelta = DEVICE_VALIDITY
) -> Generator[Credential, None, None]:
    """Yield a credential for each name, in order, each made when it is asked for; slow keys on all cores."""
    make = partial(self_signed, key=key, validity=validity)
    yield from spread(make, devices) if key in keys.SLOW else map(make, devices)
