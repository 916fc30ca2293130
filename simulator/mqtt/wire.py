"""What both versions of MQTT share on the wire: frames, numbers, strings.

Reading raises ``ProtocolError`` and nothing else, writing raises ``ValueError`` and nothing else. This module
must not know what is in a packet. Clause numbers are those of MQTT 5.0.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.errors import ProtocolError

__all__ = [
    "MAXIMUM_PACKET",
    "Frame",
    "Reader",
    "binary",
    "check_filter",
    "check_topic",
    "frame",
    "length",
    "packet_id",
    "quality",
    "text",
    "u16",
]

MAXIMUM_BODY = 268_435_455
"""Largest remaining length that four bytes of seven bits can say (MQTT 2.2.3 in 3.1.1, 1.5.5 in 5.0)."""

MAXIMUM_PACKET = MAXIMUM_BODY + 5
"""Bytes of the largest packet there can be."""

_FLAGS = (None, 0, 0, None, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0)
"""By packet type, the flags that the fixed header must have; None for PUBLISH, whose flags mean something."""


class Frame(NamedTuple):
    """One complete packet inside a buffer: the body is ``buffer[body:end]``."""

    first: int
    body: int
    end: int


def frame(buffer: bytes | bytearray, start: int = 0, maximum: int = MAXIMUM_PACKET) -> Frame | None:
    """Find the packet that begins at ``start``; None while some of its bytes are missing.

    What can be judged early is judged early: nobody waits for the rest of a packet that is already wrong.
    """
    size = len(buffer)
    if start >= size:
        return None
    first = buffer[start]
    _check_first(first)
    remaining = 0
    for position in range(4):
        at = start + 1 + position
        if at >= size:
            return None
        byte = buffer[at]
        remaining |= (byte & 127) << (7 * position)
        if byte < 128:
            break
    else:
        raise ProtocolError("the remaining length takes more than four bytes")
    end = at + 1 + remaining
    if end - start > maximum:
        # MQTT-3.1.2-24: a server must not send packets larger than the client said it takes.
        raise ProtocolError(
            f"a packet of {end - start} bytes exceeds the maximum of {maximum}", clause="MQTT-3.1.2-24"
        )
    return Frame(first, at + 1, end) if end <= size else None


def _check_first(first: int) -> None:
    if first < 16:
        raise ProtocolError("packet type 0 is reserved")
    flags = _FLAGS[first >> 4]
    if flags is None:
        _check_publish_flags(first)
    elif first & 15 != flags:
        raise ProtocolError(
            f"packet type {first >> 4} has the reserved flags {first & 15:#x}", clause="MQTT-2.1.3-1"
        )


def _check_publish_flags(first: int) -> None:
    if first & 6 == 6:
        raise ProtocolError("a PUBLISH has QoS 3", clause="MQTT-3.3.1-4")
    if first & 14 == 8:
        raise ProtocolError("a PUBLISH of QoS 0 is marked as a duplicate", clause="MQTT-3.3.1-2")


def length(value: int) -> bytes:
    """Encode a remaining length, in as few bytes as it takes."""
    if value > MAXIMUM_BODY:
        raise ValueError(f"a packet body of {value} bytes is over MQTT's limit of {MAXIMUM_BODY}")
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def u16(value: int) -> bytes:
    """Encode a number of two bytes, high byte first."""
    if not 0 <= value <= 65535:
        raise ValueError(f"{value} does not fit in two bytes")
    return value.to_bytes(2, "big")


def binary(value: bytes) -> bytes:
    """Encode bytes behind their length of two bytes."""
    if len(value) > 65535:
        raise ValueError(f"{len(value)} bytes are more than one field of a packet holds (65535)")
    return u16(len(value)) + value


def text(value: str) -> bytes:
    """Encode a string as MQTT does: UTF-8 without U+0000 behind its length of two bytes (MQTT-1.5.4-2)."""
    if "\0" in value:
        raise ValueError(f"the string {value!r} contains U+0000")
    return binary(value.encode())


def packet_id(value: int) -> bytes:
    """Encode a packet identifier, which is never 0 (MQTT-2.2.1-3)."""
    if not value:
        raise ValueError("a packet identifier is never 0")
    return u16(value)


def quality(qos: int) -> int:
    """Return ``qos`` if there is such a quality of service, or raise ValueError (MQTT-3.3.1-4)."""
    if not 0 <= qos <= 2:
        raise ValueError(f"there is no QoS {qos}")
    return qos


def check_topic(topic: str) -> str:
    """Return ``topic`` if a message may be published to it, or raise ValueError."""
    if not topic:
        raise ValueError("a topic must have at least one character")  # MQTT-4.7.3-1
    if "#" in topic or "+" in topic:
        raise ValueError(f"the topic {topic!r} contains a wildcard")  # MQTT-3.3.2-2
    return topic


def check_filter(pattern: str) -> str:
    """Return ``pattern`` if it is a topic filter, or raise ValueError (MQTT 4.7.1)."""
    levels = pattern.split("/")
    if not pattern:
        raise ValueError("a topic filter must have at least one character")  # MQTT-4.7.3-1
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError(f"'#' must be the whole last level of the topic filter {pattern!r}")  # MQTT-4.7.1-1
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"'+' must be a whole level of the topic filter {pattern!r}")  # MQTT-4.7.1-2
    return pattern


class Reader:
    """Takes the fields of one packet body from left to right, and never looks beyond its end."""

    __slots__ = ("_at", "_buffer", "_end")

    def __init__(self, buffer: bytes, start: int, end: int) -> None:
        self._buffer = buffer
        self._at = start
        self._end = end

    def __bool__(self) -> bool:
        return self._at < self._end

    def take(self, size: int) -> bytes:
        """Take ``size`` bytes."""
        at = self._at
        if self._end - at < size:
            raise ProtocolError("a packet ends before its fields do")
        self._at = at + size
        return self._buffer[at : at + size]

    def rest(self) -> bytes:
        """Take all bytes that are left."""
        return self.take(self._end - self._at)

    def finish(self) -> None:
        """Insist that every byte has been taken."""
        if self:
            raise ProtocolError(f"{self._end - self._at} bytes follow the last field of a packet")

    def u8(self) -> int:
        """Take a number of one byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Take a number of two bytes."""
        return int.from_bytes(self.take(2), "big")

    def varint(self) -> int:
        """Take a number of one to four bytes with seven bits each, low bits first (MQTT 5.0, 1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ProtocolError("a number takes more than four bytes")

    def packet_id(self) -> int:
        """Take a packet identifier, which is never 0 (MQTT-2.2.1-3)."""
        identifier = self.u16()
        if not identifier:
            raise ProtocolError("a packet has the identifier 0", clause="MQTT-2.2.1-3")
        return identifier

    def binary(self) -> bytes:
        """Take bytes behind their length."""
        return self.take(self.u16())

    def text(self) -> str:
        """Take a string: well-formed UTF-8 (MQTT-1.5.4-1) without U+0000 (MQTT-1.5.4-2)."""
        encoded = self.binary()
        try:
            value = encoded.decode()
        except UnicodeDecodeError:
            raise ProtocolError("a string is not well-formed UTF-8", clause="MQTT-1.5.4-1") from None
        if "\0" in value:
            raise ProtocolError("a string contains U+0000", clause="MQTT-1.5.4-2")
        return value

    def topic(self, *, or_alias: bool = False) -> str:
        """Take the topic of a message; it may be empty where an alias can stand for it."""
        topic = self.text()
        if or_alias and not topic:
            return topic
        try:
            return check_topic(topic)
        except ValueError as error:
            raise ProtocolError(str(error), clause="MQTT-3.3.2-2") from None

    def filter(self) -> str:
        """Take a topic filter."""
        pattern = self.text()
        try:
            return check_filter(pattern)
        except ValueError as error:
            raise ProtocolError(str(error), clause="MQTT-4.7.1-1") from None
