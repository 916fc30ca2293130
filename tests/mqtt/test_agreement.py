"""Other people's encoders agree with ours byte for byte, wherever they overlap.

paho writes 3.1.1 and is driven through its public verbs, over a real pair of sockets. mqtt5 writes 5.0 only:
its packets are the same as ours of 3.1.1 where they carry no properties, and a PUBLISH differs by one byte.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import mqtt5
import pytest
from hypothesis import given
from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from simulator.mqtt import codec311
from simulator.mqtt.options import SessionOptions
from simulator.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from simulator.mqtt.session import Session
from simulator.scenario.kinds import MqttVersion
from tests.mqtt.strategies import flags, identifiers, payloads, qualities, topics

if TYPE_CHECKING:
    from collections.abc import Iterator


class Paho(Client):
    """A paho client whose server is the test: what it writes can be read, and answered."""

    def __init__(self, client_id: str, *, clean_session: bool = True) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session, protocol=MQTTv311)
        self.far: socket.socket

    def _create_socket_connection(self) -> socket.socket:
        near, self.far = socket.socketpair()
        return near

    def written(self) -> bytes:
        """Return what the client has written since the last time."""
        self.loop_write()
        return self.far.recv(65536)

    def give(self, packet: Packet) -> None:
        """Let the client read a packet."""
        self.far.sendall(codec311.write(packet))
        self.loop_read()

    def close(self) -> None:
        """End the link as a server would: the client closes its own end when it reads that."""
        self.far.close()
        self.loop_read()


@pytest.fixture
def paho() -> Iterator[Paho]:
    client = Paho("core2-1", clean_session=False)
    yield client
    client.close()


@pytest.fixture
def connected(paho: Paho) -> Paho:
    paho.connect("test")
    paho.written()
    paho.give(ConnAck())
    assert paho.is_connected()
    return paho


def test_connect_as_paho_writes_it(paho: Paho) -> None:
    paho.username_pw_set("user", "secret")
    paho.will_set("fleet/core2-1/status", b"offline", 1, retain=True)
    paho.connect("test", keepalive=10)
    will = Will("fleet/core2-1/status", b"offline", 1, True)
    assert paho.written() == codec311.write(Connect("core2-1", False, 10, will, "user", b"secret"))


def test_least_connect_as_paho_writes_it() -> None:
    paho = Paho("a")
    paho.connect("test")
    assert paho.written() == codec311.write(Connect("a", True, 60))
    paho.close()


@pytest.mark.parametrize("size", [0, 1, 121, 122, 16377, 16378, 60000])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_as_paho_writes_it(connected: Paho, size: int, qos: int) -> None:
    message = connected.publish("a/é", bytes(size), qos, retain=True)
    data = connected.written()
    assert data == codec311.write(Publish("a/é", bytes(size), qos, True, message.mid if qos else None))
    assert data == _session_bytes(MqttVersion.V311, "a/é", bytes(size), qos, True)


def test_qos_2_as_paho_plays_it(connected: Paho) -> None:
    message = connected.publish("a", b"x", 2)
    connected.written()
    connected.give(PubRec(message.mid))
    assert connected.written() == codec311.write(PubRel(message.mid))
    connected.give(Publish("b", b"x", 2, packet_id=300))
    assert connected.written() == codec311.write(PubRec(300))
    connected.give(PubRel(300))
    assert connected.written() == codec311.write(PubComp(300))


def test_puback_as_paho_writes_it(connected: Paho) -> None:
    connected.give(Publish("b", b"x", 1, packet_id=300))
    assert connected.written() == codec311.write(PubAck(300))


def test_redelivery_as_paho_writes_it(connected: Paho) -> None:
    first = connected.publish("a", b"x", 1)
    second = connected.publish("b", b"y", 2)
    connected.written()
    connected.close()
    connected.reconnect()
    connected.written()
    connected.give(ConnAck(True))
    again = Publish("a", b"x", 1, False, first.mid, True), Publish("b", b"y", 2, False, second.mid, True)
    assert connected.written() == b"".join(map(codec311.write, again))


def test_subscriptions_as_paho_writes_them(connected: Paho) -> None:
    _, identifier = connected.subscribe([("a/#", 1), ("+/b", 2)])
    assert identifier is not None
    subscriptions = (Subscription("a/#", 1), Subscription("+/b", 2))
    assert connected.written() == codec311.write(Subscribe(identifier, subscriptions))
    connected.give(SubAck(identifier, (1, 2)))
    _, identifier = connected.unsubscribe(["a/#", "+/b"])
    assert identifier is not None
    assert connected.written() == codec311.write(Unsubscribe(identifier, ("a/#", "+/b")))


def test_disconnect_as_paho_writes_it(connected: Paho) -> None:
    connected.disconnect()
    assert connected.written() == codec311.write(Disconnect())


@given(identifiers)
def test_acknowledgements_as_mqtt5_writes_them(identifier: int) -> None:
    assert mqtt5.PubAckPacket(identifier).write() == codec311.write(PubAck(identifier))
    assert mqtt5.PubRecPacket(identifier).write() == codec311.write(PubRec(identifier))
    assert mqtt5.PubRelPacket(identifier).write() == codec311.write(PubRel(identifier))
    assert mqtt5.PubCompPacket(identifier).write() == codec311.write(PubComp(identifier))


def test_pings_and_disconnect_as_mqtt5_writes_them() -> None:
    assert mqtt5.PingReqPacket().write() == codec311.write(PingReq())
    assert mqtt5.DisconnectPacket().write() == codec311.write(Disconnect())


@given(topics, payloads, qualities, flags)
def test_publish_as_mqtt5_writes_it(topic: str, payload: bytes, qos: int, retain: bool) -> None:
    identifier = 1 if qos else None
    theirs = mqtt5.PublishPacket(
        topic, payload, qos=mqtt5.QoS(qos), retain=retain, packet_id=identifier
    ).write()
    assert theirs == _session_bytes(MqttVersion.V5, topic, payload, qos, retain)
    ours = codec311.write(Publish(topic, payload, qos, retain, identifier))
    at = len(theirs) - len(payload) - 1
    head = 2 if len(ours) < 130 else 3
    if len(theirs) - len(ours) == 1:  # unless the longer body needs another byte of length
        assert theirs[head:at] + theirs[at + 1 :] == ours[head:]


def _session_bytes(version: MqttVersion, topic: str, payload: bytes, qos: int, retain: bool) -> bytes:
    session = Session(SessionOptions(version=version), "a")
    session.connect()
    session.receive_data(b"\x20\x02\0\0" if version is MqttVersion.V311 else b"\x20\x03\0\0\0")
    session.data_to_send()
    session.publish(topic, payload, qos, retain)
    return session.data_to_send()
