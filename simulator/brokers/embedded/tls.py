"""The TLS side of the embedded broker's listener. This module must not know MQTT."""

from __future__ import annotations

import base64
import logging
import ssl
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ListenerContext"]

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


class ListenerContext(ssl.SSLContext):
    """The listener's settings: TLS 1.2 at least, and no client without a certificate.

    The event loop knows one context for as long as it listens, and asks it for each connection. That
    connection gets its settings from another one, which is made anew for each change of the revocation lists.
    So an old list is gone, and with it the keys of the session tickets: a client that was revoked could
    resume with its ticket otherwise, and no list is looked at in a resumption.
    """

    def __new__(cls, *_: object) -> Self:
        """Make a context, which no connection uses."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, trust: Sequence[str], chain: str, key: str, crls: str) -> None:
        """Take DER certificates in base64 that clients' chain to, the broker's own in PEM, and lists in PEM.

        Any of ``trust`` may be an intermediate, or a client's own certificate. Without ``crls``, no lists are
        looked at.
        """
        self._trust = [base64.b64decode(der) for der in trust]
        self._own = key + chain
        self.take_crls(crls)

    def take_crls(self, crls: str) -> None:
        """Judge every connection that comes from now on by these lists."""
        self._current = _tls_context(self._trust, self._own, crls)

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Return the TLS side of one more connection."""
        return self._current.wrap_bio(*args, **kwargs)


def _tls_context(trust: Iterable[bytes], own: str, crls: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.sslobject_class = _AlertingConnection
    for der in trust:
        context.load_verify_locations(cadata=der)
    with _file_with(own) as path:
        context.load_cert_chain(path)
    if crls:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        with _file_with(crls) as path:
            context.load_verify_locations(path)
    return context


@contextmanager
def _file_with(text: str) -> Iterator[Path]:
    """Hold ``text`` in a file for a moment: the ssl module reads keys and lists from files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.pem")
        path.touch(mode=0o600)
        path.write_text(text)
        yield path
