"""The first packet of a connection, read just far enough to know who connects.

amqtt reads the packet again by itself; this module must not know amqtt.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Connect", "first_packet"]

_CONNECT = 0x10
_V311 = 4
_LENGTH_BYTES = 4
_LARGEST = 400_000
"""Bytes of a CONNECT whose five strings are all as long as they can be (65,535), and some more."""


class NotConnectError(Exception):
    """The peer's first bytes are not the beginning of a CONNECT (MQTT-3.1.0-1)."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT: who it is, its keepalive in seconds (0 = none), and its bytes with the keepalive set to 0.

    ``client_id`` is empty where the client leaves the choice to the broker, and where the protocol version is
    one that the broker refuses.
    """

    client_id: bytes
    keep_alive: int
    packet: bytes


def first_packet(data: bytes | bytearray) -> Connect | None:
    """Read the CONNECT that ``data`` begins with; None while it is incomplete.

    Raises NotConnectError where more data could not make a CONNECT of it.
    """
    if data and data[0] != _CONNECT:
        raise NotConnectError
    header = _remaining_length(data)
    if header is None:
        return None
    start, length = header
    if length > _LARGEST:
        raise NotConnectError
    if len(data) < start + length:
        return None
    return _connect(bytes(data[: start + length]), start)


def _remaining_length(data: bytes | bytearray) -> tuple[int, int] | None:
    """Return where the variable header starts and how long it and the payload are (MQTT 3.1.1, 2.2.3)."""
    length = 0
    for index, byte in enumerate(data[1 : 1 + _LENGTH_BYTES]):
        length |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return index + 2, length
    if len(data) > _LENGTH_BYTES:
        raise NotConnectError
    return None


def _connect(packet: bytes, start: int) -> Connect:
    """Take a complete CONNECT apart: name, level, flags, keepalive, client id (MQTT 3.1.1, 3.1.2)."""
    level_at = start + 2 + int.from_bytes(packet[start : start + 2])
    keep_alive_at = level_at + 2
    client_id_at = keep_alive_at + 4
    if len(packet) < client_id_at:
        raise NotConnectError
    if packet[level_at] != _V311:
        return Connect(b"", 0, packet)
    keep_alive = int.from_bytes(packet[keep_alive_at : keep_alive_at + 2])
    client_id_length = int.from_bytes(packet[keep_alive_at + 2 : client_id_at])
    client_id = packet[client_id_at : client_id_at + client_id_length]
    if len(client_id) < client_id_length:
        raise NotConnectError
    patched = packet[:keep_alive_at] + b"\0\0" + packet[keep_alive_at + 2 :]
    return Connect(client_id, keep_alive, patched)
