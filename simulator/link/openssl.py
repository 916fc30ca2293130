"""The few OpenSSL calls that pyOpenSSL binds but does not offer.

pyOpenSSL checks a chain but not the host name, hides why a chain was refused, cannot choose the groups of a
key share, and takes a credential only as objects that it encodes and decodes again (60 µs a connect). Each
of these is one call on the same bindings; they stand here together so that no other module knows what lies
under pyOpenSSL.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from OpenSSL._util import lib

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["expect_host", "set_credential", "set_groups", "verify_result"]

NO_PARTIAL_WILDCARDS = 0x4
"""X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: ``*.example.org`` may match, ``dev*.example.org`` may not (RFC 6125 6.4.3)."""


def expect_host(context: SSL.Context, host: str) -> None:
    """Let the handshake fail unless the server's certificate names ``host``, a DNS name or an IP address."""
    parameters = lib.SSL_CTX_get0_param(native(context, "_context"))
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, NO_PARTIAL_WILDCARDS)
    try:
        address = ip_address(host).packed
    except ValueError:
        name = host.encode("idna")
        done = lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    else:
        done = lib.X509_VERIFY_PARAM_set1_ip(parameters, address, len(address))
    if done != 1:
        raise ValueError(f"not a host name or address: {host!r}")


def set_groups(context: SSL.Context, groups: Sequence[str]) -> None:
    """Offer these key exchange groups, in this order (RFC 8446 4.2.7).

    Raises ValueError where OpenSSL does not know one of them.
    """
    if lib.SSL_CTX_set1_curves_list(native(context, "_context"), ":".join(groups).encode()) != 1:
        lib.ERR_clear_error()
        raise ValueError(f"OpenSSL does not offer these groups: {', '.join(groups)}")


def set_credential(connection: SSL.Connection, certificate: bytes, key: bytes) -> None:
    """Give one connection its own certificate and private key, both DER."""
    ssl = native(connection, "_ssl")
    leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)
    secret = crypto.load_privatekey(crypto.FILETYPE_ASN1, key)
    accepted = lib.SSL_use_certificate(ssl, native(leaf, "_x509"))
    if accepted != 1 or lib.SSL_use_PrivateKey(ssl, native(secret, "_pkey")) != 1:
        lib.ERR_clear_error()
        raise ValueError("OpenSSL refuses this certificate and key")


def verify_result(connection: SSL.Connection) -> int:
    """Return why the peer's chain was refused: an ``X509_V_ERR_…`` code, 0 where it was not."""
    code: int = lib.SSL_get_verify_result(native(connection, "_ssl"))
    return code


def native(wrapper: object, attribute: str) -> Any:
    """Return the OpenSSL pointer inside one of pyOpenSSL's objects."""
    return getattr(wrapper, attribute)
