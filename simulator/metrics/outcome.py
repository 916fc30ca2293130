"""What can become of a step, under stable names: the vocabulary that reports, thresholds and scripts rely on.

A table only. Which exception or packet becomes which outcome is decided where it is seen, in ``link`` and
``mqtt``. The reason names of MQTT (``not_authorized``, ``quota_exceeded``, …) and the alert names of RFC 8446
pass through as they are, so an outcome is any snake_case string; those below are known by name. All of them,
with their causes, are in docs/failures.md.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

__all__ = ["NO_FAILURES", "TLS_ALERTS", "Outcome", "meaning"]


class Outcome(StrEnum):
    """Outcomes that this package gives a name itself."""

    OK = "ok"
    # TCP
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    NO_LOCAL_PORTS = "no_local_ports"
    NO_DESCRIPTORS = "no_descriptors"
    # TLS, as the device sees the server
    HOSTNAME_MISMATCH = "hostname_mismatch"
    SERVER_CERTIFICATE_UNTRUSTED = "server_certificate_untrusted"
    SERVER_CERTIFICATE_EXPIRED = "server_certificate_expired"
    SERVER_CERTIFICATE_NOT_YET_VALID = "server_certificate_not_yet_valid"
    TLS_ERROR = "tls_error"
    # MQTT
    PROTOCOL_ERROR = "protocol_error"
    ACK_TIMEOUT = "ack_timeout"
    SUBSCRIPTION_REFUSED = "subscription_refused"
    # the life of a session
    CONNECTION_LOST = "connection_lost"
    SESSION_LOST = "session_lost"
    KEEPALIVE_TIMEOUT = "keepalive_timeout"
    TAKEN_OVER = "session_taken_over"
    # the scenario's own doing
    CUT_OFF = "cut_off"
    # the end of the run
    UNFINISHED = "unfinished"


NO_FAILURES = frozenset({Outcome.OK, Outcome.CUT_OFF})
"""Outcomes that nobody has to answer for: the rest are failures."""


TLS_ALERTS = MappingProxyType(
    {
        10: "unexpected_message",
        20: "bad_record_mac",
        22: "record_overflow",
        40: "handshake_failure",
        42: "bad_certificate",
        43: "unsupported_certificate",
        44: "certificate_revoked",
        45: "certificate_expired",
        46: "certificate_unknown",
        47: "illegal_parameter",
        48: "unknown_ca",
        49: "access_denied",
        50: "decode_error",
        51: "decrypt_error",
        70: "protocol_version",
        71: "insufficient_security",
        80: "internal_error",
        86: "inappropriate_fallback",
        90: "user_canceled",
        109: "missing_extension",
        110: "unsupported_extension",
        112: "unrecognized_name",
        113: "bad_certificate_status_response",
        115: "unknown_psk_identity",
        116: "certificate_required",
        120: "no_application_protocol",
    }
)
"""AlertDescription to name, RFC 8446 section 6. The names are outcomes: the peer sent that alert.

``close_notify`` is none of them: it says nothing but ``closed``.
"""

_MEANINGS = MappingProxyType(
    {
        Outcome.OK: "the step succeeded",
        Outcome.REFUSED: "nothing listens at that address and port",
        Outcome.RESET: "the peer reset the connection",
        Outcome.CLOSED: "the peer closed the connection in the middle of the step",
        Outcome.TIMEOUT: "no answer within the time allowed",
        Outcome.UNREACHABLE: "no route to the host or network",
        Outcome.NO_LOCAL_PORTS: "this machine has no free local port towards the broker",
        Outcome.NO_DESCRIPTORS: "this process may open no more sockets (see ulimit -n)",
        Outcome.HOSTNAME_MISMATCH: "the broker's certificate is for another host name",
        Outcome.SERVER_CERTIFICATE_UNTRUSTED: "the device has no reason to trust the broker's certificate",
        Outcome.SERVER_CERTIFICATE_EXPIRED: "the broker's certificate has expired",
        Outcome.SERVER_CERTIFICATE_NOT_YET_VALID: "the broker's certificate is not valid yet",
        Outcome.TLS_ERROR: "TLS failed without an alert from the peer",
        Outcome.PROTOCOL_ERROR: "one side sent something that MQTT forbids; the detail says which, and what",
        Outcome.ACK_TIMEOUT: "the broker did not acknowledge within the time allowed",
        Outcome.SUBSCRIPTION_REFUSED: "the broker refused the subscription",
        Outcome.CONNECTION_LOST: "an established connection broke",
        Outcome.SESSION_LOST: "the broker no longer had the session that the device resumed",
        Outcome.KEEPALIVE_TIMEOUT: "the broker did not answer PINGREQ",
        Outcome.CUT_OFF: "the device lost its power, as the scenario asked, before the step was done",
        Outcome.UNFINISHED: "the run ended before the step did",
        Outcome.TAKEN_OVER: "another connection took over the client identifier",
        "bad_certificate": "the broker found the device's certificate corrupt or badly signed",
        "unsupported_certificate": "the broker does not accept certificates of that type",
        "certificate_revoked": "the broker found the device's certificate revoked",
        "certificate_expired": "the broker found the device's certificate expired or not yet valid",
        "certificate_unknown": "the broker did not accept the device's certificate",
        "unknown_ca": "the broker does not trust the authority that issued the device's certificate",
        "access_denied": "the broker found the device's certificate valid, and refused it",
        "certificate_required": "the broker requires a certificate and the device sent none",
        "handshake_failure": "no TLS parameters that both sides accept",
        "protocol_version": "no TLS version that both sides accept",
        "no_application_protocol": "no ALPN protocol that both sides accept",
    }
)


def meaning(outcome: str) -> str | None:
    """Return what ``outcome`` means in a line, or None where the name has to speak for itself."""
    if outcome in _MEANINGS:
        return _MEANINGS[outcome]
    if outcome in TLS_ALERTS.values():
        return f"the broker ended TLS with the alert {outcome}"
    return None
