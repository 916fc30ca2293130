"""The 3.1.1 codec against byte vectors, against itself, and against whatever bytes there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ProtocolError
from simulator.mqtt import codec311
from simulator.mqtt.codec311 import read, write
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
from tests.mqtt.strategies import packets_311, spoilt

VECTORS: dict[str, tuple[Packet, str]] = {
    "least connect": (Connect("a"), "100d 0004 4d515454 04 02 0000 0001 61"),
    "connect with everything": (
        Connect("dev", False, 10, Will("w/t", b"gone", 1, True), "user", b"\xffpw"),
        "1025 0004 4d515454 04 ec 000a 0003 646576 0003 772f74 0004 676f6e65 0004 75736572 0003 ff7077",
    ),
    "user name without password": (
        Connect("a", True, 0, None, "u"),
        "1010 0004 4d515454 04 82 0000 0001 61 0001 75",
    ),
    "accepted": (ConnAck(), "2002 00 00"),
    "accepted with session": (ConnAck(True), "2002 01 00"),
    "refused": (ConnAck(False, 5), "2002 00 05"),
    "publish of QoS 0": (Publish("a/b", b"hi"), "3007 0003 612f62 6869"),
    "publish of QoS 1 again": (Publish("a", b"", 1, True, 10, True), "3b05 0001 61 000a"),
    "publish of QoS 2": (Publish("a", b"x", 2, False, 65535), "3406 0001 61 ffff 78"),
    "publish of 200 bytes": (Publish("a", bytes(200)), "30cb01 0001 61" + "00" * 200),
    "puback": (PubAck(1), "4002 0001"),
    "pubrec": (PubRec(258), "5002 0102"),
    "pubrel": (PubRel(1), "6202 0001"),
    "pubcomp": (PubComp(1), "7002 0001"),
    "subscribe, the standard's figure 3.22": (
        Subscribe(10, (Subscription("a/b", 1), Subscription("c/d", 2))),
        "820e 000a 0003 612f62 01 0003 632f64 02",
    ),
    "suback, the standard's figure 3.27": (SubAck(10, (0, 2, 128)), "9005 000a 00 02 80"),
    "unsubscribe, the standard's figure 3.30": (
        Unsubscribe(10, ("a/b", "c/d")),
        "a20c 000a 0003 612f62 0003 632f64",
    ),
    "unsuback": (UnsubAck(10), "b002 000a"),
    "pingreq": (PingReq(), "c000"),
    "pingresp": (PingResp(), "d000"),
    "disconnect": (Disconnect(), "e000"),
}


@pytest.mark.parametrize(("packet", "encoded"), VECTORS.values(), ids=VECTORS.keys())
def test_vectors_are_written_and_read(packet: Packet, encoded: str) -> None:
    assert write(packet).hex() == encoded.replace(" ", "")
    reads_back(codec311, packet)


FORBIDDEN: dict[str, tuple[str, str]] = {
    "a packet type of 0": ("0000", "type 0 is reserved"),
    "a packet type of 15": ("f000", "type 15 is reserved"),
    "a remaining length of five bytes": ("30ffffffff01", "more than four bytes"),
    "reserved flags": ("4102 0001", "reserved flags 0x1"),
    "PUBREL without its flags": ("6002 0001", "reserved flags 0x0"),
    "QoS 3": ("3605 0001 61 0001", "QoS 3"),
    "a duplicate of QoS 0": ("3803 0001 61", "duplicate"),
    "a packet that ends before its identifier": ("4001 00", "ends before"),
    "a packet that ends within a string": ("3003 0005 61", "ends before"),
    "a packet that ends within a length": ("3001 00", "ends before"),
    "bytes behind the last field": ("4003 0001 00", "1 bytes follow"),
    "bytes in a PINGRESP": ("d001 00", "1 bytes follow"),
    "an acknowledgement of nothing": ("4002 0000", "identifier 0"),
    "a publish with identifier 0": ("3205 0001 61 0000", "identifier 0"),
    "a string that is not UTF-8": ("3003 0001 ff", "UTF-8"),
    "a string with a surrogate": ("3005 0003 eda080", "UTF-8"),
    "a string with U+0000": ("3004 0002 6100", "U\\+0000"),
    "a topic with #": ("3005 0003 612f23", "wildcard"),
    "a topic with +": ("3005 0003 2b2f61", "wildcard"),
    "an empty topic": ("3002 0000", "at least one character"),
    "an old protocol": ("100e 0006 4d514973647003 02 0000 0000", "protocol MQTT, level 4"),
    "a newer level": ("100c 0004 4d515454 05 02 0000 0000", "protocol MQTT, level 4"),
    "the reserved flag of CONNECT": ("100c 0004 4d515454 04 03 0000 0000", "reserved flag"),
    "will flags without a will": ("100c 0004 4d515454 04 22 0000 0000", "without a will"),
    "a will of QoS 3": ("1012 0004 4d515454 04 1e 0000 0000 0001 61 0000 00", "QoS 3"),
    "a password without a user name": ("100e 0004 4d515454 04 42 0000 0000 0000", "password"),
    "no client identifier in a kept session": ("100c 0004 4d515454 04 00 0000 0000", "client identifier"),
    "reserved flags of CONNACK": ("2002 02 00", "reserved flags"),
    "a reserved return code": ("2002 00 06", "return code 6"),
    "a refusal with a session": ("2002 01 05", "session is present"),
    "a subscription to nothing": ("8202 0001", "ends before"),
    "a subscription of QoS 3": ("8206 0001 0001 61 03", "QoS 3"),
    "a broken filter": ("8207 0001 0002 6123 00", "last level"),
    "a SUBACK without codes": ("9002 0001", "no return code"),
    "a SUBACK with a reserved code": ("9003 0001 03", "reserved one"),
    "an unsubscription from nothing": ("a202 0001", "ends before"),
    "codes in an UNSUBACK": ("b003 0001 00", "1 bytes follow"),
}


@pytest.mark.parametrize(("encoded", "why"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbidden_bytes_are_refused(encoded: str, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read(bytes.fromhex(encoded))


def test_a_padded_remaining_length_is_taken_because_3_1_1_allows_it() -> None:
    assert read(bytes.fromhex("d0 80 00")) == (PingResp(), 3)


def test_an_oversized_packet_is_refused_before_its_bytes_arrive() -> None:
    assert read(bytes.fromhex("30 7e"), 0, 128) is None
    with pytest.raises(ProtocolError, match="129 bytes exceeds the maximum of 128"):
        read(bytes.fromhex("30 7f"), 0, 128)


UNWRITABLE: dict[str, tuple[Packet, str]] = {
    "a packet that 5.0 brought": (Auth(), "no Auth"),
    "a field that 5.0 brought": (PubAck(1, 0x80), "cannot carry code in PubAck"),
    "a session expiry": (Connect("a", session_expiry=1), "cannot carry session_expiry"),
    "a will that 5.0 brought": (Connect("a", will=Will("t", b"", delay=1)), "cannot carry delay in Will"),
    "a subscription option": (
        Subscribe(1, (Subscription("a", no_local=True),)),
        "cannot carry no_local in Subscription",
    ),
    "codes in an UNSUBACK": (UnsubAck(1, (0,)), "cannot carry codes"),
    "a reason to leave": (Disconnect(4), "cannot carry code"),
    "a packet identifier of 0": (PubAck(0), "never 0"),
    "a packet identifier of 65,536": (PubAck(65536), "two bytes"),
    "a negative packet identifier": (PubAck(-1), "two bytes"),
    "QoS 1 without an identifier": (Publish("a", b"", 1), "exactly when"),
    "QoS 0 with an identifier": (Publish("a", b"", 0, False, 1), "exactly when"),
    "QoS 3": (Publish("a", b"", 3, False, 1), "no QoS 3"),
    "a duplicate of QoS 0": (Publish("a", b"", duplicate=True), "never a duplicate"),
    "a wildcard": (Publish("a/+", b""), "wildcard"),
    "an empty topic": (Publish("", b""), "at least one"),
    "U+0000": (Publish("a\0", b""), "U\\+0000"),
    "a surrogate": (Publish("\ud800", b""), "surrogates"),
    "a topic of 65,536 bytes": (Publish("a" * 65536, b""), "65536 bytes"),
    "a keepalive of 65,536": (Connect("a", keepalive=65536), "two bytes"),
    "a password without a user name": (Connect("a", password=b"p"), "beside a user name"),
    "no client identifier in a kept session": (Connect("", clean_start=False), "clean session"),
    "a will of QoS 3": (Connect("a", will=Will("t", b"", 3)), "no QoS 3"),
    "a will to a wildcard": (Connect("a", will=Will("#", b"")), "wildcard"),
    "a return code of 6": (ConnAck(False, 6), "6 is not"),
    "a subscription to nothing": (Subscribe(1, ()), "at least one"),
    "a broken filter": (Subscribe(1, (Subscription("a#"),)), "last level"),
    "a filter with something behind #": (Subscribe(1, (Subscription("#/a"),)), "last level"),
    "a filter with a partial +": (Unsubscribe(1, ("a+/b",)), "whole level"),
    "an empty filter": (Unsubscribe(1, ("",)), "at least one"),
    "a SUBACK without codes": (SubAck(1, ()), "not return codes"),
    "a SUBACK with a reserved code": (SubAck(1, (3,)), "not return codes"),
}


@pytest.mark.parametrize(("packet", "why"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_unwritable_values_are_refused(packet: Packet, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        write(packet)


@given(packets_311, st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_written_is_read_back(packet: Packet, before: bytes, after: bytes) -> None:
    reads_back(codec311, packet, before, after)


@given(packets_311)
def test_every_strict_prefix_asks_for_more(packet: Packet) -> None:
    every_strict_prefix_asks_for_more(codec311, packet)


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_the_protocol_error(data: bytes) -> None:
    reads_or_refuses(codec311, data)


@given(packets_311, st.data())
def test_spoilt_packets_raise_nothing_but_the_protocol_error(packet: Packet, draw: st.DataObject) -> None:
    reads_or_refuses(codec311, spoilt(draw, codec311.write(packet)))
