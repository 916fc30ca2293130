"""The TLS side of the embedded broker's listener. This module must not know MQTT."""

from __future__ import annotations

import base64
import logging
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["tls_context"]

_log = logging.getLogger(__name__)


class _AlertingConnection(ssl.SSLObject):
    """A TLS connection that has its alert sent before it fails.

    The event loop drops the connection as soon as a handshake fails, with the alert that says why (RFC 8446,
    6.2) still unsent; a device would see a bare end of stream. So the first failure is told as "wants to
    read": the loop sends what there is to send, and the peer's reaction to the alert, or the handshake's
    timeout, ends the connection.
    """

    _refused = False

    def do_handshake(self) -> None:
        """Go on with the handshake (see the class)."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self._refused:
                raise
            self._refused = True
            _log.warning("refused a client: %s", getattr(error, "verify_message", None) or error.reason)
            raise ssl.SSLWantReadError from error


def tls_context(trust: Iterable[str], chain: str, key: str) -> ssl.SSLContext:
    """Return the listener's settings: TLS 1.2 at least, and no client without a certificate.

    ``trust`` are DER certificates in base64 that the clients' certificates chain to; any may be an
    intermediate. ``chain`` and ``key`` are the broker's own, in PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.sslobject_class = _AlertingConnection
    for der in trust:
        context.load_verify_locations(cadata=base64.b64decode(der))
    # The ssl module reads keys from files only; this one is gone in a moment.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_text(key + chain)
        context.load_cert_chain(path)
    return context
