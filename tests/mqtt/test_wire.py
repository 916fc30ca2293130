"""Frames, numbers and strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ProtocolError
from simulator.mqtt.wire import MAXIMUM_BODY, Frame, Reader, check_filter, frame, length


@pytest.mark.parametrize(
    ("value", "encoded"),
    [  # the standard's table 2.4
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_lengths_of_the_standard(value: int, encoded: str) -> None:
    assert length(value).hex() == encoded
    data = bytes.fromhex(encoded)
    assert Reader(data, 0, len(data)).varint() == value


def test_a_length_beyond_four_bytes() -> None:
    with pytest.raises(ValueError, match="limit of 268435455"):
        length(MAXIMUM_BODY + 1)


@given(st.integers(0, MAXIMUM_BODY), st.binary(max_size=3))
def test_a_frame_is_found_when_its_last_byte_is_there(size: int, before: bytes) -> None:
    head = before + b"\x30" + length(size)
    body = min(size, 1000)
    found = frame(head + bytes(body), len(before))
    expected = Frame(0x30, len(head), len(head) + size) if body == size else None
    assert found == expected


def test_what_is_already_wrong_is_refused_at_once() -> None:
    for piece, why in ((b"\x00", "type 0"), (b"\x41", "reserved flags"), (b"\x36", "QoS 3")):
        with pytest.raises(ProtocolError, match=why):
            frame(piece)
    with pytest.raises(ProtocolError, match="exceeds the maximum of 10"):
        frame(b"\x30\x09", 0, 10)


@pytest.mark.parametrize("pattern", ["#", "/#", "a/#", "+", "+/+", "a/+/b", "/", "$share/group/a/+/#"])
def test_topic_filters(pattern: str) -> None:
    assert check_filter(pattern) == pattern


def test_an_error_names_its_clause() -> None:
    with pytest.raises(ProtocolError, match=r"\[MQTT-2\.2\.1-3\]") as caught:
        Reader(b"\0\0", 0, 2).packet_id()
    assert caught.value.clause == "MQTT-2.2.1-3"
