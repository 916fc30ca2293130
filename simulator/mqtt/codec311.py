"""The codec for MQTT 3.1.1: packet values to bytes and back, for both directions.

``read`` raises ``ProtocolError`` and nothing else, whatever the peer sent; ``write`` raises ``ValueError``
for a value that the wire cannot carry. Clause numbers are those of the OASIS standard of 29 October 2014.
This module must not know sessions: it judges each packet by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.errors import ProtocolError
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from simulator.mqtt.wire import (
    MAXIMUM_PACKET,
    Reader,
    binary,
    check_filter,
    check_topic,
    frame,
    length,
    packet_id,
    quality,
    text,
    u16,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["read", "write"]

_PROTOCOL: Final = b"\x00\x04MQTT\x04"
_GRANTS: Final = frozenset((0, 1, 2, 0x80))
_FIRST: Final[Mapping[type, int]] = {
    ConnAck: 0x20,
    PubAck: 0x40,
    PubRec: 0x50,
    PubRel: 0x62,
    PubComp: 0x70,
    Subscribe: 0x82,
    SubAck: 0x90,
    Unsubscribe: 0xA2,
    UnsubAck: 0xB0,
    PingReq: 0xC0,
    PingResp: 0xD0,
    Disconnect: 0xE0,
}
_COMMON_FIELDS: Final[Mapping[type, int]] = {
    Connect: 6,
    ConnAck: 2,
    Publish: 6,
    PubAck: 1,
    PubRec: 1,
    PubRel: 1,
    PubComp: 1,
    Subscribe: 2,
    SubAck: 2,
    Unsubscribe: 2,
    UnsubAck: 1,
    Will: 4,
    Subscription: 2,
}
"""How many fields of each value 3.1.1 can carry; those that follow belong to 5.0."""


def read(buffer: bytes, start: int = 0, maximum: int = MAXIMUM_PACKET) -> tuple[Packet, int] | None:
    """Read the packet that begins at ``start`` and return it with its size in bytes.

    None means that more bytes are needed. A packet of more than ``maximum`` bytes is refused.
    """
    found = frame(buffer, start, maximum)
    if found is None:
        return None
    fields = Reader(buffer, found.body, found.end)
    packet = _READERS[found.first >> 4](fields, found.first & 15)
    fields.finish()
    return packet, found.end - start


def write(packet: Packet) -> bytes:
    """Return the bytes of ``packet``; ValueError for a value that 3.1.1 cannot carry."""
    _refuse_newer_fields(packet)
    first, body = _write_body(packet)
    return bytes((first,)) + length(len(body)) + body


def _write_body(packet: Packet) -> tuple[int, bytes]:
    match packet:
        case PubAck() | PubRec() | PubRel() | PubComp():
            return _FIRST[type(packet)], packet_id(packet.packet_id)
        case PingReq() | PingResp() | Disconnect():
            return _FIRST[type(packet)], b""
        case Publish():
            return _publish_first(packet), _publish_body(packet)
        case Connect():
            return 0x10, _connect_body(packet)
        case Subscribe() | Unsubscribe():
            return _FIRST[type(packet)], _filters_body(packet)
        case ConnAck() | SubAck() | UnsubAck():
            return _FIRST[type(packet)], _answer_body(packet)
    raise ValueError(f"MQTT 3.1.1 has no {type(packet).__name__} packet")


def _refuse_newer_fields(value: Packet | Will | Subscription) -> None:
    for name in value._fields[_COMMON_FIELDS.get(type(value), 0) :]:
        if getattr(value, name) != value._field_defaults[name]:
            raise ValueError(f"MQTT 3.1.1 cannot carry {name} in {type(value).__name__}")


def _connect_body(packet: Connect) -> bytes:
    will, username, password = packet.will, packet.username, packet.password
    if password is not None and username is None:
        raise ValueError("MQTT 3.1.1 carries a password only beside a user name")  # MQTT-3.1.2-22
    if not packet.client_id and not packet.clean_start:
        raise ValueError("an empty client identifier needs a clean session")  # MQTT-3.1.3-7
    flags = packet.clean_start << 1 | (password is not None) << 6 | (username is not None) << 7
    parts = [text(packet.client_id)]
    if will is not None:
        _refuse_newer_fields(will)
        flags |= 4 | quality(will.qos) << 3 | will.retain << 5
        parts += (text(check_topic(will.topic)), binary(will.payload))
    if username is not None:
        parts.append(text(username))
    if password is not None:
        parts.append(binary(password))
    return b"".join((_PROTOCOL, bytes((flags,)), u16(packet.keepalive), *parts))


def _publish_first(packet: Publish) -> int:
    if (packet.packet_id is not None) != (quality(packet.qos) > 0):
        raise ValueError("a PUBLISH has a packet identifier exactly when its QoS is 1 or 2")  # MQTT-2.3.1-5
    if packet.duplicate and not packet.qos:
        raise ValueError("a PUBLISH of QoS 0 is never a duplicate")  # MQTT-3.3.1-2
    return 0x30 | packet.duplicate << 3 | packet.qos << 1 | packet.retain


def _publish_body(packet: Publish) -> bytes:
    identifier = b"" if packet.packet_id is None else packet_id(packet.packet_id)
    return text(check_topic(packet.topic)) + identifier + packet.payload


def _filters_body(packet: Subscribe | Unsubscribe) -> bytes:
    parts = [packet_id(packet.packet_id)]
    if isinstance(packet, Unsubscribe):
        parts += (text(check_filter(pattern)) for pattern in packet.filters)
    else:
        for subscription in packet.subscriptions:
            _refuse_newer_fields(subscription)
            parts += (text(check_filter(subscription.filter)), bytes((quality(subscription.qos),)))
    if len(parts) == 1:
        raise ValueError("at least one topic filter is needed")  # MQTT-3.8.3-3, MQTT-3.10.3-2
    return b"".join(parts)


def _answer_body(packet: ConnAck | SubAck | UnsubAck) -> bytes:
    if isinstance(packet, ConnAck):
        if not 0 <= packet.code <= 5:
            raise ValueError(f"{packet.code} is not a return code of CONNACK")
        return bytes((packet.session_present, packet.code))
    if isinstance(packet, UnsubAck):
        return packet_id(packet.packet_id)
    if not packet.codes or not _GRANTS.issuperset(packet.codes):
        raise ValueError(f"{packet.codes} are not return codes of SUBACK")  # MQTT-3.9.3-2
    return packet_id(packet.packet_id) + bytes(packet.codes)


def _read_connect(fields: Reader, _flags: int) -> Connect:
    if fields.take(len(_PROTOCOL)) != _PROTOCOL:
        raise ProtocolError("a CONNECT is not of protocol MQTT, level 4", clause="MQTT-3.1.2-1")
    flags, keepalive = fields.u8(), fields.u16()
    _check_connect_flags(flags)
    client_id = fields.text()
    if not client_id and not flags & 2:
        raise ProtocolError("an empty client identifier without a clean session", clause="MQTT-3.1.3-7")
    will = Will(fields.topic(), fields.binary(), flags >> 3 & 3, bool(flags & 32)) if flags & 4 else None
    username = fields.text() if flags & 128 else None
    password = fields.binary() if flags & 64 else None
    return Connect(client_id, bool(flags & 2), keepalive, will, username, password)


def _check_connect_flags(flags: int) -> None:
    if flags & 1:
        raise ProtocolError("the reserved flag of a CONNECT is set", clause="MQTT-3.1.2-3")
    if not flags & 4 and flags & 0x38:
        raise ProtocolError("a CONNECT without a will has will flags", clause="MQTT-3.1.2-11")
    if flags & 0x18 == 0x18:
        raise ProtocolError("a will has QoS 3", clause="MQTT-3.1.2-14")
    if flags & 0xC0 == 0x40:
        raise ProtocolError("a CONNECT has a password without a user name", clause="MQTT-3.1.2-22")


def _read_connack(fields: Reader, _flags: int) -> ConnAck:
    flags, code = fields.u8(), fields.u8()
    if flags > 1:
        raise ProtocolError("the reserved flags of a CONNACK are set")
    if code > 5:
        raise ProtocolError(f"a CONNACK has the reserved return code {code}")
    if flags and code:
        raise ProtocolError("a CONNACK that refuses claims a session is present", clause="MQTT-3.2.2-4")
    return ConnAck(bool(flags), code)


def _read_publish(fields: Reader, flags: int) -> Publish:
    qos = flags >> 1 & 3
    topic = fields.topic()
    identifier = fields.packet_id() if qos else None
    return Publish(topic, fields.rest(), qos, bool(flags & 1), identifier, bool(flags & 8))


def _read_subscribe(fields: Reader, _flags: int) -> Subscribe:
    identifier = fields.packet_id()
    subscriptions: list[Subscription] = []
    while fields or not subscriptions:  # MQTT-3.8.3-3: at least one
        pattern, qos = fields.filter(), fields.u8()
        if qos > 2:
            raise ProtocolError(f"a subscription asks for QoS {qos}", clause="MQTT-3.8.3-4")
        subscriptions.append(Subscription(pattern, qos))
    return Subscribe(identifier, tuple(subscriptions))


def _read_suback(fields: Reader, _flags: int) -> SubAck:
    identifier, codes = fields.packet_id(), fields.rest()
    if not codes or not _GRANTS.issuperset(codes):
        raise ProtocolError("a SUBACK has no return code, or a reserved one", clause="MQTT-3.9.3-2")
    return SubAck(identifier, tuple(codes))


def _read_unsubscribe(fields: Reader, _flags: int) -> Unsubscribe:
    identifier = fields.packet_id()
    filters: list[str] = []
    while fields or not filters:  # MQTT-3.10.3-2: at least one
        filters.append(fields.filter())
    return Unsubscribe(identifier, tuple(filters))


def _reserved(_fields: Reader, _flags: int) -> Packet:
    raise ProtocolError("packet type 15 is reserved")


_READERS: Final[tuple[Callable[[Reader, int], Packet], ...]] = (
    _reserved,
    _read_connect,
    _read_connack,
    _read_publish,
    lambda fields, _: PubAck(fields.packet_id()),
    lambda fields, _: PubRec(fields.packet_id()),
    lambda fields, _: PubRel(fields.packet_id()),
    lambda fields, _: PubComp(fields.packet_id()),
    _read_subscribe,
    _read_suback,
    _read_unsubscribe,
    lambda fields, _: UnsubAck(fields.packet_id()),
    lambda _fields, _: PingReq(),
    lambda _fields, _: PingResp(),
    lambda _fields, _: Disconnect(),
    _reserved,
)
"""By packet type, what turns the body and the flags of the fixed header into a packet."""
