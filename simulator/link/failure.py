"""Why a link failed, by the names that the standards use.

This is the one place where errors of sockets and of OpenSSL become outcomes. A refused certificate is
classified by the alert that arrived, not by the step that was running: under TLS 1.3 the client's handshake
has returned before the server looks at its certificate (RFC 8446 4.4.2.4, 6.2).
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from OpenSSL import SSL

from simulator.link.openssl import verify_words
from simulator.metrics.outcome import TLS_ALERTS, Outcome, meaning

if TYPE_CHECKING:
    from simulator.metrics.sample import Phase

__all__ = ["LinkError", "of_certificate", "of_socket", "of_tls"]


class LinkError(Exception):
    """A link could not be opened, or was lost: in which phase, with which outcome, and in words."""

    def __init__(self, phase: Phase, outcome: str, detail: str) -> None:
        super().__init__(f"{phase}: {outcome}: {detail}")
        self.phase = phase
        self.outcome = outcome
        self.detail = detail


BY_ERRNO: dict[int, Outcome] = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.ECONNABORTED: Outcome.RESET,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTDOWN: Outcome.UNREACHABLE,
    errno.EADDRNOTAVAIL: Outcome.NO_LOCAL_PORTS,
    errno.EMFILE: Outcome.NO_DESCRIPTORS,
    errno.ENFILE: Outcome.NO_DESCRIPTORS,
}

ADVICE: dict[Outcome, str] = {
    Outcome.NO_LOCAL_PORTS: "every local port towards this endpoint is in use; name more "
    "source addresses in link.source, widen net.ipv4.ip_local_port_range, or use more endpoints",
    Outcome.NO_DESCRIPTORS: "the process may not open more files; raise the limit with: ulimit -n 65536",
}

BY_VERIFY_CODE: dict[int, Outcome] = {
    9: Outcome.SERVER_CERTIFICATE_NOT_YET_VALID,
    10: Outcome.SERVER_CERTIFICATE_EXPIRED,
    62: Outcome.HOSTNAME_MISMATCH,
    64: Outcome.HOSTNAME_MISMATCH,
}
"""``X509_V_ERR_…`` codes with a name of their own; any other means that the certificate is not trusted."""

ALERT_REASON = re.compile(r"^(?:ssl/tls|sslv3|tls(?:v1|v13)?)(?: alert)? (?P<name>.+)$")
ALERT_NAMES = frozenset(TLS_ALERTS.values())
SPELLINGS = {"user_cancelled": "user_canceled"}
"""Where OpenSSL spells an alert in another way than RFC 8446 does."""


def of_socket(code: int) -> tuple[Outcome, str]:
    """Return outcome and detail for an ``errno`` of a socket call."""
    outcome = BY_ERRNO.get(code, Outcome.CONNECTION_LOST)
    words = errno.errorcode.get(code, str(code))
    return outcome, f"{words}: {ADVICE[outcome]}" if outcome in ADVICE else words


def of_certificate(code: int) -> tuple[Outcome, str]:
    """Return outcome and detail where we refused the server's certificate, by its ``X509_V_ERR_…`` code."""
    outcome = BY_VERIFY_CODE.get(code, Outcome.SERVER_CERTIFICATE_UNTRUSTED)
    return outcome, f"{meaning(outcome)} (X509_V_ERR {code}: {verify_words(code)})"


def of_tls(error: SSL.Error) -> tuple[str, str]:
    """Return outcome and detail for an error of OpenSSL: an alert by its RFC 8446 name, where it was one."""
    if isinstance(error, SSL.ZeroReturnError):
        return Outcome.CLOSED, "the broker closed the TLS connection"
    if isinstance(error, SSL.SysCallError):
        code = error.args[0] if error.args else -1
        if code > 0:
            return of_socket(code)
        return Outcome.CLOSED, "the broker closed the TCP connection without closing TLS"
    reasons = reasons_of(error)
    for reason in reasons:
        alert = alert_of(reason)
        if alert is not None:
            return alert, f"the broker sent the TLS alert {alert}"
    return Outcome.TLS_ERROR, "; ".join(reasons) or "OpenSSL gave no reason"


def reasons_of(error: SSL.Error) -> list[str]:
    """Return the reasons in OpenSSL's error queue, first cause first."""
    queue = error.args[0] if error.args else ()
    return [entry[2] for entry in queue if isinstance(entry, tuple) and len(entry) == 3]


def alert_of(reason: str) -> str | None:
    """Return the RFC 8446 name of the alert that one of OpenSSL's reasons stands for; None for no alert."""
    match = ALERT_REASON.match(reason)
    if match is None:
        return None
    name = match["name"].replace(" ", "_")
    name = SPELLINGS.get(name, name)
    return name if name in ALERT_NAMES else None
