"""The 5.0 codec: byte vectors, what mqtt5 alone would let through, and whatever bytes there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ProtocolError
from simulator.mqtt import codec5
from simulator.mqtt.codec5 import read, write
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
    Will,
)
from tests.mqtt.properties import every_strict_prefix_asks_for_more, reads_back, reads_or_refuses
from tests.mqtt.strategies import packets_5, spoilt

VECTORS: dict[str, tuple[Packet, str]] = {
    "least connect": (Connect("a"), "100e 0004 4d515454 05 02 0000 00 0001 61"),
    "connect with properties": (
        Connect("a", False, 10, session_expiry=60, receive_maximum=9, maximum_packet_size=1024),
        "101b 0004 4d515454 05 00 000a 0d 11 0000003c 21 0009 27 00000400 0001 61",
    ),
    "connect with a will": (
        Connect("a", will=Will("w", b"x", 1, True, 5, (("k", "v"),))),
        "1021 0004 4d515454 05 2e 0000 00 0001 61 0c 18 00000005 26 0001 6b 0001 76 0001 77 0001 78",
    ),
    "accepted": (ConnAck(), "2003 00 00 00"),
    "accepted with bounds": (
        ConnAck(receive_maximum=20, maximum_qos=1, retain_available=False, server_keepalive=30),
        "200d 00 00 0a 13 001e 21 0014 24 01 25 00",
    ),
    "sent elsewhere": (ConnAck(code=0x9D, server_reference="b"), "2007 00 9d 04 1c 0001 62"),
    "publish": (Publish("a", b"hi", 1, False, 10), "3208 0001 61 000a 00 6869"),
    "puback": (PubAck(1), "4002 0001"),
    "puback that nobody has subscribed": (PubAck(1, 0x10), "4003 0001 10"),
    "pubrec refused": (PubRec(1, 0x97, "full"), "500b 0001 97 07 1f 0004 66756c6c"),
    "pubrel": (PubRel(1), "6202 0001"),
    "pubcomp of nothing": (PubComp(1, 0x92), "7003 0001 92"),
    "subscribe": (Subscribe(1, (Subscription("a", 1, True, True, 2),)), "8207 0001 00 0001 61 2d"),
    "suback": (SubAck(1, (1, 0x8F)), "9005 0001 00 01 8f"),
    "unsubscribe": (Unsubscribe(1, ("a",)), "a206 0001 00 0001 61"),
    "unsubscribe from two": (Unsubscribe(1, ("a", "b")), "a209 0001 00 0001 61 0001 62"),
    "unsuback": (UnsubAck(1, (0x11,)), "b004 0001 00 11"),
    "pingreq": (PingReq(), "c000"),
    "pingresp": (PingResp(), "d000"),
    "disconnect": (Disconnect(), "e000"),
    "taken over": (Disconnect(0x8E), "e001 8e"),
    "auth": (Auth(0x18, "m"), "f006 18 04 15 0001 6d"),
}


@pytest.mark.parametrize(("packet", "encoded"), VECTORS.values(), ids=VECTORS.keys())
def test_vectors_are_written_and_read(packet: Packet, encoded: str) -> None:
    assert write(packet).hex() == encoded.replace(" ", "")
    reads_back(codec5, packet)


def test_a_server_of_3_1_1_refuses_in_its_own_words() -> None:
    assert read(bytes.fromhex("2002 0001")) == (ConnAck(code=0x84), 4)


def test_properties_that_do_not_matter_are_dropped() -> None:
    with_format_and_type = bytes.fromhex("300b 0001 61 06 01 01 03 0001 74 78")
    assert read(with_format_and_type) == (Publish("a", b"x"), 13)
    with_correlation_data = bytes.fromhex("3009 0001 61 04 09 0001 74 78")
    assert read(with_correlation_data) == (Publish("a", b"x"), 11)


def test_a_subscription_identifier_is_walked_over() -> None:
    assert read(bytes.fromhex("3006 0001 61 02 0b 05")) == (Publish("a", b""), 8)


def test_an_alias_may_stand_for_a_topic() -> None:
    assert read(bytes.fromhex("3006 0000 03 23 0001")) == (Publish("", b"", topic_alias=1), 8)


FORBIDDEN: dict[str, tuple[str, str]] = {
    "a packet type of 0": ("0000", "type 0 is reserved"),
    "a remaining length of five bytes": ("30ffffffff01", "more than four bytes"),
    "a padded remaining length": ("d0 80 00", "malformed"),
    "reserved flags": ("f100", "reserved flags 0x1"),
    "QoS 3": ("3606 0001 61 0001 00", "QoS 3"),
    "a duplicate of QoS 0": ("3804 0001 61 00", "duplicate"),
    "a packet without its property length": ("3003 0001 61", "ends before"),
    "a packet that ends within a property": ("3005 0001 61 01 02", "ends before"),
    "a property list longer than the packet": ("3005 0001 61 05 01", "ends before"),
    "a property length of five bytes": ("3008 0001 61 ffffffffff", "more than four bytes"),
    "an unknown property": ("3006 0001 61 02 7f 00", "no property 0x7f"),
    "a property that belongs elsewhere": ("3006 0001 61 02 24 01", "malformed"),
    "a property twice": ("3008 0001 61 04 01 01 01 01", "malformed"),
    "bytes behind the last field": ("4005 0001 00 00 00", "1 bytes follow"),
    "an acknowledgement of nothing": ("4002 0000", "identifier 0"),
    "a publish with identifier 0": ("3206 0001 61 0000 00", "identifier 0"),
    "an unknown reason code": ("4003 0001 77", "malformed"),
    "a topic that is not UTF-8": ("3004 0001 ff 00", "UTF-8"),
    "a property that is not UTF-8": ("4008 0001 00 04 1f 0001 ff", "UTF-8"),
    "a user property that is not UTF-8": ("400b 0001 00 07 26 0001 61 0001 ff", "UTF-8"),
    "a topic with U+0000": ("3005 0002 6100 00", "U\\+0000"),
    "a topic with a wildcard": ("3004 0001 23 00", "wildcard"),
    "no topic and no alias": ("3003 0000 00", "malformed"),
    "an alias of 0": ("3006 0000 03 23 0000", "malformed"),
    "a refusal with a session": ("2003 01 87 00", "session is present"),
    "a CONNACK as 3.1.1 knows it": ("2002 0000", "ends before"),
    "a receive maximum of 0": ("2006 00 00 03 21 0000", "malformed"),
    "an older level": ("100d 0004 4d515454 04 02 0000 00 0000", "malformed"),
    "the reserved flag of CONNECT": ("100d 0004 4d515454 05 03 0000 00 0000", "reserved flag"),
    "will flags without a will": ("100d 0004 4d515454 05 22 0000 00 0000", "without a will"),
    "a will of QoS 3": ("1013 0004 4d515454 05 1e 0000 00 0000 00 0001 61 0000", "malformed"),
    "a client that is not UTF-8": ("100e 0004 4d515454 05 02 0000 00 0001 ff", "UTF-8"),
    "a user that is not UTF-8": ("1010 0004 4d515454 05 82 0000 00 0000 0001 ff", "UTF-8"),
    "a subscription to nothing": ("8203 0001 00", "ends before"),
    "a broken filter": ("8208 0001 00 0002 2361 00", "last level"),
    "reserved subscription options": ("8207 0001 00 0001 61 40", "reserved options"),
    "a SUBACK without codes": ("9003 0001 00", "ends before"),
    "an unsubscription from nothing": ("a203 0001 00", "ends before"),
    "an UNSUBACK without codes": ("b003 0001 00", "ends before"),
}


@pytest.mark.parametrize(("encoded", "why"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbidden_bytes_are_refused(encoded: str, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read(bytes.fromhex(encoded))


def test_an_oversized_packet_is_refused_before_its_bytes_arrive() -> None:
    assert read(bytes.fromhex("30 7e"), 0, 128) is None
    with pytest.raises(ProtocolError, match="129 bytes exceeds the maximum of 128"):
        read(bytes.fromhex("30 7f"), 0, 128)


UNWRITABLE: dict[str, tuple[Packet, str]] = {
    "a packet identifier of 0": (PubAck(0), "identifier 0"),
    "a packet identifier of 65,536": (PubAck(65536), "as it is"),
    "an unknown reason": (PubAck(1, 0x77), "119"),
    "QoS 1 without an identifier": (Publish("a", b"", 1), "Packet ID"),
    "QoS 0 with an identifier": (Publish("a", b"", 0, False, 1), "no packet identifier"),
    "QoS 3": (Publish("a", b"", 3, False, 1), "3"),
    "a duplicate of QoS 0": (Publish("a", b"", duplicate=True), "duplicate"),
    "a wildcard": (Publish("a/+", b"x"), "Invalid topic"),
    "U+0000": (Publish("a\0", b""), "U\\+0000"),
    "a surrogate": (Publish("\ud800", b""), "surrogates"),
    "a topic of 65,536 bytes": (Publish("a" * 65536, b""), "65535"),
    "a packet of 256 MiB": (Publish("a", bytes(268_435_455)), "limit of 268435455"),
    "user properties beyond a packet": (PubAck(1, 0, None, (("k", "v" * 65000),) * 600), "too many"),
    "will properties beyond a packet": (
        Connect("a", will=Will("w", b"", user_properties=(("k", "v" * 65000),) * 600)),
        "too many",
    ),
    "filters beyond a packet": (Unsubscribe(1, ("f" * 65000,) * 600), "too many"),
    "subscriptions beyond a packet": (Subscribe(1, (Subscription("f" * 65000),) * 600), "too many"),
    "a receive maximum of 0": (Connect("a", receive_maximum=0), "0"),
    "a keepalive of 65,536": (Connect("a", keepalive=65536), "as it is"),
    "a refusal with a session": (ConnAck(True, 0x87), "session is present"),
    "a subscription to nothing": (Subscribe(1, ()), "at least one"),
    "a broken filter": (Subscribe(1, (Subscription("a#"),)), "Invalid topic filter"),
    "retain handling of 3": (Subscribe(1, (Subscription("a", retain_handling=3),)), "3"),
}


@pytest.mark.parametrize(("packet", "why"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_unwritable_values_are_refused(packet: Packet, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        write(packet)


@given(packets_5, st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_written_is_read_back(packet: Packet, before: bytes, after: bytes) -> None:
    reads_back(codec5, packet, before, after)


@given(packets_5)
def test_every_strict_prefix_asks_for_more(packet: Packet) -> None:
    every_strict_prefix_asks_for_more(codec5, packet)


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_the_protocol_error(data: bytes) -> None:
    reads_or_refuses(codec5, data)


@given(packets_5, st.data())
def test_spoilt_packets_raise_nothing_but_the_protocol_error(packet: Packet, draw: st.DataObject) -> None:
    reads_or_refuses(codec5, spoilt(draw, codec5.write(packet)))
