"""What a session tells its device. Values only.

Named tuples, because one is made for every message: tell them apart by class, never by ``==``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

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
    "Unsubscribed",
    "Violated",
]


class Connected(NamedTuple):
    """The server accepted; ``connack`` has its properties."""

    session_present: bool
    connack: ConnAck


class Refused(NamedTuple):
    """The server answered CONNECT with an error; the session is closed."""

    code: int
    name: str
    reason_string: str | None
    server_reference: str | None


class Acknowledged(NamedTuple):
    """The server has a published message: PUBACK for QoS 1, PUBCOMP for QoS 2; ``code`` is below 0x80."""

    token: object
    code: int


class PublishRefused(NamedTuple):
    """The server does not take a published message (5.0); ``code`` is 0x80 or above."""

    token: object
    code: int
    name: str
    reason_string: str | None


class Lost(NamedTuple):
    """The session ended before the publish, subscribe or unsubscribe of this token was answered."""

    token: object


class Message(NamedTuple):
    """The server delivered a message; the session has already answered it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    user_properties: UserProperties


class Subscribed(NamedTuple):
    """SUBACK; a code for each subscription, the QoS granted or a failure of 0x80 or above."""

    token: object
    codes: tuple[int, ...]


class Unsubscribed(NamedTuple):
    """UNSUBACK; a code for each filter, none in 3.1.1."""

    token: object
    codes: tuple[int, ...]


class Pong(NamedTuple):
    """PINGRESP to a ping."""


class Disconnected(NamedTuple):
    """The server ended the session with a reason (5.0)."""

    code: int
    name: str
    reason_string: str | None
    server_reference: str | None


class Violated(NamedTuple):
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
