"""Why a session cannot send a packet now.

CannotSendError                the packet was neither sent nor remembered; a device counts it as dropped
├── NotConnectedError          there is no accepted CONNACK on this link
├── QuotaExceededError         as many publishes are unacknowledged as either side allows
├── IdentifiersExhaustedError  all 65,535 packet identifiers are in use
└── UnsupportedError           the server said that it does not take such a packet
"""

from __future__ import annotations

from simulator.errors import SimulatorError

__all__ = [
    "CannotSendError",
    "IdentifiersExhaustedError",
    "NotConnectedError",
    "QuotaExceededError",
    "UnsupportedError",
]


class CannotSendError(SimulatorError):
    """The session cannot send this packet now; nothing was sent, and nothing is remembered."""


class NotConnectedError(CannotSendError):
    """The session is not connected."""


class QuotaExceededError(CannotSendError):
    """The server's receive maximum, or our own bound on messages in flight, is reached."""


class IdentifiersExhaustedError(CannotSendError):
    """Every packet identifier is held by a packet that awaits its answer (MQTT-2.2.1-3)."""


class UnsupportedError(CannotSendError):
    """The packet is beyond the QoS, the size or the retain support that the server named in CONNACK."""
