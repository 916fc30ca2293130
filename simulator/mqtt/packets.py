"""Packet values of MQTT 3.1.1 and 5.0: what a codec reads and writes.

One class a packet type serves both versions. Fields that only 5.0 can carry come last and have defaults, and
the 3.1.1 codec refuses to write them when they are set. Properties that do not matter to a fleet of devices
are dropped on reading. This module must not know bytes.

The values are named tuples because one is made for every packet. Compare them only with values of their own
class: ``PubAck(1) == PubRec(1)``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

__all__ = [
    "Auth",
    "ConnAck",
    "Connect",
    "Disconnect",
    "Packet",
    "PingReq",
    "PingResp",
    "PubAck",
    "PubComp",
    "PubRec",
    "PubRel",
    "Publish",
    "QoS",
    "SubAck",
    "Subscribe",
    "Subscription",
    "UnsubAck",
    "Unsubscribe",
    "UserProperties",
    "Will",
]

UserProperties: TypeAlias = tuple[tuple[str, str], ...]


class QoS(IntEnum):
    """Quality of service (MQTT 4.3); plain integers serve as well."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1
    EXACTLY_ONCE = 2


class Will(NamedTuple):
    """The message that the server publishes for a vanished client (MQTT 3.1.2.5); ``delay`` in seconds."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    delay: int = 0
    user_properties: UserProperties = ()


class Connect(NamedTuple):
    """CONNECT (MQTT 3.1); ``keepalive`` and ``session_expiry`` in seconds, packet sizes in bytes."""

    client_id: str
    clean_start: bool = True
    keepalive: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    session_expiry: int = 0
    receive_maximum: int = 65535
    maximum_packet_size: int | None = None
    topic_alias_maximum: int = 0
    user_properties: UserProperties = ()


class ConnAck(NamedTuple):
    """CONNACK (MQTT 3.2); None is what the server left unsaid."""

    session_present: bool = False
    code: int = 0
    session_expiry: int | None = None
    receive_maximum: int = 65535
    maximum_qos: int = 2
    retain_available: bool = True
    maximum_packet_size: int | None = None
    assigned_client_id: str | None = None
    topic_alias_maximum: int = 0
    server_keepalive: int | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    user_properties: UserProperties = ()


class Publish(NamedTuple):
    """PUBLISH (MQTT 3.3); ``packet_id`` is None exactly when ``qos`` is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    packet_id: int | None = None
    duplicate: bool = False
    topic_alias: int | None = None
    user_properties: UserProperties = ()


class PubAck(NamedTuple):
    """PUBACK (MQTT 3.4): the answer to QoS 1."""

    packet_id: int
    code: int = 0
    reason_string: str | None = None
    user_properties: UserProperties = ()


class PubRec(NamedTuple):
    """PUBREC (MQTT 3.5): the first answer to QoS 2."""

    packet_id: int
    code: int = 0
    reason_string: str | None = None
    user_properties: UserProperties = ()


class PubRel(NamedTuple):
    """PUBREL (MQTT 3.6): the sender of a QoS 2 message releases its identifier."""

    packet_id: int
    code: int = 0
    reason_string: str | None = None
    user_properties: UserProperties = ()


class PubComp(NamedTuple):
    """PUBCOMP (MQTT 3.7): the end of a QoS 2 delivery."""

    packet_id: int
    code: int = 0
    reason_string: str | None = None
    user_properties: UserProperties = ()


class Subscription(NamedTuple):
    """One topic filter of a SUBSCRIBE with its options (MQTT 3.8.3.1)."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(NamedTuple):
    """SUBSCRIBE (MQTT 3.8)."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    user_properties: UserProperties = ()


class SubAck(NamedTuple):
    """SUBACK (MQTT 3.9): one code for each subscription, the QoS granted or an error of 0x80 and above."""

    packet_id: int
    codes: tuple[int, ...]
    reason_string: str | None = None
    user_properties: UserProperties = ()


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE (MQTT 3.10)."""

    packet_id: int
    filters: tuple[str, ...]
    user_properties: UserProperties = ()


class UnsubAck(NamedTuple):
    """UNSUBACK (MQTT 3.11); 3.1.1 has no codes in it."""

    packet_id: int
    codes: tuple[int, ...] = ()
    reason_string: str | None = None
    user_properties: UserProperties = ()


class PingReq(NamedTuple):
    """PINGREQ (MQTT 3.12)."""


class PingResp(NamedTuple):
    """PINGRESP (MQTT 3.13)."""


class Disconnect(NamedTuple):
    """DISCONNECT (MQTT 3.14); only a 5.0 server may send one."""

    code: int = 0
    session_expiry: int | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    user_properties: UserProperties = ()


class Auth(NamedTuple):
    """AUTH (MQTT 5.0, 3.15): read so that a server which sends one uninvited can be told apart from noise."""

    code: int = 0
    method: str | None = None
    data: bytes | None = None


Packet: TypeAlias = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)
