"""Who vouches for a certificate: the way from a leaf up to a root, among the certificates at hand.

Works on signatures and names only (RFC 5280 section 6.1 without policies, constraints and dates: a broker
judges those). Knows nothing of files and fleets.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TrustPath", "find_path", "is_authority", "vouches_for"]


@dataclass(frozen=True, slots=True)
class TrustPath:
    """Intermediates, the issuer of the leaf first, and the root where it is known.

    A self-signed leaf is its own root.
    """

    intermediates: tuple[x509.Certificate, ...]
    root: x509.Certificate | None


def find_path(leaf: x509.Certificate, candidates: Iterable[x509.Certificate]) -> TrustPath:
    """Return the way up from ``leaf`` as far as ``candidates`` reach; a root is preferred to a detour."""
    by_subject: dict[x509.Name, list[x509.Certificate]] = defaultdict(list)
    for candidate in candidates:
        by_subject[candidate.subject].append(candidate)
    path = [leaf]
    while not vouches_for(path[-1], path[-1]):
        # Cross-signed authorities can form a circle, so nobody is asked twice.
        issuers = [
            one for one in by_subject[path[-1].issuer] if one not in path and vouches_for(one, path[-1])
        ]
        if not issuers:
            return TrustPath(tuple(path[1:]), None)
        path.append(min(issuers, key=lambda one: one.issuer != one.subject))
    return TrustPath(tuple(path[1:-1]), path[-1])


def vouches_for(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether ``issuer`` signed ``certificate``, by name and by signature."""
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others; one without basic constraints may if it signed itself."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.subject == certificate.issuer
