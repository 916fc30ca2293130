"""The few OpenSSL calls that pyOpenSSL binds but does not offer, or wraps at a cost that a fleet feels.

pyOpenSSL checks a chain but not the host name, hides why a chain was refused, cannot choose the groups of a
key share, takes a credential only as objects that it encodes and decodes again (60 µs a connect), and keeps
a TLS session only as an object that OpenSSL spoils where the connection breaks. Its ``send`` and ``recv``
spend 2.4 µs each around the call, a third of what a message costs. All of these are single calls on the
bindings below pyOpenSSL; they stand here so that no other module knows of them.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NoReturn

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.identity.credential import Credential

__all__ = [
    "RECORD",
    "WANT_READ",
    "WANT_WRITE",
    "LoadedCredential",
    "expect_host",
    "forget_errors",
    "native_connection",
    "openssl_version",
    "read_buffer",
    "reason",
    "resumed",
    "session_id",
    "session_of",
    "set_groups",
    "set_session",
    "ssl_read",
    "ssl_write",
    "verify_result",
    "verify_words",
    "view",
    "wants",
    "writable",
]

RECORD = 16_384
"""Most plaintext that a TLS record holds (RFC 8446 5.1): reading so much leaves nothing behind in OpenSSL."""

WANT_READ: int = lib.SSL_ERROR_WANT_READ
WANT_WRITE: int = lib.SSL_ERROR_WANT_WRITE

NO_PARTIAL_WILDCARDS = 0x4
"""X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: ``*.example.org`` may match, ``d*.example.org`` not (RFC 9525)."""

read_buffer = ffi.new("char[]", RECORD)
"""Where a read puts what one record brought, until ``view`` copies it out."""

# Called for every message: a Python function around each would cost as much as all of its work.
ssl_read: Callable[[Any, Any, int], int] = lib.SSL_read
ssl_write: Callable[[Any, Any, int], int] = lib.SSL_write
view: Callable[[Any, int], Any] = ffi.buffer
writable: Callable[[bytearray], Any] = ffi.from_buffer


def native_connection(connection: SSL.Connection) -> Any:
    """Return what ``ssl_read`` and ``ssl_write`` take; the connection must outlive it."""
    return native(connection, "_ssl")


def wants(connection: SSL.Connection, result: int) -> int:
    """Return what a read or a write that gave ``result``, just now, waits for: WANT_READ, WANT_WRITE or 0."""
    error: int = lib.SSL_get_error(native(connection, "_ssl"), result)
    return error if error in {WANT_READ, WANT_WRITE} else 0


def reason(connection: SSL.Connection, result: int) -> SSL.Error:
    """Return why a read or a write that gave ``result``, just now, failed, as ``Connection.recv`` does."""
    fail: Callable[[Any, int], NoReturn] = native(connection, "_raise_ssl_error")
    try:
        fail(native(connection, "_ssl"), result)
    except SSL.Error as error:
        return error
    finally:
        forget_errors()


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


class LoadedCredential:
    """A credential as OpenSSL wants it, ready for any number of connections.

    Raises ValueError where OpenSSL cannot read certificate or key. To load one costs about 0.1 ms; a
    connection shares what is loaded, so that nothing more is kept for as long as it lasts.
    """

    __slots__ = ("_certificate", "_key", "chain")

    def __init__(self, credential: Credential) -> None:
        self.chain = credential.chain
        try:
            self._certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, credential.certificate)
            self._key = crypto.load_privatekey(crypto.FILETYPE_ASN1, credential.key)
        except crypto.Error as error:
            forget_errors()
            raise ValueError("OpenSSL cannot read this certificate and key") from error

    def give_to(self, connection: SSL.Connection) -> None:
        """Let a connection show this certificate; raises ValueError where the key is not that of it."""
        ssl = native(connection, "_ssl")
        accepted = lib.SSL_use_certificate(ssl, native(self._certificate, "_x509"))
        if accepted != 1 or lib.SSL_use_PrivateKey(ssl, native(self._key, "_pkey")) != 1:
            forget_errors()
            raise ValueError("this private key is not that of the certificate")


def verify_result(connection: SSL.Connection) -> int:
    """Return why the peer's chain was refused: an ``X509_V_ERR_…`` code, 0 where it was not."""
    code: int = lib.SSL_get_verify_result(native(connection, "_ssl"))
    return code


def session_of(connection: SSL.Connection) -> bytes:
    """Return the session of a connection whose handshake is over, in OpenSSL's encoding.

    It holds secrets, and under TLS 1.3 the ticket that came last. OpenSSL would not offer the session itself
    again where the connection broke; what is read from the encoding knows nothing of that.
    """
    session = lib.SSL_get_session(native(connection, "_ssl"))
    encoded = ffi.new("unsigned char[]", lib.i2d_SSL_SESSION(session, ffi.NULL))
    lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", encoded))
    return bytes(ffi.buffer(encoded))


def session_id(session: bytes) -> bytes:
    """Return the id of an encoded session; empty where there is nothing to resume it by.

    The server's session id under TLS 1.2; where it sent a ticket, a hash of that. It is the fourth element of
    the sequence, after version, protocol and cipher, which take eleven bytes (``SSL_SESSION_ASN1``). The
    length of the sequence is in long form, for the server's certificate is in it.
    """
    header = 2 + (session[1] & 0x7F)
    start = header + 3 + 4 + 4 + 2
    return session[start : start + session[start - 1]]


def set_session(connection: SSL.Connection, session: bytes) -> None:
    """Let a connection offer an encoded session in its handshake.

    Raises ValueError where OpenSSL cannot read it or does not take it.
    """
    content = ffi.from_buffer("unsigned char[]", session)
    decoded = lib.d2i_SSL_SESSION(ffi.NULL, ffi.new("const unsigned char **", content), len(session))
    done = decoded != ffi.NULL and lib.SSL_set_session(native(connection, "_ssl"), decoded) == 1
    lib.SSL_SESSION_free(decoded)
    if not done:
        forget_errors()
        raise ValueError("OpenSSL cannot offer this session")


def resumed(connection: SSL.Connection) -> bool:
    """Tell whether the server took the session that it was offered."""
    return bool(lib.SSL_session_reused(native(connection, "_ssl")))


def verify_words(code: int) -> str:
    """Return what OpenSSL says in words for an ``X509_V_ERR_…`` code."""
    words: bytes = ffi.string(lib.X509_verify_cert_error_string(code))
    return words.decode()


def openssl_version() -> str:
    """Return the version of the OpenSSL that speaks TLS here, such as 4.0.0: not that of ``ssl``."""
    return SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1]


def forget_errors() -> None:
    """Empty the thread's error queue, which all connections share (ERR_get_error(3)).

    A reset stays in it even after it was raised, and pyOpenSSL would take it for the cause of what another
    connection meets next.
    """
    lib.ERR_clear_error()


def native(wrapper: object, attribute: str) -> Any:
    """Return what one of pyOpenSSL's objects keeps to itself."""
    return getattr(wrapper, attribute)
