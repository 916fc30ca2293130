"""What is checked of a 5.0 packet before the library ``mqtt5`` sees it.

mqtt5 0.8 decides most of what is malformed, but a string that is not UTF-8 makes its Rust code panic, and a
packet identifier of 0, U+0000 in a string, wildcards in a topic and empty lists pass. So the fields of a
packet are walked here first. Which property may stand where, and how often, is left to mqtt5. Clause numbers
are those of MQTT 5.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.errors import ProtocolError
from simulator.mqtt.wire import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check"]

_STRINGS: Final = frozenset((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F))
_BINARIES: Final = frozenset((0x09, 0x16))
_WIDTHS: Final = {
    0x01: 1,
    0x02: 4,
    0x11: 4,
    0x13: 2,
    0x17: 1,
    0x18: 4,
    0x19: 1,
    0x21: 2,
    0x22: 2,
    0x23: 2,
    0x24: 1,
    0x25: 1,
    0x27: 4,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
}
"""Bytes that a property of fixed width takes, by its identifier (MQTT 2.2.2.2)."""

_SUBSCRIPTION_IDENTIFIER: Final = 0x0B
_USER_PROPERTY: Final = 0x26


def check(first: int, fields: Reader) -> None:
    """Walk the fields of the packet that begins with ``first``; ProtocolError if they cannot stand."""
    _WALKS[first >> 4](fields, first & 15)
    fields.finish()


def _properties(fields: Reader) -> None:
    size = fields.varint()
    properties = Reader(fields.take(size), 0, size)
    while properties:
        _property(properties, properties.u8())


def _property(fields: Reader, identifier: int) -> None:
    if identifier in _WIDTHS:
        fields.take(_WIDTHS[identifier])
    elif identifier in _STRINGS:
        fields.text()
    elif identifier in _BINARIES:
        fields.binary()
    elif identifier == _USER_PROPERTY:
        fields.text()
        fields.text()
    elif identifier == _SUBSCRIPTION_IDENTIFIER:
        fields.varint()
    else:
        raise ProtocolError(f"there is no property {identifier:#04x}")


def _connect(fields: Reader, _flags: int) -> None:
    fields.text()
    _version, flags, _keepalive = fields.u8(), fields.u8(), fields.u16()
    if flags & 1:
        raise ProtocolError("the reserved flag of a CONNECT is set", clause="MQTT-3.1.2-3")
    _properties(fields)
    fields.text()
    if flags & 4:
        _properties(fields)
        fields.topic()
        fields.binary()
    elif flags & 0x38:
        raise ProtocolError("a CONNECT without a will has will flags", clause="MQTT-3.1.2-11")
    if flags & 128:
        fields.text()
    if flags & 64:
        fields.binary()


def _connack(fields: Reader, _flags: int) -> None:
    session_present, code = fields.u8(), fields.u8()
    if session_present and code:
        raise ProtocolError("a CONNACK that refuses claims a session is present", clause="MQTT-3.2.2-6")
    _properties(fields)


def _publish(fields: Reader, flags: int) -> None:
    fields.topic(or_alias=True)
    if flags & 6:
        fields.packet_id()
    _properties(fields)
    fields.rest()


def _acknowledgement(fields: Reader, _flags: int) -> None:
    fields.packet_id()
    _reason(fields, 0)


def _reason(fields: Reader, _flags: int) -> None:
    # Both the reason code and the properties may be left out (MQTT 3.4.2.1, 3.14.2.1).
    if fields:
        fields.u8()
    if fields:
        _properties(fields)


def _subscribe(fields: Reader, _flags: int) -> None:
    fields.packet_id()
    _properties(fields)
    _subscription(fields)  # MQTT-3.8.3-2: at least one
    while fields:
        _subscription(fields)


def _subscription(fields: Reader) -> None:
    fields.filter()
    if fields.u8() & 0xC0:
        raise ProtocolError("the reserved options of a subscription are set", clause="MQTT-3.8.3-5")


def _unsubscribe(fields: Reader, _flags: int) -> None:
    fields.packet_id()
    _properties(fields)
    fields.filter()  # MQTT-3.10.3-2: at least one
    while fields:
        fields.filter()


def _codes(fields: Reader, _flags: int) -> None:
    fields.packet_id()
    _properties(fields)
    fields.u8()  # MQTT-3.8.4-6, MQTT-3.11.3-1: one for each filter, so at least one
    fields.rest()


def _nothing(_fields: Reader, _flags: int) -> None:
    """PINGREQ and PINGRESP have no fields."""


_WALKS: Final[dict[int, Callable[[Reader, int], None]]] = {
    1: _connect,
    2: _connack,
    3: _publish,
    4: _acknowledgement,
    5: _acknowledgement,
    6: _acknowledgement,
    7: _acknowledgement,
    8: _subscribe,
    9: _codes,
    10: _unsubscribe,
    11: _codes,
    12: _nothing,
    13: _nothing,
    14: _reason,
    15: _reason,
}
"""By packet type, what walks over the body."""
