"""The codec for MQTT 5.0: packet values to bytes and back over the library ``mqtt5``, for both directions.

The only module that knows mqtt5. ``read`` raises ``ProtocolError`` and nothing else, whatever the peer sent;
``write`` raises ``ValueError`` for a value that the wire cannot carry. Whole packets only reach mqtt5, and
only those that ``guard5`` has let through. This module must not know sessions: it judges each packet by
itself.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import mqtt5

from simulator.errors import ProtocolError
from simulator.mqtt import guard5
from simulator.mqtt.packets import (
    Auth,
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
    UserProperties,
    Will,
)
from simulator.mqtt.reasons import Reason
from simulator.mqtt.wire import MAXIMUM_BODY, MAXIMUM_PACKET, Frame, Reader, frame, length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    _Acknowledgement: TypeAlias = (
        mqtt5.PubAckPacket | mqtt5.PubRecPacket | mqtt5.PubRelPacket | mqtt5.PubCompPacket
    )
    _Table: TypeAlias = Mapping[type, tuple[Callable[..., mqtt5.Packet], Callable[[int], object]]]

__all__ = ["read", "write"]

_OLD_REFUSAL: Final = b"\x20\x02\x00\x01"
"""How a server that knows no version but 3.1.1 refuses the CONNECT of 5.0 (its MQTT-3.1.2-2)."""


def read(buffer: bytes, start: int = 0, maximum: int = MAXIMUM_PACKET) -> tuple[Packet, int] | None:
    """Read the packet that begins at ``start`` and return it with its size in bytes.

    None means that more bytes are needed. A packet of more than ``maximum`` bytes is refused.
    """
    found = frame(buffer, start, maximum)
    if found is None:
        return None
    data = buffer[start : found.end]
    if data == _OLD_REFUSAL:
        return ConnAck(code=Reason.UNSUPPORTED_PROTOCOL_VERSION), len(data)
    guard5.check(found.first, Reader(buffer, found.body, found.end))
    try:
        packet, _ = mqtt5.read(memoryview(data))
    except (ValueError, IndexError) as error:
        raise ProtocolError(f"a packet is malformed: {error}") from None
    return _FROM_LIBRARY[type(packet)](packet), len(data)


def write(packet: Packet) -> bytes:
    """Return the bytes of ``packet``; ValueError for a value that 5.0 cannot carry."""
    if isinstance(packet, Publish) and packet.payload:
        return _with_payload(write(packet._replace(payload=b"")), packet.payload)
    _insist_on_size(packet)
    try:
        data = _TO_LIBRARY[type(packet)](packet).write()
        _check(data)
    except (ProtocolError, OverflowError) as error:
        raise ValueError(f"MQTT 5.0 cannot carry {type(packet).__name__} as it is: {error}") from None
    return data


def _check(data: bytes) -> None:
    found = _whole(data)
    guard5.check(found.first, Reader(data, found.body, found.end))


def _with_payload(data: bytes, payload: bytes) -> bytes:
    """Put the payload behind a PUBLISH without one: at 256 MiB mqtt5 would panic, ``length`` refuses."""
    variable = data[_whole(data).body :]
    return data[:1] + length(len(variable) + len(payload)) + variable + payload


def _whole(data: bytes) -> Frame:
    return cast("Frame", frame(data))  # what has been written is never incomplete


def _insist_on_size(packet: Packet) -> None:
    # Only lists of strings can grow beyond a packet, and mqtt5 would panic. Four bytes is the longest
    # character.
    size = sum(4 * len(one) + 4 for one in _unbounded(packet))
    if size > MAXIMUM_BODY // 2:
        raise ValueError(f"the strings of {type(packet).__name__} take {size} bytes, too many for one packet")


def _unbounded(packet: Packet) -> Iterator[str]:
    match packet:
        case Subscribe(subscriptions=subscriptions):
            yield from (one.filter for one in subscriptions)
        case Unsubscribe(filters=filters):
            yield from filters
        case Connect(will=Will(user_properties=properties)):
            yield from chain.from_iterable(properties)
    yield from chain.from_iterable(getattr(packet, "user_properties", ()))


def _connect(packet: Connect) -> mqtt5.ConnectPacket:
    return mqtt5.ConnectPacket(
        packet.client_id,
        username=packet.username,
        password=packet.password,
        clean_start=packet.clean_start,
        will=None if packet.will is None else _will(packet.will),
        keep_alive=packet.keepalive,
        session_expiry_interval=packet.session_expiry,
        receive_max=packet.receive_maximum,
        topic_alias_max=packet.topic_alias_maximum,
        max_packet_size=packet.maximum_packet_size,
        user_properties=list(packet.user_properties),
    )


def _will(will: Will) -> mqtt5.Will:
    return mqtt5.Will(
        will.topic,
        payload=will.payload,
        qos=mqtt5.QoS(will.qos),
        retain=will.retain,
        will_delay_interval=will.delay,
        user_properties=list(will.user_properties),
    )


def _connack(packet: ConnAck) -> mqtt5.ConnAckPacket:
    return mqtt5.ConnAckPacket(
        session_present=packet.session_present,
        reason_code=mqtt5.ConnAckReasonCode(packet.code),
        session_expiry_interval=packet.session_expiry,
        assigned_client_id=packet.assigned_client_id,
        server_keep_alive=packet.server_keepalive,
        server_reference=packet.server_reference,
        reason_str=packet.reason_string,
        receive_max=packet.receive_maximum,
        topic_alias_max=packet.topic_alias_maximum,
        max_qos=mqtt5.QoS(packet.maximum_qos),
        retain_available=packet.retain_available,
        max_packet_size=packet.maximum_packet_size,
        user_properties=list(packet.user_properties),
    )


def _publish(packet: Publish) -> mqtt5.PublishPacket:
    if packet.packet_id is not None and not packet.qos:
        raise ValueError("a PUBLISH of QoS 0 has no packet identifier")  # MQTT-2.2.1-2
    return mqtt5.PublishPacket(
        packet.topic,
        packet.payload,
        qos=mqtt5.QoS(packet.qos),
        retain=packet.retain,
        packet_id=packet.packet_id,
        duplicate=packet.duplicate,
        topic_alias=packet.topic_alias,
        user_properties=list(packet.user_properties),
    )


def _acknowledgement(packet: PubAck | PubRec | PubRel | PubComp) -> mqtt5.Packet:
    make, reason = _ACKNOWLEDGEMENTS[type(packet)]
    return make(
        packet.packet_id,
        reason_code=reason(packet.code),
        reason_str=packet.reason_string,
        user_properties=list(packet.user_properties),
    )


def _request(packet: Subscribe | Unsubscribe) -> mqtt5.Packet:
    properties = list(packet.user_properties)
    if isinstance(packet, Unsubscribe):
        return mqtt5.UnsubscribePacket(packet.packet_id, list(packet.filters), user_properties=properties)
    filters = [
        mqtt5.TopicFilter(
            one.filter,
            max_qos=mqtt5.QoS(one.qos),
            no_local=one.no_local,
            retain_as_published=one.retain_as_published,
            retain_handling=mqtt5.RetainHandling(one.retain_handling),
        )
        for one in packet.subscriptions
    ]
    return mqtt5.SubscribePacket(packet.packet_id, filters, user_properties=properties)


def _answer(packet: SubAck | UnsubAck) -> mqtt5.Packet:
    make, reason = _ANSWERS[type(packet)]
    return make(
        packet.packet_id,
        [reason(code) for code in packet.codes],
        reason_str=packet.reason_string,
        user_properties=list(packet.user_properties),
    )


def _disconnect(packet: Disconnect) -> mqtt5.Packet:
    return mqtt5.DisconnectPacket(
        reason_code=mqtt5.DisconnectReasonCode(packet.code),
        session_expiry_interval=packet.session_expiry,
        server_reference=packet.server_reference,
        reason_str=packet.reason_string,
        user_properties=list(packet.user_properties),
    )


def _auth(packet: Auth) -> mqtt5.Packet:
    return mqtt5.AuthPacket(
        reason_code=mqtt5.AuthReasonCode(packet.code),
        authentication_method=packet.method,
        authentication_data=packet.data,
    )


_ACKNOWLEDGEMENTS: Final[_Table] = {
    PubAck: (mqtt5.PubAckPacket, mqtt5.PubAckReasonCode),
    PubRec: (mqtt5.PubRecPacket, mqtt5.PubRecReasonCode),
    PubRel: (mqtt5.PubRelPacket, mqtt5.PubRelReasonCode),
    PubComp: (mqtt5.PubCompPacket, mqtt5.PubCompReasonCode),
}
_ANSWERS: Final[_Table] = {
    SubAck: (mqtt5.SubAckPacket, mqtt5.SubAckReasonCode),
    UnsubAck: (mqtt5.UnsubAckPacket, mqtt5.UnsubAckReasonCode),
}
_TO_LIBRARY: Final[Mapping[type, Callable[..., mqtt5.Packet]]] = {
    Connect: _connect,
    ConnAck: _connack,
    Publish: _publish,
    PubAck: _acknowledgement,
    PubRec: _acknowledgement,
    PubRel: _acknowledgement,
    PubComp: _acknowledgement,
    Subscribe: _request,
    SubAck: _answer,
    Unsubscribe: _request,
    UnsubAck: _answer,
    PingReq: lambda _: mqtt5.PingReqPacket(),
    PingResp: lambda _: mqtt5.PingRespPacket(),
    Disconnect: _disconnect,
    Auth: _auth,
}


def _pairs(properties: list[tuple[str, str]]) -> UserProperties:
    return tuple(properties)


def _from_publish(packet: mqtt5.PublishPacket) -> Publish:
    return Publish(
        packet.topic,
        packet.payload,
        int(packet.qos),
        packet.retain,
        packet.packet_id,
        packet.duplicate,
        packet.topic_alias,
        _pairs(packet.user_properties),
    )


def _from_acknowledgement(packet: _Acknowledgement) -> Packet:
    return _OURS[type(packet)](
        packet.packet_id, int(packet.reason_code), packet.reason_str, _pairs(packet.user_properties)
    )


def _from_connect(packet: mqtt5.ConnectPacket) -> Connect:
    return Connect(
        packet.client_id,
        packet.clean_start,
        packet.keep_alive,
        None if packet.will is None else _from_will(packet.will),
        packet.username,
        packet.password,
        packet.session_expiry_interval,
        packet.receive_max,
        packet.max_packet_size,
        packet.topic_alias_max,
        _pairs(packet.user_properties),
    )


def _from_will(will: mqtt5.Will) -> Will:
    return Will(
        will.topic,
        will.payload or b"",
        int(will.qos),
        will.retain,
        will.will_delay_interval,
        _pairs(will.user_properties),
    )


def _from_connack(packet: mqtt5.ConnAckPacket) -> ConnAck:
    return ConnAck(
        packet.session_present,
        int(packet.reason_code),
        packet.session_expiry_interval,
        packet.receive_max,
        int(packet.max_qos),
        packet.retain_available,
        packet.max_packet_size,
        packet.assigned_client_id,
        packet.topic_alias_max,
        packet.server_keep_alive,
        packet.server_reference,
        packet.reason_str,
        _pairs(packet.user_properties),
    )


def _from_request(packet: mqtt5.SubscribePacket | mqtt5.UnsubscribePacket) -> Subscribe | Unsubscribe:
    properties = _pairs(packet.user_properties)
    if isinstance(packet, mqtt5.UnsubscribePacket):
        return Unsubscribe(packet.packet_id, tuple(packet.patterns), properties)
    subscriptions = tuple(
        Subscription(
            one.pattern, int(one.max_qos), one.no_local, one.retain_as_published, int(one.retain_handling)
        )
        for one in packet.topic_filters
    )
    return Subscribe(packet.packet_id, subscriptions, properties)


def _from_answer(packet: mqtt5.SubAckPacket | mqtt5.UnsubAckPacket) -> Packet:
    codes = tuple(int(code) for code in packet.reason_codes)
    return _OURS[type(packet)](packet.packet_id, codes, packet.reason_str, _pairs(packet.user_properties))


def _from_disconnect(packet: mqtt5.DisconnectPacket) -> Disconnect:
    return Disconnect(
        int(packet.reason_code),
        packet.session_expiry_interval,
        packet.server_reference,
        packet.reason_str,
        _pairs(packet.user_properties),
    )


def _from_auth(packet: mqtt5.AuthPacket) -> Auth:
    return Auth(int(packet.reason_code), packet.authentication_method, packet.authentication_data)


_OURS: Final[Mapping[type, Callable[..., Packet]]] = {
    mqtt5.PubAckPacket: PubAck,
    mqtt5.PubRecPacket: PubRec,
    mqtt5.PubRelPacket: PubRel,
    mqtt5.PubCompPacket: PubComp,
    mqtt5.SubAckPacket: SubAck,
    mqtt5.UnsubAckPacket: UnsubAck,
}
_FROM_LIBRARY: Final[Mapping[type, Callable[..., Packet]]] = {
    mqtt5.ConnectPacket: _from_connect,
    mqtt5.ConnAckPacket: _from_connack,
    mqtt5.PublishPacket: _from_publish,
    mqtt5.PubAckPacket: _from_acknowledgement,
    mqtt5.PubRecPacket: _from_acknowledgement,
    mqtt5.PubRelPacket: _from_acknowledgement,
    mqtt5.PubCompPacket: _from_acknowledgement,
    mqtt5.SubscribePacket: _from_request,
    mqtt5.SubAckPacket: _from_answer,
    mqtt5.UnsubscribePacket: _from_request,
    mqtt5.UnsubAckPacket: _from_answer,
    mqtt5.PingReqPacket: lambda _: PingReq(),
    mqtt5.PingRespPacket: lambda _: PingResp(),
    mqtt5.DisconnectPacket: _from_disconnect,
    mqtt5.AuthPacket: _from_auth,
}
