"""What holds for a codec whatever the packet, said once for both versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from simulator.errors import ProtocolError

if TYPE_CHECKING:
    from simulator.mqtt.packets import Packet


class Codec(Protocol):
    """The two functions of a codec module."""

    def read(self, buffer: bytes, start: int = 0, maximum: int = ...) -> tuple[Packet, int] | None: ...
    def write(self, packet: Packet) -> bytes: ...


def reads_back(codec: Codec, packet: Packet, before: bytes = b"", after: bytes = b"") -> None:
    """A packet is read back as it was written, wherever it stands in a buffer."""
    data = codec.write(packet)
    found = codec.read(before + data + after, len(before))
    assert found == (packet, len(data))
    assert found is not None
    assert type(found[0]) is type(packet)


def every_strict_prefix_asks_for_more(codec: Codec, packet: Packet) -> None:
    """A packet that has not arrived as a whole is neither read nor refused."""
    data = codec.write(packet)
    assert all(codec.read(data[:size]) is None for size in range(len(data)))


def reads_or_refuses(codec: Codec, data: bytes) -> None:
    """Nothing but ProtocolError is raised, and whatever is read is a value that can be written."""
    try:
        found = codec.read(data)
    except ProtocolError:
        return
    if found is not None:
        packet, nbytes = found
        assert nbytes <= len(data)
        reads_back(codec, packet)
