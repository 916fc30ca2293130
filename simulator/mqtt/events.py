"""What a session tells its device. Values only.

Plain slotted dataclasses rather than frozen ones, because one is made for every message and a frozen one
takes three times as long to make. Nobody changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from simulator.errors import ProtocolError
    from simulator.mqtt.packets import ConnAck, UserProperties

__all__ = [
    "Acknowledged",
    "Connected",
    "Disconnected",
    "Event",
    "Lost",
    "Message",
    "Pong",
    "PublishRefused",
    "Refused",
    "Subscribed",
    "Token",
    "Unsubscribed",
    "Violated",
]


Token: TypeAlias = Any
"""What a caller hangs on a request to know its answer by; the session only hands it back."""


@dataclass(slots=True)
class Connected:
    """The server accepted; ``connack`` has its properties."""

    session_present: bool
    connack: ConnAck


@dataclass(slots=True)
class Refused:
    """The server answered CONNECT with an error; the session is closed."""

    code: int
    name: str
    reason_string: str | None
    server_reference: str | None


@dataclass(slots=True)
class Acknowledged:
    """The server has a published message: PUBACK for QoS 1, PUBCOMP for QoS 2; ``code`` is below 0x80."""

    token: Token
    code: int


@dataclass(slots=True)
class PublishRefused:
    """The server does not take a published message (5.0); ``code`` is 0x80 or above."""

    token: Token
    code: int
    name: str
    reason_string: str | None


@dataclass(slots=True)
class Lost:
    """The session ended before the publish, subscribe or unsubscribe of this token was answered."""

    token: Token


@dataclass(slots=True)
class Message:
    """The server delivered a message; the session has already answered it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    user_properties: UserProperties


@dataclass(slots=True)
class Subscribed:
    """SUBACK; a code for each subscription, the QoS granted or a failure of 0x80 or above."""

    token: Token
    codes: tuple[int, ...]


@dataclass(slots=True)
class Unsubscribed:
    """UNSUBACK; a code for each filter, none in 3.1.1."""

    token: Token
    codes: tuple[int, ...]


@dataclass(slots=True)
class Pong:
    """PINGRESP to a ping."""


@dataclass(slots=True)
class Disconnected:
    """The server ended the session with a reason (5.0)."""

    code: int
    name: str
    reason_string: str | None
    server_reference: str | None


@dataclass(slots=True)
class Violated:
    """The peer broke MQTT; the session is closed, and the link must be."""

    error: ProtocolError


Event: TypeAlias = (
    Connected
    | Refused
    | Acknowledged
    | PublishRefused
    | Lost
    | Message
    | Subscribed
    | Unsubscribed
    | Pong
    | Disconnected
    | Violated
)
