"""TLS as a device speaks it: settings, and the shared contexts that connections are made from.

One ``SSL.Context`` serves all devices with the same settings and the same intermediates; a device's own
certificate and key go on its connection. That is what makes a certificate per device cheap: no context and
no file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL, crypto

from simulator.errors import UsageError
from simulator.link import openssl
from simulator.scenario.kinds import TlsVersion

if TYPE_CHECKING:
    import socket

    from simulator.link.key_log import KeyLog
    from simulator.link.openssl import LoadedCredential

__all__ = ["TlsClient", "TlsSettings"]

NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: no search of the trust store for the device's own chain (0.08 ms a handshake)."""
RELEASE_BUFFERS = 0x10
"""SSL_MODE_RELEASE_BUFFERS: an idle connection holds no record buffers (about 34 KiB less)."""

LOWEST = {
    TlsVersion.V12: SSL.TLS1_2_VERSION,
    TlsVersion.V13: SSL.TLS1_3_VERSION,
    TlsVersion.ANY: SSL.TLS1_2_VERSION,
}
HIGHEST = {
    TlsVersion.V12: SSL.TLS1_2_VERSION,
    TlsVersion.V13: SSL.TLS1_3_VERSION,
    TlsVersion.ANY: SSL.TLS1_3_VERSION,
}


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What a device offers and what it demands in a handshake.

    ``ciphers`` takes TLS 1.3 suites (``TLS_…``) and TLS 1.2 ones by OpenSSL's names; empty tuples leave
    OpenSSL's defaults. ``trust`` holds the trust anchors for the broker's certificate, DER; empty means the
    system's.
    """

    version: TlsVersion = TlsVersion.ANY
    groups: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    trust: tuple[bytes, ...] = ()
    verify_host_name: bool = True


class TlsClient:
    """Makes the client side of TLS connections to one host; secrets go to ``key_log`` where there is one."""

    def __init__(self, settings: TlsSettings, host: str, key_log: KeyLog | None = None) -> None:
        self.settings = settings
        self.host = host
        self._key_log = key_log
        self._server_name = None if is_address(host) else encoded(host)
        self._contexts: dict[tuple[bytes, ...], SSL.Context] = {}

    def connection(self, sock: socket.socket | None, credential: LoadedCredential | None) -> SSL.Connection:
        """Return a connection over ``sock``, or in memory without one, that is ready for its handshake.

        Without a credential the device shows no certificate. Raises UsageError where OpenSSL refuses a
        setting.
        """
        connection = SSL.Connection(self.context(credential.chain if credential else ()), sock)
        if credential is not None:
            credential.give_to(connection)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        connection.set_connect_state()
        return connection

    def check(self) -> None:
        """Raise UsageError where OpenSSL refuses one of the settings, before the first device needs them."""
        self.context(())

    def try_on(self, credential: LoadedCredential) -> None:
        """Raise ValueError where OpenSSL cannot show this credential, before a link wants to.

        That costs 30 µs.
        """
        try:
            context = self.context(credential.chain)
        except SSL.Error as error:
            openssl.forget_errors()
            raise ValueError("OpenSSL cannot use the chain of this certificate") from error
        except ValueError as error:
            raise ValueError(f"the chain of this certificate cannot be read: {error}") from error
        credential.give_to(SSL.Connection(context))

    def context(self, chain: tuple[bytes, ...]) -> SSL.Context:
        """Return the context that devices with these intermediates share (DER, the device's issuer first)."""
        context = self._contexts.get(chain)
        if context is None:
            context = self._contexts[chain] = self._new_context(chain)
        return context

    def _new_context(self, chain: tuple[bytes, ...]) -> SSL.Context:
        settings = self.settings
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(LOWEST[settings.version])
        context.set_max_proto_version(HIGHEST[settings.version])
        context.set_mode(NO_AUTO_CHAIN | RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_verify(SSL.VERIFY_PEER)
        if settings.verify_host_name:
            openssl.expect_host(context, self.host)
        if self._key_log is not None:
            context.set_keylog_callback(self._key_log.add)
        self._trust(context)
        for intermediate in chain:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(intermediate))
        self._offer(context)
        return context

    def _trust(self, context: SSL.Context) -> None:
        if not self.settings.trust:
            context.set_default_verify_paths()
            return
        store = context.get_cert_store()
        if store is None:
            raise UsageError("OpenSSL has no trust store for this context")
        for anchor in self.settings.trust:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor))

    def _offer(self, context: SSL.Context) -> None:
        settings = self.settings
        suites = [name for name in settings.ciphers if name.startswith("TLS_")]
        older = [name for name in settings.ciphers if not name.startswith("TLS_")]
        try:
            if settings.groups:
                openssl.set_groups(context, settings.groups)
            if suites:
                context.set_tls13_ciphersuites(":".join(suites).encode())
            if older:
                context.set_cipher_list(":".join(older).encode())
        except SSL.Error as error:
            raise UsageError(f"OpenSSL does not know these ciphers: {', '.join(settings.ciphers)}") from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        if settings.alpn:
            context.set_alpn_protos(protocols(settings.alpn))


def encoded(host: str) -> bytes:
    """Return a host name as DNS and certificates have it; raise UsageError where they cannot."""
    try:
        return host.encode("idna")
    except UnicodeError as error:
        raise UsageError(f"{host} is not a name that DNS can hold, so no certificate can carry it") from error


def protocols(names: tuple[str, ...]) -> list[bytes]:
    """Return ALPN protocol names as bytes; raise UsageError for one that is not 1 to 255 ASCII characters."""
    for name in names:
        if not (name.isascii() and 0 < len(name) < 256):  # RFC 7301 3.1
            raise UsageError(f"{name[:40]!r} is no ALPN protocol: 1 to 255 ASCII characters, such as mqtt")
    return [name.encode("ascii") for name in names]


def is_address(host: str) -> bool:
    """Tell an IP address from a DNS name: only a name goes into SNI (RFC 6066 3)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
