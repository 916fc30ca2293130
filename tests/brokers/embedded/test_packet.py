"""The first packet of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.brokers.embedded.packet import Connect, NotConnectError, first_packet
from tests.brokers import wire

CLIENT_IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(client_id=CLIENT_IDS, keep_alive=st.integers(0, 65_535), rest=st.binary(max_size=20))
def test_reads_who_connects_and_takes_the_keepalive_out(client_id: str, keep_alive: int, rest: bytes) -> None:
    sent = wire.connect(client_id, keep_alive=keep_alive)
    without = wire.connect(client_id, keep_alive=0)
    assert first_packet(sent + rest) == Connect(client_id.encode(), keep_alive, without)


@given(client_id=CLIENT_IDS, data=st.data())
def test_every_strict_prefix_asks_for_more(client_id: str, data: st.DataObject) -> None:
    sent = wire.connect(client_id)
    assert first_packet(sent[: data.draw(st.integers(0, len(sent) - 1))]) is None


@given(st.binary(max_size=60))
def test_anything_else_is_refused_or_waited_for(data: bytes) -> None:
    try:
        connect = first_packet(b"\x10" + data)
    except NotConnectError:
        return
    assert connect is None or (b"\x10" + data).startswith(connect.packet[:1])


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1", "another protocol"),
        (wire.publish("topic", "early"), "PUBLISH before CONNECT"),
        (b"\x10\xff\xff\xff\xff", "a remaining length of five bytes"),
        (b"\x10\xff\xff\xff\x7f", "256 MiB"),
        (wire.packet(0x10, b""), "no protocol name"),
        (wire.packet(0x10, b"\xff\xff"), "a protocol name longer than the packet"),
        (wire.packet(0x10, wire.text("MQTT") + b"\x04\x02\x00\x3c"), "no client id"),
        (wire.packet(0x10, wire.text("MQTT") + b"\x04\x02\x00\x3c\x00\x05abc"), "a client id cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_connect_is_refused(sent: bytes, why: str) -> None:
    with pytest.raises(NotConnectError):
        first_packet(sent)


def test_another_version_is_left_to_the_broker_to_refuse() -> None:
    version_5 = wire.packet(0x10, wire.text("MQTT") + b"\x05\x02\x00\x3c\x00\x00\x03abc")
    assert first_packet(version_5) == Connect(b"", 0, version_5)
